"""One person's dialogues become one persona, with the check that says whether it helped."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import torch

from menura.adaptation.inner_loop import StepCallback, mini_batches
from menura.adaptation.protocol import Adaptation
from menura.adaptation.weights import PersonaWeights, check_finite
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.batches.batch import Batch
from menura.batches.encode import EncodedDialogue
from menura.errors import EpisodeError, number_of
from menura.models.catalogue import named_settings
from menura.personas.held_out import Check, checked
from menura.personas.selection import Selection, dialogue_sha256
from menura.tasks.task import DialogueView

SMALLER_RATE = "learn more slowly: --set inner.lr=1e-4"
EXCHANGES_AT_MOST = 32  # of a dialogue that are learnt from
TOKENS_AT_MOST = 1024  # of replies of a dialogue that are learnt from
TURNS_BEFORE = 1024  # of the first of these exchanges; a model reads no more tokens than that
STEP_FORWARDS = 4  # what a gradient step costs in forward passes: one forward, two backward, one for soft targets


def bounded(support: Sequence[EncodedDialogue]) -> tuple[EncodedDialogue, ...]:
    """Return dialogues with their last exchanges alone: at most 32, and at most 1,024 tokens of replies.

    One exchange of each stays, however long it is.
    """
    kept = []
    for dialogue in support:
        tokens, first = 0, len(dialogue)
        while first and len(dialogue) - first < EXCHANGES_AT_MOST:
            tokens += len(dialogue[first - 1].reply)
            if tokens > TOKENS_AT_MOST and first < len(dialogue):
                break
            first -= 1
        kept.append(dialogue[first:])
    return tuple(kept)


def encoded(loaded: LoadedModel, views: Sequence[DialogueView], speaker: str) -> tuple[EncodedDialogue, ...]:
    """Return dialogues as ids, each with its last exchanges alone, so that a long one takes no longer than others."""
    return bounded(loaded.encoder.dialogues([shortened(view) for view in views], speaker))


def shortened(view: DialogueView) -> DialogueView:
    """Return a view of the end of a dialogue: the last exchanges, and the turns before them that a model may read."""
    dialogue = view.dialogue
    replies = [
        index
        for index, turn in enumerate(dialogue.turns)
        if index and turn.speaker == view.speaker and index not in dialogue.context_only
    ]
    start = max(0, replies[-EXCHANGES_AT_MOST] - TURNS_BEFORE) if len(replies) > EXCHANGES_AT_MOST else 0
    if not start:
        return view
    end = replace(
        dialogue,
        turns=dialogue.turns[start:],
        candidates={index - start: given for index, given in dialogue.candidates.items() if index >= start},
        context_only=frozenset(index - start for index in dialogue.context_only if index >= start),
    )
    return replace(view, dialogue=end)


@torch.no_grad()
def seconds_foretold(loaded: LoadedModel, method: Adaptation, support: Sequence[EncodedDialogue]) -> float:
    """Return about how long adapting takes, from one forward pass over the first mini-batch."""
    inner = getattr(method, "inner", None)
    if inner is None or not inner.epochs:
        return 0.0
    batches = mini_batches(loaded.model, support, inner.batch_size)
    loaded.model.loss(loaded.model.batch(support[0][:1]))  # the first pass of all takes longer
    took = min(_seconds_of(loaded, batches[0]) for _ in range(2))
    tokens = [batch.prefix.ids.numel() + batch.reply.ids.numel() for batch in batches]
    return float(took / tokens[0] * sum(tokens) * inner.epochs * STEP_FORWARDS)


def _seconds_of(loaded: LoadedModel, batch: Batch) -> float:
    began = time.perf_counter()
    loaded.model.loss(batch)
    return time.perf_counter() - began


def adapt_persona(
    loaded: LoadedModel,
    method: Adaptation,
    selection: Selection,
    *,
    name: str,
    support: Sequence[EncodedDialogue] | None = None,
    on_step: StepCallback | None = None,
) -> PersonaArtefact:
    """Adapt on the dialogues selected to learn from.

    ``support`` are these as ids, where they are encoded already. A selection without dialogues makes a persona of facts
    alone. Raises EpisodeError where the persona replies in none of the dialogues.
    """
    encoder, speaker = loaded.encoder, selection.speaker
    support = encoder.dialogues(selection.support, speaker) if support is None else support
    if not support and (selection.support or not selection.facts):
        raise EpisodeError(
            f"{speaker!r} never replies in the {number_of(len(selection.support), 'dialogue')} to learn from"
        )
    curve = LossCurve(on_step)
    weights = method.adapt(loaded.model, support, curve) if support else {}
    return artefact_of(loaded, method, selection, Learnt(name, weights, sum(map(len, support)), tuple(curve.losses)))


@dataclass(frozen=True)
class Learnt:
    """What learning gave: a persona's name and weights, from how many replies, and the loss at each step."""

    name: str
    weights: PersonaWeights
    replies: int
    losses: tuple[float, ...]


@dataclass
class LossCurve:
    """Notes the loss of each step (nats per token), and calls another callback."""

    on_step: StepCallback | None = None
    losses: list[float] = field(default_factory=list)

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Note the loss of a step."""
        self.losses.append(loss)
        if self.on_step:
            self.on_step(step, steps, loss)


def artefact_of(loaded: LoadedModel, method: Adaptation, selection: Selection, learnt: Learnt) -> PersonaArtefact:
    """Return what was learnt as a persona with its record; NumericalError for weights that are not finite."""
    check_finite(learnt.weights, f"persona {learnt.name!r}", SMALLER_RATE)
    recipe = {
        "method": {"name": method.name, **asdict(method)},
        "shots": len(selection.support),
        "replies": learnt.replies,
        "pick": selection.pick,
        "speaker": selection.speaker,
        "support_sha256": [dialogue_sha256(part) for part in selection.support],
        "support_loss": list(learnt.losses),
    }
    if loaded.encoder.profile and selection.profile:  # lists, as JSON reads them
        recipe["profile"] = {key: list(values) for key, values in selection.profile.items()}
    return PersonaArtefact(
        *(learnt.name, learnt.weights, loaded.base.sha256, loaded.init_sha256),
        *(named_settings(loaded.config), selection.facts, recipe),
        chat_format_sha256=loaded.encoder.chat_format.sha256,
    )


def check_persona(
    loaded: LoadedModel, artefact: PersonaArtefact, selection: Selection, stranger: PersonaWeights | None = None
) -> tuple[PersonaArtefact, Check]:
    """Return a persona with its check on the dialogues held out in its record; ``stranger`` is somebody else's.

    A persona that remembers is checked with what it recalls.
    """
    held_out = encoded(loaded, selection.held_out, selection.speaker)
    check = checked(loaded, artefact.weights, held_out, stranger, artefact.memory)
    return replace(artefact, recipe={**artefact.recipe, "held_out": check.record()}), check
