"""One person's dialogues become one persona, with the check that says whether it helped."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from menura.adaptation.inner_loop import Watch
from menura.adaptation.protocol import Adaptation
from menura.adaptation.weights import PersonaWeights, check_finite, loss_with
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.batches.encode import EncodedDialogue
from menura.corpus.dialogue import Dialogue
from menura.errors import ConfigError, EpisodeError
from menura.models.catalogue import named_settings
from menura.personas.profiles import profile_of
from menura.tasks.group import by_speaker
from menura.tasks.task import DialogueView, Task

SMALLER_RATE = "learn more slowly: --set inner.lr=1e-4"
HELD_OUT_AT_MOST = 4  # dialogues evaluated after adapting; more would take longer than adapting


@dataclass(frozen=True)
class Check:
    """Perplexity per token of held-out dialogues, before and after adapting; ``nan`` without any."""

    dialogues: int
    before: float
    after: float


def verdict(check: Check | None, seconds: float) -> str:
    """Return the check as text, with a warning if adapting did harm."""
    if check is None or not check.dialogues:
        return f"check  no dialogue was held out, so whether it helped is not known ({seconds:.1f} s)"
    change = (
        f"check  {check.dialogues} held-out dialogues: PPL {check.before:.1f} -> {check.after:.1f} ({seconds:.1f} s)"
    )
    if check.after > check.before:
        hint = "hint: more dialogues, or a smaller --set inner.lr=3e-4"
        return f"{change}\nwarn[worse_than_base]: adapting made the held-out dialogues less likely ({hint})"
    return change


def adapt_persona(
    loaded: LoadedModel, method: Adaptation, task: Task, *, name: str, shots: int, watch: Watch | None = None
) -> tuple[PersonaArtefact, Check]:
    """Adapt on the first ``shots`` dialogues of a task, and check on those that follow.

    Raises EpisodeError if there are fewer dialogues than shots, or none in which the persona replies.
    """
    if len(task.dialogues) < shots:
        raise EpisodeError(f"{task.persona_id!r} has {len(task.dialogues)} dialogues, too few for {shots} shots")
    views, held_out = task.dialogues[:shots], task.dialogues[shots : shots + HELD_OUT_AT_MOST]
    encoder = loaded.encoder
    support = encoder.dialogues(views, task.persona_id)
    query = encoder.dialogues(held_out, task.persona_id)
    if not support:
        raise EpisodeError(f"{task.persona_id!r} never replies in the {shots} dialogues to learn from")
    curve: list[float] = []

    def noting(step: int, steps: int, loss: float) -> None:
        curve.append(loss)
        if watch:
            watch(step, steps, loss)

    weights = method.adapt(loaded.model, support, noting)
    check_finite(weights, f"persona {name!r}", SMALLER_RATE)
    check = _checked(loaded, weights, query)
    recipe = {
        "method": {"name": method.name, **asdict(method)},
        "shots": shots,
        "speaker": task.persona_id,
        "support_sha256": [_sha256(part) for part in views],
        "support_loss": curve,
        "held_out": {
            "dialogues": check.dialogues,
            "ppl_before": _finite(check.before),
            "ppl_after": _finite(check.after),
        },
    }
    profile = profile_of(task) if encoder.profile else {}
    if profile:  # lists, as JSON reads them
        recipe["profile"] = {key: list(values) for key, values in profile.items()}
    artefact = PersonaArtefact(
        *(name, weights, loaded.base.sha256, loaded.init_sha256),
        *(named_settings(loaded.config), task.facts, recipe),
    )
    return artefact, check


@torch.no_grad()
def _checked(loaded: LoadedModel, weights: PersonaWeights, query: tuple[EncodedDialogue, ...]) -> Check:
    exchanges = tuple(exchange for dialogue in query for exchange in dialogue)
    if not exchanges:
        return Check(0, math.nan, math.nan)
    batch = loaded.model.batch(exchanges)
    before, after = loaded.model.loss(batch), loss_with(loaded.model, weights, batch)
    check_finite({"loss": after.total}, "held-out dialogues", SMALLER_RATE)
    return Check(len(query), *(float(loss.total.double().exp()) for loss in (before, after)))


def _sha256(part: DialogueView) -> str:
    said: list[Any] = [[turn.speaker, turn.text] for turn in part.dialogue.turns]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def task_of(dialogues: Sequence[Dialogue], speaker: str | None) -> Task:
    """Return one speaker's task; ConfigError naming all speakers where it is not clear who is meant."""
    tasks = {task.persona_id: task for task in by_speaker(dialogues)}
    if speaker is None and len(tasks) == 1:
        return next(iter(tasks.values()))
    if speaker in tasks:
        return tasks[speaker]
    most = sorted(tasks, key=lambda name: -len(tasks[name].dialogues))[:10]
    said = f"unknown speaker {speaker!r}" if speaker else "whose persona? several people speak"
    raise ConfigError(said, hint=f"--speaker with one of: {', '.join(most)}", code="unknown_speaker")


def check_shots(task: Task, shots: int) -> None:
    """Raise EpisodeError if a task has fewer dialogues than shots."""
    if shots < 1:
        raise ConfigError(f"-k {shots}: at least 1 dialogue is needed to learn from")
    if len(task.dialogues) < shots:
        raise EpisodeError(
            f"{task.persona_id!r} speaks in {len(task.dialogues)} dialogues, too few for {shots} shots",
            hint=f"use -k {len(task.dialogues)}, or give more dialogues",
        )
