"""What is adapted from: the default checkpoint, that of a base, the bare base; and how the earlier default was made.

``menura base prepare`` trains the default checkpoint, which is LoRA. The earlier one, Houlsby adapters, was warmed up
on pooled dialogues, then trained further by meta-learning or by pooling. Both continuations see the same episodes, so
the same training tokens; the one that is better on validation personas ships (docs/results/default-adapters.md).
"""

from dataclasses import replace

from menura.adaptation.default_methods import ANCHORED, HOULSBY
from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.artefacts.bases.prepared import PREPARED
from menura.artefacts.loaders.causal_lm import LORA, default_settings
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.training.config import Outer, RunConfig
from menura.training.data import DataConfig

# The inner loop that the checkpoint was trained and chosen with.
INNER = InnerLoop(lr=1e-3, epochs=1, batch_size=16, optimizer="adam")
MODEL = CausalLmConfig(max_length=768, adapters=Adapters(bottleneck=16, layers="upper"))
DATA = DataConfig(max_turns=16)


def warm() -> RunConfig:
    """Pooled training of fresh adapters."""
    outer = Outer(
        steps=150, meta_batch_size=4, shots=1, queries=1, lr=1e-3, warmup_steps=10, save_every=25, eval_every=75
    )
    return RunConfig("default-adapters/warm", MODEL, Finetune(INNER), DATA, outer, dtype="bfloat16")


def pooled() -> RunConfig:
    """Continue the warm-up with pooled training."""
    outer = Outer(steps=40, meta_batch_size=4, shots=5, queries=2, lr=3e-4, save_every=5, eval_every=20)
    model = replace(MODEL, init_from="default-adapters-warm")
    return replace(warm(), recipe="default-adapters/pooled", model=model, outer=outer)


def meta() -> RunConfig:
    """Continue the warm-up with first-order MAML, with a share of the un-adapted loss in the objective."""
    return replace(
        pooled(), recipe="default-adapters/meta", method=Maml(INNER, order="first", unadapted_loss_weight=0.5)
    )


def shipped() -> RunConfig:
    """Adapt from the default adapter checkpoint."""
    return RunConfig("shipped", default_settings(), Finetune(ANCHORED), DATA)


def houlsby() -> RunConfig:
    """Adapt from the default checkpoint of earlier versions: Houlsby adapters."""
    return RunConfig("default-adapters/houlsby", default_settings(adapters=MODEL.adapters), Finetune(HOULSBY), DATA)


def prepared() -> RunConfig:
    """Adapt from the checkpoint that ``menura base prepare`` made for a base: ``--set model.base=NAME``."""
    model = CausalLmConfig(max_length=768, adapters=LORA, init_from=PREPARED)
    return RunConfig("prepared", model, Finetune(ANCHORED), DATA)


def fresh() -> RunConfig:
    """Adapt fresh adapters on the bare base: two passes of Adam over the support."""
    return RunConfig("fresh", MODEL, Finetune(replace(INNER, epochs=2)), DATA)
