"""Every method on the tiny random base: seconds, for tests and for a first look at a run's folder."""

from dataclasses import replace

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.adaptation.protocol import Adaptation
from menura.models.causal_lm.config import CausalLmConfig, without_adapters
from menura.models.layers.adapters import Adapters
from menura.training.config import Outer, RunConfig
from menura.training.data import DataConfig

INNER = InnerLoop(lr=1e-2, epochs=1, batch_size=8)
MODEL = CausalLmConfig(base="tiny", max_length=256, adapters=Adapters(bottleneck=4, layers="upper"))
DATA = DataConfig(max_turns=8, max_dialogues=10, min_heldout_dialogues=4)
OUTER = Outer(steps=20, meta_batch_size=2, shots=2, queries=1, lr=1e-2, save_every=5, eval_every=10, eval_personas=2)


def _tiny(name: str, method: Adaptation) -> RunConfig:
    return RunConfig(f"tiny/{name}", model=MODEL, method=method, data=DATA, outer=OUTER)


def finetune() -> RunConfig:
    """Pooled training, then fine-tuning."""
    return _tiny("finetune", Finetune(INNER))


def maml() -> RunConfig:
    """First-order MAML on adapters."""
    return _tiny("maml", Maml(INNER))


def maml_exact() -> RunConfig:
    """MAML with the exact gradient."""
    return _tiny("maml-exact", Maml(INNER, order="exact"))


def reptile() -> RunConfig:
    """Reptile."""
    return _tiny("reptile", Maml(INNER, order="reptile"))


def in_place() -> RunConfig:
    """First-order MAML on all weights."""
    return replace(_tiny("in-place", Maml(INNER)), model=without_adapters(MODEL))
