"""A base becomes a good start for personas: LoRA trained on the packaged corpus, checked on validation speakers.

Without it five dialogues would have to teach a base both to talk as people chat and to talk as one person.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from menura.adaptation.default_methods import ANCHORED
from menura.adaptation.finetune import Finetune
from menura.artefacts import tensors
from menura.artefacts.loaders.causal_lm import LORA, write_adapters
from menura.models.causal_lm.model import CausalLmConfig
from menura.models.dialogue_model import neutral_weights
from menura.training.config import Outer, RunConfig
from menura.training.data import DataConfig
from menura.training.lr_finder import unadapted_after
from menura.training.run_setup import Prepared
from menura.training.trainer import Training, held_out_nll

RATES = (3e-4, 1e-3, 3e-3)  # learning rates that are tried
TRIAL_STEPS = 8  # with each of them
SPEAKERS = 14  # of the validation split, that the rates and the result are compared on
SHOTS, QUERIES = 5, 2  # of a speaker: dialogues left out, as a persona would learn from them, and dialogues scored


def recipe() -> RunConfig:
    """Pooled training of LoRA on any base; ``menura base prepare`` sets the base and the learning rate."""
    outer = Outer(
        steps=120,
        meta_batch_size=4,
        shots=1,
        queries=1,
        lr=1e-3,
        warmup_steps=10,
        save_every=10,
        eval_every=60,
        eval_personas=8,
    )
    model = CausalLmConfig(max_length=768, adapters=LORA)
    return RunConfig("base-prepare", model, Finetune(ANCHORED), DataConfig(max_turns=16), outer)


@dataclass(frozen=True)
class Rates:
    """Perplexity of validation speakers after a few steps at each learning rate, and the seconds of a step."""

    perplexity: Mapping[float, float]
    seconds: float

    @property
    def best(self) -> float:
        """The rate with the lowest perplexity."""
        return min(self.perplexity, key=lambda rate: self.perplexity[rate])


def try_rates(training: Training, say: Callable[[str], None]) -> Rates:
    """Take a few steps at each rate and score validation speakers; all weights are restored."""
    found: dict[float, float] = {}
    seconds = 0.0
    tasks = [task for task in training.valid if len(task.dialogues) > SHOTS]
    for rate in RATES:
        nll, took = unadapted_after(training, rate, TRIAL_STEPS, tasks[: SPEAKERS // 2], SHOTS, QUERIES)
        found[rate], seconds = math.exp(nll), seconds + took
        say(f"       learning rate {rate:g}: validation perplexity {found[rate]:.2f} after {TRIAL_STEPS} steps")
    return Rates(found, seconds / len(RATES))


def perplexities(prepared: Prepared, best: Path) -> tuple[float, float, int]:
    """Return validation perplexity of the bare base and of the trained weights, and the number of speakers.

    Nothing is adapted to a speaker; the dialogues scored are those after the first five.
    """
    model = prepared.loaded.model
    tasks = [task for task in prepared.tasks("valid") if len(task.dialogues) > SHOTS][:SPEAKERS]
    trained = {name: value.to(model.device) for name, value in tensors.load(best).items()}
    bare = neutral_weights(model)
    before, _ = held_out_nll(model, lambda model, support: bare, tasks, SHOTS, QUERIES)
    _, after = held_out_nll(model, lambda model, support: trained, tasks, SHOTS, QUERIES)
    return math.exp(before), math.exp(after), len(tasks)


def write(path: Path, prepared: Prepared, best: Path, found: tuple[float, float, int]) -> None:
    """Write the trained adapters as the base's checkpoint, with what they were scored at."""
    before, after, speakers = found
    about = {
        "recipe": prepared.config.recipe,
        **prepared.origin,
        "validation_perplexity": f"{before:.4f} {after:.4f} {speakers}",
    }
    write_adapters(path, tensors.load(best), prepared.loaded, about)
