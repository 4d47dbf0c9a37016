"""PLATO's grid of what helps on Persona-Chat: which weights, which attention, dialogue first or not, a latent or not.

``plato-grid/ROW`` are the six rows of the paper's table 5 (spec A17, E4), each to be trained with ``--set
data.total_train_dialogues=1000``, 5000 and 0 dialogues (the table's 1k, 5k and 9k); fewer are always among more. The
rows 2.1, 2.2 and 3.1 go on from a pre-training that ``--set model.init_from=`` names: ``plato-grid/pretrain-gpt2``,
``plato/pretrain-without`` and ``plato/pretrain``. Without it 2.1 is 1.3, and 2.2 is 1.1.

``cpu`` has MiniLM for the paper's BERT. ``gpt2`` is read from a hub; where there is none, ``--set model.base=`` names a
folder of it. ``tiny`` begins all rows at random: of GPT-2 it has the norms before the sublayers. Tokenisers differ
between rows, so perplexities compare by the word or the byte alone (``--metrics ppl-word,bits-per-byte``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from menura.adaptation.finetune import PretrainOnly
from menura.models.plato.config import PlatoConfig
from menura.training.config import RunConfig
from menura.training.recipes import plato
from menura.training.recipes.mamlviapp import Size


@dataclass(frozen=True)
class GridRow:
    """A row of the table: its initial weights, the attention to the context, and what is added."""

    init: Literal["bert", "gpt2"]
    context: Literal["bi", "uni"] = "bi"
    dialogue: bool = False  # pretrained on dialogue first
    latent: bool = False


GRID = {
    "1.1": GridRow("bert"),
    "1.2": GridRow("gpt2", "uni"),
    "1.3": GridRow("gpt2"),
    "2.1": GridRow("gpt2", dialogue=True),
    "2.2": GridRow("bert", dialogue=True),
    "3.1": GridRow("bert", dialogue=True, latent=True),
}
FIRST = {"2.1": "plato-grid/pretrain-gpt2", "2.2": "plato/pretrain-without", "3.1": "plato/pretrain"}
AMOUNTS = {"1k": 1000, "5k": 5000, "9k": 0}  # data.total_train_dialogues; the set has 8,939 training dialogues


def _model(row: GridRow, size: Size) -> PlatoConfig:
    usual = plato.MODELS[size]
    made = replace(usual, context=row.context, num_latents=usual.num_latents if row.latent else 0)
    if row.init == "gpt2":
        if size == "tiny":
            return replace(made, norm="pre")
        made = replace(made, base="gpt2", lm_head="tied", pieces="base", num_layers=0)  # byte pairs have no pieces
    return made


def _row(name: str, size: Size) -> RunConfig:
    """Train on Persona-Chat from the row's initial weights; nothing adapts."""
    made = plato.finetune("personachat", size)
    model = _model(GRID[name], size)
    if size == "cpu":
        model = replace(model, max_length=plato.SETS["personachat"].max_length)
    return replace(made, recipe=f"plato-grid/{name}@{size}", model=model, method=PretrainOnly())


def _pretrain_gpt2(size: Size) -> RunConfig:
    """Pretrain as ``plato/pretrain`` does, from a GPT-2 and without a latent."""
    return replace(plato.pretrain(size), recipe=f"plato-grid/pretrain-gpt2@{size}", model=_model(GRID["2.1"], size))


ROWS: dict[str, Callable[[Size], RunConfig]] = {
    **{f"plato-grid/{name}": partial(_row, name) for name in GRID},
    "plato-grid/pretrain-gpt2": _pretrain_gpt2,
}
