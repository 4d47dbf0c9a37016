"""The systems that PLATO's tables quote, trained and judged as its own rows are (spec C1 to C4, tables E2 and E3).

``plato/seq2seq-dailydialog`` and ``plato/ivae_mi`` are on DailyDialog, ``plato/seq2seq-personachat`` and ``plato/lic``
on Persona-Chat, ``plato/avsd-baseline`` on DSTC7-AVSD, of text alone. ``tiny`` takes seconds, ``cpu`` some minutes on
one core; ``paper`` has the widths that were published, and was not run. A persona, where there is one, is told by its
facts: nothing adapts, so there is no support. LIC begins from MiniLM, or from GPT-2 where the original had GPT.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from menura.adaptation.alternating import Alternating
from menura.adaptation.catalogue import Method
from menura.adaptation.plain import PretrainOnly
from menura.experiments.data_config import DataConfig
from menura.experiments.recipes.dialogue_sets import AVSD, DAILYDIALOG, PERSONACHAT
from menura.experiments.recipes.mamlviapp import Size
from menura.experiments.run_config import Outer, RunConfig
from menura.models.catalogue import ModelConfig
from menura.models.hierarchical import HierarchicalConfig
from menura.models.ivae_mi import IvaeMiConfig
from menura.models.lic import LicConfig
from menura.models.seq2seq import Seq2SeqConfig

SMALL = DataConfig(turns=8, cap=10, needed=4)  # of the packaged corpus
# GloVe's own file of 300 numbers, which has to lie in the working folder; 500 are turned into from those.
PAPER = {"vectors": "glove.6B.300d.txt", "project_vectors": True, "least_said": 2}
CPU = {"size": 256, "layers": 1, "vectors": "glove-50d", "project_vectors": True, "least_said": 3}
TINY = {"size": 12, "layers": 1}


@dataclass(frozen=True)
class Row:
    """A system on a set: its model, a method, and by size what is set of the model and how long it is trained."""

    model: ModelConfig
    method: Method
    data: DataConfig
    sizes: Mapping[Size, Mapping[str, Any]]
    steps: int = 1500  # at size cpu
    tasks: int = 8
    queries: int = 1
    rate: Mapping[Size, float] = field(default_factory=lambda: {"cpu": 1e-3, "paper": 3e-4})
    warmup: Mapping[Size, int] = field(default_factory=lambda: {"cpu": 0, "paper": 0})


def _words(**paper: int) -> dict[Size, Mapping[str, Any]]:
    return {"tiny": TINY, "cpu": CPU, "paper": {**PAPER, **paper}}


SEQ2SEQ = _words(size=500, layers=2)
IVAE = {**_words(size=300, layers=1), "tiny": {**TINY, "latent": 6, "samples": 3}}
LIC: dict[Size, Mapping[str, Any]] = {
    "tiny": {"base": "tiny", "init": "random", "width": 32, "layers": 2, "heads": 4, "inner": 64, "limit": 160},
    "cpu": {"limit": 160, "lm_head": "bert_mlm"},
    "paper": {"base": "gpt2"},
}
TABLE = {
    "seq2seq-dailydialog": Row(Seq2SeqConfig(), PretrainOnly(), DAILYDIALOG, SEQ2SEQ, queries=2),
    "seq2seq-personachat": Row(Seq2SeqConfig(), PretrainOnly(), PERSONACHAT, SEQ2SEQ),
    # The critic's rate is a fifth of the generators', as published: 1e-5 and 5e-5, at which nothing would move here.
    "ivae_mi": Row(IvaeMiConfig(), Alternating(critic_rate=0.2), DAILYDIALOG, IVAE, steps=500, queries=2),
    "lic": Row(
        *(LicConfig(), PretrainOnly(), PERSONACHAT, LIC),
        *(240, 2, 1),  # steps, tasks, queries
        rate={"cpu": 2e-4, "paper": 6.25e-5},
        warmup={"cpu": 20, "paper": 16_000},
    ),
    "avsd-baseline": Row(HierarchicalConfig(), PretrainOnly(), AVSD, _words(size=256, layers=2)),
}


def _outer(row: Row, size: Size) -> Outer:
    if size == "tiny":
        return Outer(6, 2, 1, 1, rate=1e-2, save_every=3, check_every=3, check_personas=2)
    if size == "paper":
        long = Outer(100_000, 32, 0, row.queries, fall=False, save_every=1000, check_every=1000)
        return replace(long, rate=row.rate[size], warmup=row.warmup[size])
    short = Outer(row.steps, row.tasks, 0, row.queries, save_every=50, check_every=50, check_personas=64)
    return replace(short, rate=row.rate[size], warmup=row.warmup[size])


def _made(name: str, size: Size) -> RunConfig:
    row = TABLE[name]
    model, data = replace(row.model, **row.sizes[size]), SMALL if size == "tiny" else row.data
    return RunConfig(f"plato/{name}@{size}", model, row.method, data, _outer(row, size))


ROWS: dict[str, Callable[[Size], RunConfig]] = {f"plato/{name}": partial(_made, name) for name in TABLE}
