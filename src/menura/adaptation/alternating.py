"""Training in turns: on each batch several things are lowered, one after the other, each by networks of its own."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from menura.adaptation.inner_loop import InnerLoop, Watch
from menura.adaptation.plain import fitted, pooled
from menura.adaptation.weights import PersonaWeights, adapting
from menura.batches.encode import EncodedDialogue, EncodedEpisode, EncodedExchange
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, Loss, TrainsAlternately

Objective = Callable[[DialogueModel[Any], EncodedEpisode, float], Loss]


@dataclass(frozen=True)
class Phase:
    """What is lowered after a step's objective, on the same tasks, at ``rate`` times its rate."""

    objective: Objective
    lr_scale: float


@runtime_checkable
class TakesTurns(Protocol):
    """A method whose outer step is several of the optimiser's: its objective, then turns."""

    def further_turns(self) -> Iterator[Phase]:
        """Yield what follows the objective, in order."""


@dataclass(frozen=True)
class Alternating:
    """Reconstruct, then let the generators lower a divergence, then let the critic estimate it (iVAE, spec C3).

    A step takes ``generators`` and ``critics`` further ones of the optimiser, on the same dialogues, at a share of the
    outer rate. A persona is then learnt as ``Finetune`` does.
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
        """Refuse turns that are none."""
        for name in ("generator_steps", "critic_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must be at least 1")
        for name in ("generator_lr_scale", "critic_lr_scale"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must be > 0")

    def attach(self, model: DialogueModel[Any]) -> None:
        """Need nothing beside the model; ConfigError for one that does not learn in turns, or has nothing to adapt."""
        if not isinstance(model, TrainsAlternately):
            raise ConfigError(f"{type(model).__name__} does not learn in turns", hint="try --set method=finetune")
        adapting(model, self.trainable)

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the loss of the reconstruction over support and query together; the pooled loss where there is none.

        What is drawn is drawn anew at each ``progress``.
        """
        if not isinstance(model, TrainsAlternately):
            return pooled(model, episode)
        batch = model.batch(_exchanges(episode))
        seed = _seed(episode, progress, "reconstruction")
        with model.dropout(seed):
            return model.reconstruction(batch, seed)

    def further_turns(self) -> Iterator[Phase]:
        """Yield the generators' turns, then the critic's."""
        yield from (Phase(partial(_turn, "generator", n), self.generator_lr_scale) for n in range(self.generator_steps))
        yield from (Phase(partial(_turn, "critic", n), self.critic_lr_scale) for n in range(self.critic_steps))

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return the weights after the inner loop."""
        return fitted(model, support, self.inner, watch, self.trainable)


def _turn(
    name: Literal["generator", "critic"],
    number: int,
    model: DialogueModel[Any],
    episode: EncodedEpisode,
    progress: float,
) -> Loss:
    assert isinstance(model, TrainsAlternately), "attach was to refuse it"
    return model.lowered(name, model.batch(_exchanges(episode)), _seed(episode, progress, f"{name} {number}"))


def _exchanges(episode: EncodedEpisode) -> tuple[EncodedExchange, ...]:
    return tuple(chain.from_iterable(episode.support + episode.query))


def _seed(episode: EncodedEpisode, progress: float, what: str) -> int:
    """Return a seed of what is read, when, and what for, so that a training that was stopped goes on the same way."""
    return zlib.crc32(repr((progress, what, [exchange.ids for exchange in _exchanges(episode)])).encode())
