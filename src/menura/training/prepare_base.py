"""A base becomes a good start for personas: LoRA trained on the packaged corpus, checked on validation speakers.

Without it five dialogues would have to teach a base both to talk as people chat and to talk as one person.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from menura.adaptation.default_methods import ANCHORED
from menura.adaptation.finetune import Finetune
from menura.artefacts import tensors
from menura.artefacts.files import read_json, write_json
from menura.artefacts.loaders.causal_lm import LORA, write_adapters
from menura.errors import NumericalError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.dialogue_model import neutral_weights
from menura.training.config import Outer, RunConfig, fingerprint
from menura.training.data import DataConfig, EncodedTask
from menura.training.lr_finder import unadapted_after
from menura.training.run_setup import Prepared
from menura.training.trainer import Training, held_out_nll

RATES = (3e-4, 1e-3, 3e-3)  # learning rates that are tried, rising
HIGHER, HIGHER_AT_MOST = 3, 2  # times the highest, while that is the best; rates tried so
TRIAL_STEPS = 8  # with each of them
SPEAKERS = 14  # of the validation split, that the rates and the result are compared on
LARGEST_NLL = 700.0  # nats per token whose exponential is still a number
SHOTS, QUERIES = 5, 2  # of a speaker: dialogues left out, as a persona would learn from them, and dialogues scored


def recipe() -> RunConfig:
    """Pooled training of LoRA on any base; ``menura base prepare`` sets the base and the learning rate."""
    outer = Outer(
        steps=300,
        meta_batch_size=4,
        shots=1,
        queries=1,
        lr=1e-3,
        warmup_steps=10,
        save_every=10,
        eval_every=100,
        eval_personas=8,
    )
    model = CausalLmConfig(max_length=768, adapters=LORA)
    return RunConfig("base-prepare", model, Finetune(ANCHORED), DataConfig(max_turns=16, memory_tokens=256), outer)


@dataclass(frozen=True)
class Rates:
    """Perplexity of validation speakers after a few steps at each learning rate tried, infinite where they diverged.

    ``seconds`` is how long a step takes.
    """

    perplexity: Mapping[float, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def best(self) -> float:
        """The rate with the lowest perplexity, the lowest of those; NumericalError if all diverged."""
        if not any(map(math.isfinite, self.perplexity.values())):
            lower = min(self.perplexity) / 10
            hint = f"--set outer.lr={lower:.0e}"
            raise NumericalError("the loss diverges at each learning rate tried", hint=hint, code="diverged_at_once")
        return min(sorted(self.perplexity), key=lambda rate: self.perplexity[rate])

    @property
    def untried(self) -> float | None:
        """The rate to try next: one of ``RATES``, then higher ones while the highest is the best; None: all tried."""
        missing = [rate for rate in RATES if rate not in self.perplexity]
        if missing:
            return missing[0]
        highest = max(self.perplexity)
        if len(self.perplexity) == len(RATES) + HIGHER_AT_MOST or self.best < highest:
            return None
        return float(f"{HIGHER * highest:g}")

    def adding(self, rate: float, nll: float, seconds: float) -> "Rates":
        """Return the rates with one more: NLL per token (nats) after it, seconds of a step."""
        perplexity = math.exp(nll) if nll < LARGEST_NLL else math.inf  # of a number that is none, too
        return Rates({**self.perplexity, rate: perplexity}, seconds)

    def write(self, path: Path, config: RunConfig) -> None:
        """Write the rates tried with these settings."""
        tried = {f"{rate:g}": value if math.isfinite(value) else None for rate, value in self.perplexity.items()}
        write_json(path, {"perplexity": tried, "seconds": self.seconds, "settings_sha256": fingerprint(config)})

    @classmethod
    def read(cls, path: Path, config: RunConfig) -> "Rates":
        """Read the rates tried with these settings; none where the file is missing or of other settings."""
        written = read_json(path) if path.exists() else {}
        if written.get("settings_sha256") != fingerprint(config):
            return cls()
        tried = {float(rate): math.inf if value is None else value for rate, value in written["perplexity"].items()}
        return cls(tried, written["seconds"])


def try_rates(path: Path, config: RunConfig, make: Callable[[], Training], say: Callable[[str], None]) -> Rates:
    """Take a few steps at each rate and score validation speakers; all weights are restored.

    Each result is written to ``path`` as soon as it is there, and a rate that stands there is not tried again. ``make``
    is called if any is left to try. Raises NumericalError if the loss diverges at each of them.
    """
    rates = Rates.read(path, config)
    if rates.untried is None:
        return rates
    training = make()
    tasks = scored_on(training.valid)[: SPEAKERS // 2]
    while (rate := rates.untried) is not None:
        nll, seconds = unadapted_after(training, rate, TRIAL_STEPS, tasks, SHOTS, QUERIES)
        rates = rates.adding(rate, nll, seconds)
        rates.write(path, config)
        say(f"       learning rate {rate:g}: {_fared(rates.perplexity[rate])} after {TRIAL_STEPS} steps")
    return rates


def _fared(perplexity: float) -> str:
    return f"validation perplexity {perplexity:.2f}" if math.isfinite(perplexity) else "the loss diverges"


def scored_on(tasks: Sequence[EncodedTask]) -> list[EncodedTask]:
    """Return the validation speakers that rates and results are compared on."""
    return [task for task in tasks if len(task.dialogues) > SHOTS][:SPEAKERS]


def perplexities(prepared: Prepared, best: Path) -> tuple[float, float, int]:
    """Return validation perplexity of the bare base and of the trained weights, and the number of speakers.

    Nothing is adapted to a speaker; the dialogues scored are those after the first five.
    """
    model = prepared.loaded.model
    tasks = scored_on(prepared.tasks("valid"))
    trained = {name: value.to(model.device) for name, value in tensors.load(best).items()}
    bare = neutral_weights(model)
    before, _ = held_out_nll(model, lambda model, support: bare, tasks, SHOTS, QUERIES)
    _, after = held_out_nll(model, lambda model, support: trained, tasks, SHOTS, QUERIES)
    return math.exp(before), math.exp(after), len(tasks)


def write(path: Path, prepared: Prepared, best: Path, scores: tuple[float, float, int]) -> None:
    """Write the trained adapters as the base's checkpoint, with what they were scored at."""
    before, after, speakers = scores
    about = {
        "recipe": prepared.config.recipe,
        **prepared.origin,
        "validation_perplexity": f"{before:.4f} {after:.4f} {speakers}",
    }
    write_adapters(path, tensors.load(best), prepared.loaded, about)
