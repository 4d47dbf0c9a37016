"""AR, AR+ and every row of its ablation at three sizes, on people who tell their attributes (spec B10, B13).

``arplus/ar`` and ``arplus/arplus`` are the two systems; ``arplus/no-…`` take one part of AR+ away; those that end in
``-as-published`` also take the rate that the study took for them. ``arplus/strength`` learns how much of the persona a
reply shall hold, ``arplus/cped`` is AR+ on Chinese. ``tiny`` takes seconds, on the packaged corpus, whose speakers tell
nothing of themselves. ``cpu`` is a smaller network on RealPersonaChat, the same exchanges for all rows; ``paper`` has
the study's sizes.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from menura.adaptation.descent import Descent
from menura.adaptation.plain import Finetune
from menura.experiments.data_config import DataConfig
from menura.experiments.recipes.mamlviapp import Size
from menura.experiments.run_config import Outer, RunConfig
from menura.models.attention_routing_settings import AttentionRoutingConfig

AR: Mapping[str, Any] = {
    "rezero": False,
    "embedding": 0,
    "groups": 1,
    "feed_forward": "full",
    "memory": False,
    "auxiliary": "lm",
    "tied": True,
}
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "no-rezero": {"rezero": False},
    "no-albert": {"embedding": 0, "groups": 1},
    "no-factor-ff": {"feed_forward": "full"},
    "no-memn2n": {"memory": False},
    "no-bart-mlm": {"auxiliary": "lm"},
}
MODELS: dict[Size, AttentionRoutingConfig] = {
    "tiny": AttentionRoutingConfig(width=32, layers=2, heads=4, inner=64, embedding=16, groups=2, rank=8, limit=160),
    "cpu": AttentionRoutingConfig(
        width=128, heads=4, inner=512, embedding=64, rank=32, turns=3, utterance=32, reply=40, limit=160
    ),
    "paper": AttentionRoutingConfig(),
}
TINY = DataConfig(turns=8, cap=10, needed=4)
RPC = DataConfig(corpus="rpc", facts=False, turns=0, cap=20, needed=10)
# The test side is of shows that nobody is trained on.
CPED = DataConfig(corpus="cped", facts=False, turns=0, cap=40, needed=4, least=1)
OUTER: dict[Size, Outer] = {
    "tiny": Outer(10, 2, 0, 2, rate=1e-2, fall=False, clip=1.0, save_every=5, check_every=5, check_personas=2),
    "cpu": Outer(
        460,
        2,
        0,
        2,
        rate=2e-3,
        warmup=30,
        decay=0.05,
        decay_of="matrices",
        clip=1.0,
        save_every=50,
        check_every=115,
        check_personas=17,
    ),
    "paper": Outer(60_000, 4, 0, 1, rate=2e-3, decay=0.05, fall=False, clip=1.0, save_every=500, check_every=2000),
}
SLOW = 1.5e-4  # the study's rate for AR, and in its files for two rows of its ablation
# A persona differs in its gates, its words' tables and how replies are said.
INNER = Descent(rate=1e-3, epochs=3, batch=16, optimizer="adam")


def arplus(size: Size, **changed: Any) -> RunConfig:
    """AR+, or what is left of it."""
    data = TINY if size == "tiny" else RPC
    return RunConfig(
        f"arplus/arplus@{size}",
        replace(MODELS[size], **changed),
        Finetune(INNER),
        data,
        OUTER[size],
        "bfloat16" if size == "cpu" else "float32",
    )


def _row(name: str, changed: Mapping[str, Any], size: Size) -> RunConfig:
    return replace(arplus(size, **changed), recipe=f"arplus/{name}@{size}")


def _as_published(name: str, changed: Mapping[str, Any], size: Size) -> RunConfig:
    made = _row(f"{name}-as-published", changed, size)
    return replace(made, outer=replace(made.outer, rate=SLOW))


def strength(size: Size) -> RunConfig:
    """AR+ with a stream of the persona's, of which the weight is learnt from what replies do say of the persona."""
    return _row("strength", {"persona_path": "both", "strength_by": "labelled"}, size)


def cped(size: Size) -> RunConfig:
    """AR+ on Chinese television dialogue, of gender and age."""
    made = _row("cped", {}, size)
    return made if size == "tiny" else replace(made, data=CPED)


ROWS: dict[str, Callable[[Size], RunConfig]] = {
    "arplus/ar": partial(_row, "ar", AR),
    "arplus/arplus": arplus,
    **{f"arplus/{name}": partial(_row, name, changed) for name, changed in ABLATIONS.items()},
    "arplus/ar-as-published": partial(_as_published, "ar", AR),
    "arplus/no-rezero-as-published": partial(_as_published, "no-rezero", ABLATIONS["no-rezero"]),
    "arplus/no-bart-mlm-as-published": partial(_as_published, "no-bart-mlm", ABLATIONS["no-bart-mlm"]),
    "arplus/strength": strength,
    "arplus/cped": cped,
}
