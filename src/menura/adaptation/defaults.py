"""How a persona is learnt where nothing else is said, on each kind of model."""

from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.plain import Finetune

# Held-out dialogues of validation speakers chose these (docs/results/start.md).
ANCHORED = InnerLoop(lr=5e-4, epochs=2, batch_size=16, optimizer="adam", distill_weight=0.5)
PLATO = InnerLoop(lr=1e-3, epochs=3, batch_size=16, optimizer="adam")
ROUTING = InnerLoop(lr=1e-3, epochs=1, batch_size=16, optimizer="adam")  # more passes lose on held-back speakers


def default_persona() -> Finetune:
    """Return the method of the default base."""
    return Finetune(ANCHORED)


def plato_persona() -> Finetune:
    """Return the method of a PLATO: a persona differs in latents and prior."""
    return Finetune(PLATO, "latent,prior")


def routing_persona() -> Finetune:
    """Return the method of attention routing."""
    return Finetune(ROUTING)
