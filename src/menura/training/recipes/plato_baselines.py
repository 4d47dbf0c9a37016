"""The baselines quoted in PLATO's tables, trained and evaluated as its own rows (spec C1 to C4, tables E2 and E3).

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
from menura.adaptation.finetune import PretrainOnly
from menura.adaptation.protocol import Adaptation
from menura.models.catalogue import ModelSettings
from menura.models.lic import LicConfig
from menura.models.recurrent.hierarchical import HierarchicalConfig
from menura.models.recurrent.ivae_mi import IvaeMiConfig
from menura.models.recurrent.seq2seq import Seq2SeqConfig
from menura.training.config import Outer, RunConfig
from menura.training.data import DataConfig
from menura.training.recipes.mamlviapp import Size
from menura.training.recipes.plato_data_sets import AVSD, DAILYDIALOG, PERSONACHAT

SMALL = DataConfig(max_turns=8, max_dialogues=10, min_heldout_dialogues=4)  # of the packaged corpus
# GloVe's own file of 300 numbers, which has to lie in the working folder; 500 are turned into from those.
PAPER = {"word_vectors": "glove.6B.300d.txt", "project_vectors": True, "min_count": 2}
CPU = {"hidden_size": 256, "num_layers": 1, "word_vectors": "glove-50d", "project_vectors": True, "min_count": 3}
TINY = {"hidden_size": 12, "num_layers": 1}


@dataclass(frozen=True)
class QuotedRow:
    """A system on a data set: its model and method, and by size the model's settings and the steps."""

    model: ModelSettings
    method: Adaptation
    data: DataConfig
    sizes: Mapping[Size, Mapping[str, Any]]
    steps: int = 1500  # at size cpu
    meta_batch_size: int = 8
    queries: int = 1
    lr: Mapping[Size, float] = field(default_factory=lambda: {"cpu": 1e-3, "paper": 3e-4})
    warmup_steps: Mapping[Size, int] = field(default_factory=lambda: {"cpu": 0, "paper": 0})


def _words(**paper: int) -> dict[Size, Mapping[str, Any]]:
    return {"tiny": TINY, "cpu": CPU, "paper": {**PAPER, **paper}}


SEQ2SEQ = _words(hidden_size=500, num_layers=2)
IVAE = {**_words(hidden_size=300, num_layers=1), "tiny": {**TINY, "latent_size": 6, "num_samples": 3}}
LIC: dict[Size, Mapping[str, Any]] = {
    "tiny": {
        "base": "tiny",
        "init": "random",
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "intermediate_size": 64,
        "max_length": 160,
    },
    "cpu": {"max_length": 160, "lm_head": "bert_mlm"},
    "paper": {"base": "gpt2"},
}
TABLE = {
    "seq2seq-dailydialog": QuotedRow(Seq2SeqConfig(), PretrainOnly(), DAILYDIALOG, SEQ2SEQ, queries=2),
    "seq2seq-personachat": QuotedRow(Seq2SeqConfig(), PretrainOnly(), PERSONACHAT, SEQ2SEQ),
    # The critic's rate is a fifth of the generators', as published: 1e-5 and 5e-5, at which nothing would move here.
    "ivae_mi": QuotedRow(IvaeMiConfig(), Alternating(critic_lr_scale=0.2), DAILYDIALOG, IVAE, steps=500, queries=2),
    "lic": QuotedRow(
        *(LicConfig(), PretrainOnly(), PERSONACHAT, LIC),
        *(240, 2, 1),  # steps, tasks, queries
        lr={"cpu": 2e-4, "paper": 6.25e-5},
        warmup_steps={"cpu": 20, "paper": 16_000},
    ),
    "avsd-baseline": QuotedRow(HierarchicalConfig(), PretrainOnly(), AVSD, _words(hidden_size=256, num_layers=2)),
}


def _outer(row: QuotedRow, size: Size) -> Outer:
    if size == "tiny":
        return Outer(6, 2, 1, 1, lr=1e-2, save_every=3, eval_every=3, eval_personas=2)
    if size == "paper":
        long = Outer(100_000, 32, 0, row.queries, cosine=False, save_every=1000, eval_every=1000)
        return replace(long, lr=row.lr[size], warmup_steps=row.warmup_steps[size])
    short = Outer(row.steps, row.meta_batch_size, 0, row.queries, save_every=50, eval_every=50, eval_personas=64)
    return replace(short, lr=row.lr[size], warmup_steps=row.warmup_steps[size])


def _made(name: str, size: Size) -> RunConfig:
    row = TABLE[name]
    model, data = replace(row.model, **row.sizes[size]), SMALL if size == "tiny" else row.data
    return RunConfig(f"plato/{name}@{size}", model, row.method, data, _outer(row, size))


ROWS: dict[str, Callable[[Size], RunConfig]] = {f"plato/{name}": partial(_made, name) for name in TABLE}
