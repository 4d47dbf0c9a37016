"""Every row of CMAML's table of methods at three sizes, on six kinds of data (spec sections 7, 8, 12 and 13).

``cmaml/ROW`` is on Persona-Chat (table 1), ``cmaml-mojitalk/ROW`` on MojiTalk; ``cmaml-100``, ``-110``, ``-similar``
and ``-dissimilar`` are table 2's. ``tiny`` takes seconds. ``cpu`` is narrower and shorter than the paper, the same for
all rows; ``paper`` is the text's own setting, which was not run. A row that ends in ``_f`` trains as the one without it
and fine-tunes each test persona. The CMAML rows go on from the MAML row of the same model: name its run by
``--set model.init_from=``. For Seq2SP'G that is ``maml_seq2spg`` with ``--set model.reads=state``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from menura.adaptation.cmaml import Cmaml
from menura.adaptation.finetune import Finetune, PretrainOnly
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.adaptation.protocol import Adaptation
from menura.models.recurrent.seq2seq import Seq2SeqConfig
from menura.models.recurrent.seq2spg import Seq2SpgConfig
from menura.models.recurrent.speaker import SpeakerConfig
from menura.training.config import Outer, RunConfig
from menura.training.data import DataConfig
from menura.training.recipes.mamlviapp import Size

# Tasks as in MAMLviaPP's rows, without facts: a persona is known only by its replies.
PERSONAS = DataConfig(
    corpus="convai2",
    task_by="facts",
    with_facts=False,
    test_id_prefixes="valid",
    max_turns=0,
    max_dialogues=20,
    valid=0.1,
    min_heldout_dialogues=4,
    min_train_dialogues=3,
)
# An emoji is a task; its dialogues are pairs of tweets, and both files of pairs have all emojis.
EMOJIS = DataConfig(
    corpus="mojitalk",
    with_facts=False,
    max_turns=0,
    test_id_prefixes="test",
    num_test_personas=8,
    num_valid_personas=6,
    min_heldout_dialogues=100,
    min_train_dialogues=40,
    max_dialogues=1000,
    max_test_dialogues=155,
    select_dialogues="draw",
)
SETTINGS: dict[str, DataConfig] = {
    "cmaml": PERSONAS,
    "cmaml-mojitalk": EMOJIS,
    "cmaml-100": replace(PERSONAS, max_dialogues=11, select_dialogues="draw"),
    "cmaml-110": replace(PERSONAS, max_dialogues=16, select_dialogues="draw"),
    "cmaml-similar": replace(PERSONAS, user_subset="similar"),
    "cmaml-dissimilar": replace(PERSONAS, user_subset="dissimilar"),
}
SMALL = DataConfig(with_facts=False, max_turns=8, max_dialogues=10, min_heldout_dialogues=4)  # of the packaged corpus
WIDTH: dict[Size, int] = {"tiny": 12, "cpu": 150, "paper": 300}
LAYERS: dict[Size, int] = {"tiny": 1, "cpu": 2, "paper": 4}
# At 300 vectors fit as they are: the file of that name, which is GloVe's own, has to lie in the working folder.
VECTORS: dict[Size, str] = {"tiny": "", "cpu": "glove-50d", "paper": "glove.6B.300d.txt"}
INNER = InnerLoop(lr=0.01, epochs=1, batch_size=16)  # SGD
POOLED: dict[Size, Outer] = {
    "tiny": Outer(10, 2, 1, 1, lr=1e-2, save_every=5, eval_every=5, eval_personas=2),
    "cpu": Outer(600, 8, 1, 1, lr=1e-3, save_every=50, eval_every=50, eval_personas=16),
    "paper": Outer(20_000, 8, 1, 1, lr=3e-4, cosine=False, save_every=500, eval_every=500, eval_personas=64),
}
META: dict[Size, Outer] = {
    "tiny": Outer(6, 2, 2, 1, lr=1e-2, save_every=3, eval_every=3, eval_personas=2),
    "cpu": Outer(600, 8, 2, 1, lr=1e-3, save_every=50, eval_every=100, eval_personas=16),
    "paper": Outer(720, 16, 10, 1, lr=3e-4, cosine=False, save_every=72, eval_every=72, eval_personas=64),
}
JOINT = {**META, "cpu": replace(META["cpu"], steps=150, meta_batch_size=4, eval_every=25, save_every=25)}
# Support pairs of tweets per task; the query has a tenth of that. An episode has more pairs than dialogues.
PAIRS: dict[Size, int] = {"tiny": 0, "cpu": 30, "paper": 100}


@dataclass(frozen=True)
class CmamlRow:
    """A row of the table: a model and a method, and how long it is trained."""

    model: Seq2SeqConfig
    method: Adaptation
    outer: Mapping[Size, Outer]


TABLE = {
    # Pooled training, un-adapted.
    "seq2seq": CmamlRow(Seq2SeqConfig(), PretrainOnly(), POOLED),
    "speaker": CmamlRow(SpeakerConfig(), PretrainOnly(), POOLED),  # a test persona's embedding was never trained
    "seq2spg": CmamlRow(Seq2SpgConfig(), PretrainOnly(), POOLED),
    # The same, then fine-tuned on each persona; a speaker's vector with the rest.
    "seq2seq_f": CmamlRow(Seq2SeqConfig(), Finetune(INNER), POOLED),
    "speaker_f": CmamlRow(SpeakerConfig(), Finetune(INNER), POOLED),
    "seq2spg_f": CmamlRow(Seq2SpgConfig(), Finetune(INNER), POOLED),
    # Meta-learnt, nothing pruned; the first is PAML.
    "maml_seq2seq": CmamlRow(Seq2SeqConfig(), Maml(INNER), META),
    "maml_seq2spg": CmamlRow(Seq2SpgConfig(), Maml(INNER), META),
    # A mask for each persona, joint meta-learning; in the first the private module sees no word.
    "cmaml_seq2spg_prime": CmamlRow(Seq2SpgConfig(reads="state"), Cmaml(INNER), JOINT),
    "cmaml_seq2spg": CmamlRow(Seq2SpgConfig(), Cmaml(INNER), JOINT),
}


def _made(setting: str, name: str, size: Size) -> RunConfig:
    row = TABLE[name]
    model = replace(
        row.model,
        hidden_size=WIDTH[size],
        num_layers=LAYERS[size],
        word_vectors=VECTORS[size],
        project_vectors=size == "cpu",
    )
    data, outer = SETTINGS[setting] if size != "tiny" else SMALL, row.outer[size]
    if setting == "cmaml-mojitalk" and size != "tiny":
        model = replace(model, min_count=2)
        outer = replace(outer, steps=outer.steps // 2, shots=PAIRS[size], queries=PAIRS[size] // 10)
    return RunConfig(f"{setting}/{name}@{size}", model, row.method, data, outer)


ROWS: dict[str, Callable[[Size], RunConfig]] = {
    f"{setting}/{name}": partial(_made, setting, name) for setting in SETTINGS for name in TABLE
}
