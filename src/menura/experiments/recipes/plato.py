"""PLATO's trainings at three sizes: dialogue first, then a set of its tables; with the latent and without (A14 to A16).

``plato/pretrain`` learns dialogue as such; ``plato/finetune-SET`` goes on from its run, which ``--set model.start=``
names. A recipe that ends in ``-without`` has no latent and begins with ``plato/pretrain-without``. ``tiny`` takes
seconds. ``cpu`` begins with MiniLM, reads less and takes fewer steps than the paper, the same for all rows; ``paper``
is the text's own setting with ``bert-base`` in a folder or from a hub, which was not run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from menura.adaptation.catalogue import Method
from menura.adaptation.descent import Descent
from menura.adaptation.plain import Finetune, PretrainOnly
from menura.experiments.data_config import DataConfig
from menura.experiments.finite import Precision
from menura.experiments.recipes.dialogue_sets import AVSD, CHITCHAT, DAILYDIALOG, PERSONACHAT
from menura.experiments.recipes.mamlviapp import Size
from menura.experiments.run_config import Outer, RunConfig
from menura.models.plato_settings import PlatoConfig

MODELS: dict[Size, PlatoConfig] = {
    "tiny": PlatoConfig(
        base="tiny", init="random", width=32, layers=2, heads=4, inner=64, positions=512, latents=5, limit=160
    ),
    # Few steps want a head that knows how often words are said, and a selection that is heard beside sums over tokens.
    "cpu": PlatoConfig(
        lm_head="bert_mlm",
        bag="exact",
        entropy=0.5,
        selection_weight=20,
        limit=96,
        utterance=32,
        reply=32,
        considered=4,
    ),
    "paper": PlatoConfig(base="google-bert/bert-base-uncased", preset="paper"),
}
PRETRAINING: dict[Size, Outer] = {
    "tiny": Outer(10, 2, 0, 1, rate=1e-2, save_every=5, check_every=5, check_personas=2),
    "cpu": Outer(500, 4, 0, 1, rate=3e-4, warmup=30, clip=1.0, save_every=20, check_every=125, check_personas=30),
    "paper": Outer(
        3_500_000, 64, 0, 1, rate=5e-5, warmup=4000, fall=False, clip=1.0, save_every=5000, check_every=50_000
    ),
}
FINETUNING: dict[Size, Outer] = {
    "tiny": Outer(6, 2, 0, 1, rate=1e-2, save_every=3, check_every=3, check_personas=2),
    "cpu": Outer(160, 4, 0, 1, rate=2e-4, warmup=10, clip=1.0, save_every=20, check_every=50, check_personas=20),
    "paper": Outer(50_000, 2, 0, 1, rate=1e-5, warmup=500, fall=False, clip=1.0, save_every=2000, check_every=2000),
}
# A persona differs in its latents, their prior and its adapters.
PERSONAL = "latent,prior,adapters"
INNER = Descent(rate=1e-3, epochs=3, batch=16, optimizer="adam")
SMALL = DataConfig(turns=6, cap=10, needed=4)  # of the packaged corpus


@dataclass(frozen=True)
class Set:
    """A dialogue set: its settings, and at size cpu how long sequences may be, how many steps and tasks there are."""

    data: DataConfig
    limit: int
    steps: int = 100
    tasks: int = 4
    adapters: int = 0  # the bottleneck of a persona's
    method: Method = PretrainOnly()


SETS: Mapping[str, Set] = {
    "dailydialog": Set(DAILYDIALOG, 96, 160),
    "personachat": Set(PERSONACHAT, 128, adapters=16, method=Finetune(INNER, PERSONAL)),
    "avsd": Set(AVSD, 128, tasks=2),
}


def _without(config: RunConfig) -> RunConfig:
    model = config.model
    assert isinstance(model, PlatoConfig)
    name, _, size = config.recipe.partition("@")
    method = Finetune(INNER, "adapters") if isinstance(config.method, Finetune) else config.method
    return replace(config, recipe=f"{name}-without@{size}", model=replace(model, latents=0), method=method)


def pretrain(size: Size) -> RunConfig:
    """Learn dialogue from pooled chats."""
    data = SMALL if size == "tiny" else CHITCHAT if size == "paper" else replace(CHITCHAT, corpus="chitchat", turns=8)
    return RunConfig(f"plato/pretrain@{size}", MODELS[size], PretrainOnly(), data, PRETRAINING[size], _precision(size))


def finetune(name: str, size: Size) -> RunConfig:
    """Go on with one set."""
    chosen = SETS[name]
    model, outer = replace(MODELS[size], adapter_size=chosen.adapters), FINETUNING[size]
    if size == "cpu":
        model, outer = replace(model, limit=chosen.limit), replace(outer, tasks=chosen.tasks, steps=chosen.steps)
    return RunConfig(
        f"plato/finetune-{name}@{size}",
        model,
        chosen.method,
        SMALL if size == "tiny" else chosen.data,
        outer,
        _precision(size),
    )


def _precision(size: Size) -> Precision:
    return "bfloat16" if size == "cpu" else "float32"


def _rows() -> dict[str, Callable[[Size], RunConfig]]:
    rows: dict[str, Callable[[Size], RunConfig]] = {"plato/pretrain": pretrain}
    rows |= {f"plato/finetune-{name}": partial(finetune, name) for name in SETS}
    return rows | {f"{name}-without": partial(_made_without, made) for name, made in rows.items()}


def _made_without(made: Callable[[Size], RunConfig], size: Size) -> RunConfig:
    return _without(made(size))


ROWS = _rows()
