"""Every row of CMAML's table of methods at three sizes (spec sections 7, 12 and 13, table 1).

``tiny`` takes seconds. ``cpu`` is narrower and sees fewer users than the paper, the same for all rows; ``paper`` is the
text's own setting. No row of these two sizes was run to its end yet. A row that ends in ``_f`` trains as the one
without it and fine-tunes each test persona. The CMAML rows go on from the MAML row of the same model: name its run by
``--set model.start=``. For Seq2SP'G that is ``cmaml/maml_seq2spg`` with ``--set model.reads=state``.
"""

from collections.abc import Callable
from dataclasses import replace

from menura.adaptation.catalogue import Method
from menura.adaptation.cmaml import Cmaml
from menura.adaptation.descent import Descent
from menura.adaptation.maml import Maml
from menura.adaptation.plain import Finetune, PretrainOnly
from menura.experiments.data_config import DataConfig
from menura.experiments.recipes.mamlviapp import Size
from menura.experiments.run_config import Outer, RunConfig
from menura.models.seq2seq import Seq2SeqConfig
from menura.models.seq2spg import Seq2SpgConfig
from menura.models.speaker import SpeakerConfig

# Tasks as in MAMLviaPP's rows, but for the facts: a persona is told from what it says alone.
PERSONAS = DataConfig(
    corpus="convai2", group="facts", facts=False, test_ids="valid", turns=0, cap=20, valid=0.1, needed=4, least=3
)
DATA: dict[Size, DataConfig] = {
    "tiny": DataConfig(facts=False, turns=8, cap=10, needed=4),
    "cpu": PERSONAS,
    "paper": replace(PERSONAS, cap=100),
}
WIDTH: dict[Size, int] = {"tiny": 12, "cpu": 150, "paper": 300}
LAYERS: dict[Size, int] = {"tiny": 1, "cpu": 2, "paper": 4}
INNER = Descent(rate=0.01, epochs=1, batch=16)  # SGD
POOLED: dict[Size, Outer] = {
    "tiny": Outer(10, 2, 1, 1, rate=1e-2, save_every=5, check_every=5, check_personas=2),
    "cpu": Outer(600, 8, 1, 1, rate=1e-3, save_every=50, check_every=50, check_personas=16),
    "paper": Outer(20_000, 8, 1, 1, rate=3e-4, fall=False, save_every=500, check_every=500, check_personas=64),
}
JOINT: dict[Size, Outer] = {
    "tiny": Outer(6, 2, 2, 1, rate=1e-2, save_every=3, check_every=3, check_personas=2),
    "cpu": Outer(150, 4, 2, 1, rate=1e-3, save_every=25, check_every=25, check_personas=16),
    "paper": Outer(720, 16, 10, 1, rate=3e-4, fall=False, save_every=72, check_every=72, check_personas=64),
}


def seq2seq(size: Size) -> RunConfig:
    """Pooled training, no adaptation."""
    return _pooled("seq2seq", size, Seq2SeqConfig(), PretrainOnly())


def seq2seq_f(size: Size) -> RunConfig:
    """Pooled training, then fine-tuning per persona."""
    return _pooled("seq2seq_f", size, Seq2SeqConfig(), Finetune(INNER))


def speaker(size: Size) -> RunConfig:
    """Pooled training with a vector for each user; test users have one that was never trained."""
    return _pooled("speaker", size, SpeakerConfig(), PretrainOnly())


def speaker_f(size: Size) -> RunConfig:
    """The same, then fine-tuning per persona, its vector included."""
    return _pooled("speaker_f", size, SpeakerConfig(), Finetune(INNER))


def seq2spg(size: Size) -> RunConfig:
    """Pooled training of shared, private and gating modules."""
    return _pooled("seq2spg", size, Seq2SpgConfig(), PretrainOnly())


def seq2spg_f(size: Size) -> RunConfig:
    """The same, then fine-tuning per persona."""
    return _pooled("seq2spg_f", size, Seq2SpgConfig(), Finetune(INNER))


def maml_seq2seq(size: Size) -> RunConfig:
    """MAML on a seq2seq (PAML)."""
    return _meta("maml_seq2seq", size, Seq2SeqConfig(), Maml(INNER))


def maml_seq2spg(size: Size) -> RunConfig:
    """MAML on shared, private and gating modules, nothing pruned."""
    return _meta("maml_seq2spg", size, Seq2SpgConfig(), Maml(INNER))


def cmaml_seq2spg_prime(size: Size) -> RunConfig:
    """CMAML with a private module that sees no word."""
    return _meta("cmaml_seq2spg_prime", size, Seq2SpgConfig(reads="state"), Cmaml(INNER))


def cmaml_seq2spg(size: Size) -> RunConfig:
    """CMAML: a structure for each persona, and joint meta-learning."""
    return _meta("cmaml_seq2spg", size, Seq2SpgConfig(), Cmaml(INNER))


ROWS: dict[str, Callable[[Size], RunConfig]] = {
    f"cmaml/{made.__name__}": made
    for made in (
        *(seq2seq, speaker, seq2spg, seq2seq_f, speaker_f, seq2spg_f),
        *(maml_seq2seq, maml_seq2spg, cmaml_seq2spg_prime, cmaml_seq2spg),
    )
}


def _pooled(row: str, size: Size, model: Seq2SeqConfig, method: Method) -> RunConfig:
    return RunConfig(f"cmaml/{row}@{size}", _sized(model, size), method, DATA[size], POOLED[size])


def _meta(row: str, size: Size, model: Seq2SeqConfig, method: Method) -> RunConfig:
    return RunConfig(f"cmaml/{row}@{size}", _sized(model, size), method, DATA[size], JOINT[size])


def _sized(model: Seq2SeqConfig, size: Size) -> Seq2SeqConfig:
    return replace(model, size=WIDTH[size], layers=LAYERS[size])
