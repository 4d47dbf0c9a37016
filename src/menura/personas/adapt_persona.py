"""One person's dialogues become one persona, with the check that says whether it helped."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from menura.adaptation.catalogue import Method, method_name
from menura.adaptation.finite import check_finite
from menura.adaptation.inner_loop import Watch
from menura.adaptation.weights import PersonaWeights, loss_with
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.batches.encode import EncodedDialogue
from menura.errors import EpisodeError
from menura.metrics.perplexity import perplexity_of
from menura.models.catalogue import named_settings
from menura.tasks.episode import Episode, first_shots
from menura.tasks.task import DialogueView, Task

SMALLER_RATE = "learn more slowly: --set inner.lr=1e-4"
HELD_OUT_AT_MOST = 4  # dialogues judged after adapting; more would take longer than the adapting


@dataclass(frozen=True)
class Check:
    """Perplexity per token of dialogues not learnt from, before and after; ``nan`` where there were none."""

    dialogues: int
    before: float
    after: float

    @property
    def worse(self) -> bool:
        """Tell whether adapting made the held-out dialogues less likely."""
        return self.after > self.before


def adapt_persona(
    loaded: LoadedModel, method: Method, task: Task, *, name: str, shots: int, watch: Watch | None = None
) -> tuple[PersonaArtefact, Check]:
    """Learn from the first ``shots`` dialogues of a task, judge by what follows them.

    Raises EpisodeError if there are fewer dialogues than shots, or none in which the persona replies.
    """
    episode = _episode(task, shots)
    encoder = loaded.encoder
    support = encoder.dialogues(episode.support, task.persona.persona_id)
    query = encoder.dialogues(episode.query, task.persona.persona_id)
    if not support:
        raise EpisodeError(f"{task.persona.persona_id!r} never replies in the {shots} dialogues to learn from")
    curve: list[float] = []

    def noting(step: int, steps: int, loss: float) -> None:
        curve.append(loss)
        if watch:
            watch(step, steps, loss)

    weights = method.adapt(loaded.model, support, noting)
    check_finite(weights, f"persona {name!r}", SMALLER_RATE)
    check = _checked(loaded, weights, query)
    recipe = {
        "method": {"name": method_name(method), **asdict(method)},
        "shots": shots,
        "speaker": task.persona.persona_id,
        "support_sha256": [_sha256(part) for part in episode.support],
        "support_loss": curve,
        "held_out": {
            "dialogues": check.dialogues,
            "ppl_before": _finite(check.before),
            "ppl_after": _finite(check.after),
        },
    }
    artefact = PersonaArtefact(
        *(name, weights, loaded.base.sha256, loaded.init_sha256),
        *(named_settings(loaded.config), task.persona.facts, recipe),
    )
    return artefact, check


def _episode(task: Task, shots: int) -> Episode:
    """Take support and query; a persona with just enough dialogues to learn from has no query."""
    if len(task.dialogues) == shots:
        return Episode(task.persona, task.dialogues, ())
    return first_shots(task, shots, queries=HELD_OUT_AT_MOST)


@torch.no_grad()
def _checked(loaded: LoadedModel, weights: PersonaWeights, query: tuple[EncodedDialogue, ...]) -> Check:
    exchanges = tuple(exchange for dialogue in query for exchange in dialogue)
    if not exchanges:
        return Check(0, math.nan, math.nan)
    batch = loaded.model.batch(exchanges)
    before, after = loaded.model.loss(batch), loss_with(loaded.model, weights, batch)
    check_finite({"loss": after.total}, "held-out dialogues", SMALLER_RATE)
    return Check(len(query), *(perplexity_of([float(loss.total)], [1], "pooled") for loss in (before, after)))


def _sha256(part: DialogueView) -> str:
    said: list[Any] = [[turn.speaker, turn.text] for turn in part.dialogue.turns]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
