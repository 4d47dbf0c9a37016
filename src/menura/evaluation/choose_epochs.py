"""Several numbers of inner epochs become the one with the lowest perplexity on validation personas."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from menura.adaptation.protocol import Adaptation
from menura.errors import EpisodeError
from menura.metrics.perplexity import perplexity_of
from menura.training.precision import approximately
from menura.training.run_setup import Prepared
from menura.training.trainer import held_out_nll

SPLIT = "valid"


@dataclass(frozen=True)
class Chosen:
    """The method with the chosen number of epochs, and the perplexity of every number tried."""

    method: Adaptation
    personas: int
    shots: int
    perplexity: Mapping[int, float]  # by epochs; 0 is un-adapted

    @property
    def said(self) -> str:
        """Return the choice and its alternatives as text."""
        best = min(set(self.perplexity) - {0}, key=lambda epochs: self.perplexity[epochs])
        tried = ", ".join(f"{epochs}: {value:.2f}" for epochs, value in self.perplexity.items())
        return f"{best}, chosen on {self.personas} held-back personas at K={self.shots} by PPL ({tried})"


def chosen_epochs(prepared: Prepared, epochs: Sequence[int], shots: int, say: Callable[[str], None]) -> Chosen | None:
    """Adapt validation personas with each number of epochs and keep the best; None if there is nothing to choose.

    At most ``shots`` support dialogues are used, fewer if a persona would have no query dialogue. Test personas are not
    used.
    """
    method = prepared.config.method
    if not method.has_inner_loop or not epochs:
        return None
    held_back = [task for task in prepared.tasks(SPLIT) if len(task.dialogues) > 1]
    held_back = held_back[: prepared.config.outer.eval_personas or None]
    if not held_back:
        raise EpisodeError("no held-back persona has two dialogues, so there is nothing to choose epochs on")
    shots = min(shots, min(len(task.dialogues) for task in held_back) - 1)
    found: dict[int, float] = {}
    for number in sorted(set(epochs) - {0}):
        tried = _with_epochs(method, number)
        with approximately(prepared.config.dtype, prepared.loaded.model.device):
            before, after = held_out_nll(prepared.loaded.model, tried.adapt, held_back, shots, queries=1)
        found[0] = perplexity_of([before], [1], "pooled")
        found[number] = perplexity_of([after], [1], "pooled")
        say(f"{number} inner epochs: held-back personas PPL {found[0]:.2f} -> {found[number]:.2f}")
    best = min(set(found) - {0}, key=lambda number: found[number])
    return Chosen(_with_epochs(method, best), len(held_back), shots, found)


def _with_epochs(method: Any, epochs: int) -> Any:
    return replace(method, inner=replace(method.inner, epochs=epochs))
