"""PLATO's trainings at three sizes: dialogue first, then a set of its tables; with the latent and without (A14 to A16).

``plato/pretrain`` learns dialogue as such; ``plato/finetune-SET`` goes on from its run, which ``--set
model.init_from=`` names. A recipe that ends in ``-without`` has no latent and begins with ``plato/pretrain-without``.
``tiny`` takes seconds. ``cpu`` is the smallest size at which the latent was found alive (``plato_latent``): MiniLM's
two lowest layers and the word pieces that occur, contexts of two utterances, batches of some 56 exchanges. ``paper`` is
the text's own setting with ``bert-base`` in a folder or from a hub, which was not run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from menura.adaptation import default_methods
from menura.adaptation.finetune import Finetune, PretrainOnly
from menura.adaptation.protocol import Adaptation
from menura.models.plato.config import PlatoConfig
from menura.training.config import Outer, RunConfig, with_model
from menura.training.data import DataConfig
from menura.training.recipes.mamlviapp import Size
from menura.training.recipes.plato_data_sets import AVSD, CHITCHAT, DAILYDIALOG, PERSONACHAT

MODELS: dict[Size, PlatoConfig] = {
    "tiny": PlatoConfig(
        base="tiny",
        init="random",
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        intermediate_size=64,
        max_positions=512,
        num_latents=5,
        max_length=160,
    ),
    # For few steps the head needs word frequencies, and the selection loss a weight that counts beside token sums.
    "cpu": PlatoConfig(
        pieces="training",
        min_count=3,
        vocab_size=8000,
        num_layers=2,
        num_latents=8,
        lm_head="bert_mlm",
        recognition="after_context",
        sampling="hard_em",
        targets="clusters",
        target_share=0.8,
        selection="match",
        selection_weight=20,
        max_length=80,
        max_turns=3,
        max_utterance_tokens=24,
        max_reply_tokens=24,
    ),
    "paper": PlatoConfig(base="google-bert/bert-base-uncased", preset="paper"),
}
CPU: dict[str, Any] = {"lr": 5e-4, "warmup_steps": 10, "max_grad_norm": 1.0, "eval_personas": 12}
PRETRAINING: dict[Size, Outer] = {
    "tiny": Outer(10, 2, 0, 1, lr=1e-2, save_every=5, eval_every=5, eval_personas=2),
    "cpu": Outer(300, 8, 0, 2, batched=8, save_every=25, eval_every=300, **CPU),
    "paper": Outer(
        3_500_000,
        64,
        0,
        1,
        lr=5e-5,
        warmup_steps=4000,
        cosine=False,
        max_grad_norm=1.0,
        save_every=5000,
        eval_every=50_000,
    ),
}
FINETUNING: dict[Size, Outer] = {
    "tiny": Outer(6, 2, 0, 1, lr=1e-2, save_every=3, eval_every=3, eval_personas=2),
    "cpu": Outer(300, 8, 0, 2, batched=8, save_every=25, eval_every=300, **CPU),
    "paper": Outer(
        50_000, 2, 0, 1, lr=1e-5, warmup_steps=500, cosine=False, max_grad_norm=1.0, save_every=2000, eval_every=2000
    ),
}
# Adapted are latents, their prior and the adapters.
PERSONAL = "latent,prior,adapters"
INNER = default_methods.PLATO
SMALL = DataConfig(max_turns=6, max_dialogues=10, min_heldout_dialogues=4)  # of the packaged corpus


@dataclass(frozen=True)
class Set:
    """A dialogue set: its settings, and for size cpu the length of sequences, tasks a step and dialogues of each."""

    data: DataConfig
    max_length: int
    meta_batch_size: int = 8
    queries: int = 1
    adapters: int = 0  # the bottleneck of a persona's
    method: Adaptation = PretrainOnly()


SETS: Mapping[str, Set] = {
    "dailydialog": Set(DAILYDIALOG, 80, queries=2),
    "personachat": Set(PERSONACHAT, 128, adapters=16, method=Finetune(INNER, PERSONAL)),
    "avsd": Set(AVSD, 160, meta_batch_size=4),
}


def _without(config: RunConfig) -> RunConfig:
    name, _, size = config.recipe.partition("@")
    method = Finetune(INNER, "adapters") if config.method.has_inner_loop else config.method
    return with_model(replace(config, recipe=f"{name}-without@{size}", method=method), num_latents=0)


def pretrain(size: Size) -> RunConfig:
    """Pretrain on pooled chats."""
    data = (
        SMALL if size == "tiny" else CHITCHAT if size == "paper" else replace(CHITCHAT, corpus="chitchat", max_turns=8)
    )
    return RunConfig(f"plato/pretrain@{size}", MODELS[size], PretrainOnly(), data, PRETRAINING[size])


def finetune(name: str, size: Size) -> RunConfig:
    """Finetune on one data set."""
    chosen = SETS[name]
    model, outer = replace(MODELS[size], adapter_bottleneck=chosen.adapters), FINETUNING[size]
    if size == "cpu":
        model, outer = (
            replace(model, max_length=chosen.max_length),
            replace(
                outer, meta_batch_size=chosen.meta_batch_size, batched=chosen.meta_batch_size, queries=chosen.queries
            ),
        )
    return RunConfig(
        f"plato/finetune-{name}@{size}",
        model,
        chosen.method,
        SMALL if size == "tiny" else chosen.data,
        outer,
    )


def paper_dailydialog(size: Size) -> RunConfig:
    """Finetune on DailyDialog as the paper's formulas have it: preset ``paper``, with nothing against a dead latent."""
    usual = finetune("dailydialog", size)
    paper: dict[str, Any] = {"preset": "paper", "lm_head": "tied", "selection": "mask", "selection_weight": 1.0}
    without_ours = {"sampling": "", "targets": "none", "recognition": "bidirectional"}
    return with_model(replace(usual, recipe=f"plato/paper-dailydialog@{size}"), **paper, **without_ours)


def _rows() -> dict[str, Callable[[Size], RunConfig]]:
    rows: dict[str, Callable[[Size], RunConfig]] = {"plato/pretrain": pretrain}
    rows |= {f"plato/finetune-{name}": partial(finetune, name) for name in SETS}
    return {"plato/paper-dailydialog": paper_dailydialog, **rows} | {
        f"{name}-without": partial(_made_without, made) for name, made in rows.items()
    }


def _made_without(made: Callable[[Size], RunConfig], size: Size) -> RunConfig:
    return _without(made(size))


ROWS = _rows()
