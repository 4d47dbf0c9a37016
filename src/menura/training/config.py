"""The settings of a run as one frozen value; they are saved with the run and compared when it is resumed."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from menura.adaptation.finetune import Finetune
from menura.adaptation.protocol import Adaptation
from menura.adaptation.weights import Decaying
from menura.errors import ConfigError
from menura.models.catalogue import ModelSettings, named_settings
from menura.models.causal_lm.config import CausalLmConfig
from menura.training.data import DataConfig
from menura.training.precision import Precision

LARGEST_RATE = 1e30  # beyond it the optimiser's own arithmetic overflows


@dataclass(frozen=True)
class Outer:
    """The outer loop: Adam, or AdamW, on the mean objective of ``meta_batch_size`` tasks per step.

    The learning rate rises linearly to ``lr`` over ``warmup_steps``; then, with ``cosine``, it falls to a tenth. With
    ``plateau_patience`` it is multiplied by ``plateau_factor`` after more steps in a row than that without a new lowest
    training loss, down to ``min_lr``. ``save_every`` and ``eval_every`` are in steps; at each evaluation
    ``eval_personas`` validation personas are adapted, never one of the test split.
    The objective is taken over ``batched`` tasks at once, their exchanges as one batch: for terms that compare the
    replies of a batch, and to keep matrices large. Without support dialogues only.
    ``compile`` compiles the whole gradient of a task before the first step, which takes minutes.
    """

    steps: int = 100
    meta_batch_size: int = 4  # tasks per step
    shots: int = 5  # support dialogues per task; 0 if tasks are dialogues and nothing adapts
    queries: int = 2  # query dialogues per task
    lr: float = 3e-4
    warmup_steps: int = 0
    weight_decay: float = 0.0  # decoupled (AdamW); 0 is plain Adam
    weight_decay_of: Decaying = "all"  # matrices: norms, biases and gates do not decay
    cosine: bool = True  # without it the rate stays constant after warm-up
    plateau_patience: int = 0  # steps without a new lowest loss; 0 is off
    plateau_factor: float = 0.5
    min_lr: float = 0.0  # lower bound of the plateau schedule
    max_grad_norm: float = 2.0  # gradients are clipped to it
    save_every: int = 10
    eval_every: int = 25
    eval_personas: int = 8
    compile: bool = False
    batched: int = 1  # tasks per batch, a divisor of meta_batch_size

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can train."""
        for name in ("steps", "meta_batch_size", "batched", "queries", "save_every", "eval_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"outer.{name}: {getattr(self, name)}, must be at least 1")
        for name in ("warmup_steps", "eval_personas", "weight_decay", "shots", "plateau_patience", "min_lr"):
            if getattr(self, name) < 0:
                raise ConfigError(f"outer.{name}: {getattr(self, name)}, must not be negative")
        for name in ("lr", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"outer.{name}: {getattr(self, name)}, must be > 0")
        if self.lr > LARGEST_RATE:
            raise ConfigError(f"outer.lr: {self.lr}, must be at most {LARGEST_RATE}")
        if not 0 < self.plateau_factor < 1:
            raise ConfigError(f"outer.plateau_factor: {self.plateau_factor}, must be between 0 and 1")

    def check_together(self) -> None:
        """Refuse settings that exclude each other; called once all are set, as each is set separately."""
        if self.meta_batch_size % self.batched:
            told = f"outer.batched: {self.batched}, must divide outer.meta_batch_size, {self.meta_batch_size}"
            raise ConfigError(told, hint="--set outer.batched=1")
        if self.batched > 1 and self.shots:
            told = f"outer.batched: {self.batched}, not with outer.shots, {self.shots}: support is of one task"
            raise ConfigError(told, hint="--set outer.shots=0")
        if self.plateau_patience and self.cosine:
            raise ConfigError("outer.plateau_patience: not with outer.cosine, the cosine", hint="--set outer.cosine=no")
        if self.plateau_patience and self.min_lr > self.lr:
            raise ConfigError(f"outer.min_lr: {self.min_lr}, must be at most outer.lr, {self.lr}")


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run. ``dtype`` bfloat16 trains and adapts faster, less exactly; evaluation is in float32."""

    recipe: str
    model: ModelSettings = field(default_factory=CausalLmConfig)
    method: Adaptation = field(default_factory=Finetune)
    data: DataConfig = field(default_factory=DataConfig)
    outer: Outer = field(default_factory=Outer)
    dtype: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that exclude each other."""
        if self.outer.compile and self.dtype != "float32":
            raise ConfigError(f"outer.compile: not with dtype {self.dtype}", hint="leave one of the two out")


def with_model(config: RunConfig, **changes: Any) -> RunConfig:
    """Return the settings with some settings of the model changed."""
    return replace(config, model=replace(config.model, **changes))


def with_inner_loop(config: RunConfig, **changes: Any) -> RunConfig:
    """Return the settings with some settings of the method's inner loop changed."""
    method: Any = config.method
    return replace(config, method=replace(method, inner=replace(method.inner, **changes)))


def as_json(config: Any) -> dict[str, Any]:
    """Return settings as plain data; a model and a method carry their catalogue names."""
    plain = asdict(config)
    if "model" in plain:
        plain["model"] = named_settings(config.model)
    if "method" in plain:
        plain["method"] = {"name": config.method.name, **plain["method"]}
    return plain


def fingerprint(config: RunConfig) -> str:
    """Return a hash of all settings."""
    return hashlib.sha256(json.dumps(as_json(config), sort_keys=True).encode()).hexdigest()


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Return the differences of two nested plain values, one ``path: before -> now`` per line."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        return [
            line for key in keys for line in differences(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))
        ]
    return [] if before == now else [f"{path}: {before!r} -> {now!r}"]
