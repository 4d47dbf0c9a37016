"""LoRA learns to answer as a persona does whose weights cannot leave, on its dialogues; held-out ones tell how well."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch

from menura import registry
from menura.adaptation.inner_gradients import FirstOrder
from menura.adaptation.inner_loop import StepCallback, mini_batches
from menura.adaptation.inner_step import InnerProblem
from menura.adaptation.weights import PersonaWeights, adaptable_parameters, check_finite, loss_with, swapped_weights
from menura.artefacts.loading import LoadedModel, LoadOptions
from menura.batches.batch import Batch
from menura.batches.encode import EncodedDialogue
from menura.errors import EpisodeError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters

LORA = Adapters(kind="lora", rank=8, target_modules="all-linear", layers="all")
SEED = 0
INSTEAD = "adapt it with LoRA on a base instead: menura adapt NAME FILES"


@dataclass(frozen=True)
class Distillation:
    """How LoRA is trained: passes over the dialogues, in mini-batches of so many exchanges, with Adam at ``lr``."""

    epochs: int = 12
    lr: float = 1e-3
    batch_size: int = 16


USUAL = Distillation()


@dataclass(frozen=True)
class Fidelity:
    """What distilling lost, on held-out replies: KL (nats per token) from the persona, and perplexities.

    ``kl_before`` is that of the bare base, ``kl_after`` that of the LoRA. ``nan`` where nothing was held out.
    """

    replies: int
    kl_before: float
    kl_after: float
    perplexity_base: float
    perplexity_persona: float
    perplexity_lora: float

    def __str__(self) -> str:
        """Return the measures in two lines."""
        if not self.replies:
            return "no dialogue was held out, so what was lost is not known"
        return (
            f"KL from the persona on {self.replies} held-out replies: {self.kl_before:.3g} nats per token of the base, "
            f"{self.kl_after:.3g} of the LoRA\n"
            f"perplexity of these replies: base {self.perplexity_base:.2f}, persona {self.perplexity_persona:.2f}, "
            f"LoRA {self.perplexity_lora:.2f}"
        )


def student_settings(settings: CausalLmConfig) -> CausalLmConfig:
    """Return the settings of the LoRA that stands for a model: on the bare base, in the same chat format."""
    return replace(settings, adapters=LORA, train_base=False, init_from="")


def distilled(
    teacher: LoadedModel,
    weights: PersonaWeights,
    support: Sequence[EncodedDialogue],
    held_out: Sequence[EncodedDialogue],
    how: Distillation = USUAL,
    on_step: StepCallback | None = None,
) -> tuple[PersonaWeights, Fidelity]:
    """Return LoRA weights that answer as ``teacher`` does with a persona's weights, and what was lost.

    The teacher's distribution at each token of the support replies is the only target. A second copy of the base is
    loaded. Raises EpisodeError without replies to learn from, NumericalError where training diverges.
    """
    if not any(support):
        raise EpisodeError("the persona replies in none of the dialogues, so there is nothing to distil on")
    settings = student_settings(teacher.config)  # type: ignore[arg-type]  # the caller looked
    student = registry.load_model(settings, LoadOptions(seed=SEED, offline=True))
    model = student.model
    initial = {name: value.detach().clone() for name, value in adaptable_parameters(model).items()}
    with swapped_weights(teacher.model, weights):
        targets = [_taught(teacher, batch) for batch in mini_batches(teacher.model, support, how.batch_size)]
    trajectory = FirstOrder(InnerProblem(model, how.lr, True), initial)
    steps = how.epochs * len(targets)
    for step in range(steps):
        loss = float(trajectory.step(targets[step % len(targets)]))
        if on_step:
            on_step(step + 1, steps, loss)
    learnt = {name: value.detach() for name, value in trajectory.weights().items()}
    check_finite(learnt, "the distilled LoRA", INSTEAD)
    return learnt, fidelity(teacher, weights, student, initial, learnt, held_out)


@torch.no_grad()
def fidelity(
    teacher: LoadedModel,
    weights: PersonaWeights,
    student: LoadedModel,
    initial: PersonaWeights,
    learnt: PersonaWeights,
    held_out: Sequence[EncodedDialogue],
) -> Fidelity:
    """Return how near LoRA is to a persona on held-out dialogues; ``initial`` is LoRA that changes nothing."""
    exchanges = tuple(chain.from_iterable(held_out))
    if not exchanges:
        return Fidelity(0, *[math.nan] * 5)
    with swapped_weights(teacher.model, weights):
        batch = _taught(teacher, teacher.model.batch(exchanges))
        own = teacher.model.loss(batch)
    before, after = (loss_with(student.model, values, batch) for values in (initial, learnt))
    entropy = float(own.total)  # with soft targets alone, the loss is a cross-entropy to the teacher
    perplexities = (math.exp(float(loss.nll.sum() / loss.tokens.sum())) for loss in (before, own, after))
    return Fidelity(len(exchanges), float(before.total) - entropy, float(after.total) - entropy, *perplexities)


def _taught(teacher: LoadedModel, batch: Batch) -> Batch:
    """Return a batch whose targets are the teacher's distributions alone."""
    model = teacher.model
    assert isinstance(model, CausalLm), "the caller looked"
    return model.with_soft_targets(batch, 1.0)
