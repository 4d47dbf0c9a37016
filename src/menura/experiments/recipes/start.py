"""The adapter start that ships: warmed up on pooled dialogues, then gone on with by meta-learning or by pooling.

Both continuations see the same episodes, so the same training tokens; the better one on held-back personas ships
(docs/results/start.md).
"""

from dataclasses import replace

from menura.adaptation.descent import Descent
from menura.adaptation.maml import Maml
from menura.adaptation.plain import Finetune
from menura.artefacts.loaded import shipped_config
from menura.experiments.data_config import DataConfig
from menura.experiments.run_config import Outer, RunConfig
from menura.models.causal_lm import CausalLmConfig
from menura.models.parts.adapters import Adapters

# The inner loop that the start was trained and chosen with.
INNER = Descent(rate=1e-3, epochs=1, batch=16, optimizer="adam")
# How a persona is adapted from the start that ships; chosen on held-back personas (docs/results/adaptation.md).
ANCHORED = Descent(rate=5e-4, epochs=2, batch=16, optimizer="adam", anchor=0.5)
MODEL = CausalLmConfig(limit=768, adapters=Adapters(size=16, layers="upper"))
DATA = DataConfig(turns=16)


def warm() -> RunConfig:
    """Pooled training of fresh adapters."""
    outer = Outer(steps=150, tasks=4, shots=1, queries=1, rate=1e-3, warmup=10, save_every=25, check_every=75)
    return RunConfig("start/warm", MODEL, Finetune(INNER), DATA, outer, precision="bfloat16")


def pooled() -> RunConfig:
    """Go on from the warm start by pooling."""
    outer = Outer(steps=40, tasks=4, shots=5, queries=2, rate=3e-4, save_every=5, check_every=20)
    model = replace(MODEL, start="runs/start-warm")
    return replace(warm(), recipe="start/pooled", model=model, outer=outer)


def meta() -> RunConfig:
    """Go on from the warm start by first-order MAML that holds the un-adapted loss too."""
    return replace(pooled(), recipe="start/meta", method=Maml(INNER, order="first", hold=0.5))


def shipped() -> RunConfig:
    """Adapt from the start that ships."""
    return RunConfig("shipped", shipped_config(), Finetune(ANCHORED), DATA)


def fresh() -> RunConfig:
    """Adapt fresh adapters on the bare base: two passes of Adam over the support."""
    return RunConfig("fresh", MODEL, Finetune(replace(INNER, epochs=2)), DATA)
