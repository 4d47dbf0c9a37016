"""Alternating training: on each batch several objectives are minimised in turn, each by networks of its own."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from menura.adaptation.finetune import AdaptsByInnerLoop, support_and_query_loss
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.weights import selected_parameters
from menura.batches.encode import EncodedEpisode, EncodedExchange
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, Loss, TrainsAlternately

Objective = Callable[[DialogueModel[Any], EncodedEpisode, float], Loss]


@dataclass(frozen=True)
class Phase:
    """A further objective after a step's own, on the same tasks, with ``lr_scale`` times its learning rate."""

    objective: Objective
    lr_scale: float


@runtime_checkable
class HasPhases(Protocol):
    """A method whose outer step is several optimiser steps: one for its objective, then one per phase."""

    def phases(self) -> Iterator[Phase]:
        """Yield the phases after the objective, in order."""


@dataclass(frozen=True)
class Alternating(AdaptsByInnerLoop):
    """Minimise the reconstruction loss, then the divergence (generators), then fit its estimate (critic; iVAE, C3).

    An outer step has ``generator_steps`` and ``critic_steps`` further optimiser steps on the same dialogues, at
    ``generator_lr_scale`` and ``critic_lr_scale`` times the outer learning rate. A persona is adapted as by
    ``Finetune``.
    """

    name: ClassVar[str] = "alternating"
    has_inner_loop: ClassVar[bool] = True

    inner: InnerLoop = field(default_factory=InnerLoop)
    trainable: str = ""  # as in Finetune
    generator_steps: int = 1
    critic_steps: int = 5
    generator_lr_scale: float = 1.0
    critic_lr_scale: float = 1.0

    second_order = False

    def __post_init__(self) -> None:
        """Refuse counts and scales that are not positive."""
        for name in ("generator_steps", "critic_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must be at least 1")
        for name in ("generator_lr_scale", "critic_lr_scale"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must be > 0")

    def attach(self, model: DialogueModel[Any]) -> None:
        """Add nothing, check only: ConfigError for a model without adversarial networks, or with nothing to adapt."""
        if not isinstance(model, TrainsAlternately):
            raise ConfigError(f"{type(model).__name__} does not learn in turns", hint="try --set method=finetune")
        selected_parameters(model, self.trainable)

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the reconstruction loss over support and query together; the pooled loss for a model without one.

        The random numbers depend on the episode and on ``progress``, the share of training done, 0 to 1.
        """
        if not isinstance(model, TrainsAlternately):
            return support_and_query_loss(model, episode)
        batch = model.batch(_exchanges(episode))
        seed = _seed(episode, progress, "reconstruction")
        with model.dropout(seed):
            return model.reconstruction(batch, seed)

    def phases(self) -> Iterator[Phase]:
        """Yield the generators' phases, then the critic's."""
        yield from (Phase(partial(_turn, "generator", n), self.generator_lr_scale) for n in range(self.generator_steps))
        yield from (Phase(partial(_turn, "critic", n), self.critic_lr_scale) for n in range(self.critic_steps))


def _turn(
    name: Literal["generator", "critic"],
    number: int,
    model: DialogueModel[Any],
    episode: EncodedEpisode,
    progress: float,
) -> Loss:
    assert isinstance(model, TrainsAlternately), "attach was to refuse it"
    return model.adversarial_loss(name, model.batch(_exchanges(episode)), _seed(episode, progress, f"{name} {number}"))


def _exchanges(episode: EncodedEpisode) -> tuple[EncodedExchange, ...]:
    return tuple(chain.from_iterable(episode.support + episode.query))


def _seed(episode: EncodedEpisode, progress: float, what: str) -> int:
    """Return a seed from data, progress and purpose, so that resumed training continues identically."""
    return zlib.crc32(repr((progress, what, [exchange.ids for exchange in _exchanges(episode)])).encode())
