"""The default adaptation of a persona, by kind of model."""

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop

# Held-out dialogues of validation speakers chose these (docs/results/default-adapters.md).
ANCHORED = InnerLoop(lr=1e-3, epochs=2, batch_size=16, optimizer="adam", distill_weight=0.5)  # of LoRA
HOULSBY = InnerLoop(lr=5e-4, epochs=2, batch_size=16, optimizer="adam", distill_weight=0.5)
PLATO = InnerLoop(lr=1e-3, epochs=3, batch_size=16, optimizer="adam")
ROUTING = InnerLoop(lr=1e-3, epochs=1, batch_size=16, optimizer="adam")  # more epochs are worse on validation speakers


DEFAULT_PERSONA = Finetune(ANCHORED)  # on the default base
PLATO_PERSONA = Finetune(PLATO, "latent,prior")  # only latents and prior are adapted
ROUTING_PERSONA = Finetune(ROUTING)
