"""Folders that ``menura eval`` wrote become the contexts that all their systems replied to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from menura.artefacts import saved_samples
from menura.artefacts.saved_samples import LIKELIHOODS, PREDICTIONS
from menura.errors import ConfigError, DataError, Problem, number_of, shown
from menura.metrics.score import Sample

REFERENCE = "the real replies"  # the system that the persons themselves are
EXAMPLES = 6  # real replies of a person, shown where nothing else is known of it

ContextKey = tuple[str, str, tuple[tuple[str, str], ...], str]  # persona, dialogue, turns, the real reply


@dataclass(frozen=True)
class Context:
    """A dialogue up to the reply that is judged, and what is known of the person who replies.

    ``examples`` are real replies of the person in other dialogues.
    """

    persona_id: str
    dialogue_id: str
    speaker: str
    turns: tuple[tuple[str, str], ...]  # (speaker, text)
    facts: tuple[str, ...]
    examples: tuple[str, ...]

    @property
    def has_person(self) -> bool:
        """Whether anything is known of the person."""
        return bool(self.facts or self.examples)


@dataclass(frozen=True)
class Replies:
    """The contexts that all systems replied to, in a fixed order, and each system's replies to them."""

    contexts: tuple[Context, ...]
    by_system: Mapping[str, tuple[str, ...]]
    left_out: int  # contexts that some system did not reply to


def read(folders: Sequence[Path], rows: Sequence[str] = (), *, with_reference: bool = False) -> Replies:
    """Return what all systems of these folders replied to.

    A system is a row of a folder; ``rows`` names those wanted, by label or by kind (empty: all). ``with_reference``
    adds the real replies as a system. Raises ConfigError for rows that no folder has and for folders of one name,
    DataError where a folder has no replies or no contexts, and where the systems share no context.
    """
    _check_names(folders)
    samples = {
        f"{folder.name}: {label}" if len(folders) > 1 else label: own
        for folder in folders
        for label, own in _wanted(_rows(folder), rows).items()
    }
    if not samples:
        raise _unknown_rows(folders, rows)
    systems = {name: {_key(sample): sample for sample in reversed(own)} for name, own in samples.items()}
    keys = _shared(systems)
    real = _real_replies(folders)
    contexts = tuple(_context(next(iter(systems.values()))[key], real) for key in keys)
    replies = {name: tuple(own[key].reply for key in keys) for name, own in systems.items()}
    if with_reference:
        replies[REFERENCE] = tuple(key[3] for key in keys)
    return Replies(contexts, replies, len({key for own in systems.values() for key in own}) - len(keys))


def _check_names(folders: Sequence[Path]) -> None:
    names = [folder.name for folder in folders]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two folders are called {', '.join(twice)}, and a folder's name is its system's",
            hint="rename one of them",
        )


def _rows(folder: Path) -> dict[str, list[Sample]]:
    """Return a folder's samples by row; DataError with all that is missing there."""
    path = folder / PREDICTIONS
    found: dict[str, list[Sample]] = defaultdict(list)
    for label, sample in saved_samples.read(path):
        found[label].append(sample)
    if not found:
        raise DataError("no replies here", place=str(path), hint="menura eval RUN --replies 0 --metrics f1")
    if any(sample.context is None for own in found.values() for sample in own):
        raise DataError(
            "written by an earlier version: the replies have no contexts", place=str(path), hint="evaluate it again"
        )
    return found


def _wanted(found: Mapping[str, list[Sample]], rows: Sequence[str]) -> dict[str, list[Sample]]:
    return {label: own for label, own in found.items() if not rows or {label, label.partition(", K=")[0]} & set(rows)}


def _unknown_rows(folders: Sequence[Path], rows: Sequence[str]) -> ConfigError:
    labels = dict.fromkeys(label for folder in folders for label in _rows(folder))
    return ConfigError(
        f"--row {', '.join(map(shown, rows))}: no such row in these results",
        hint=f"there are {'; '.join(labels)}",
        code="unknown_row",
    )


def _key(sample: Sample) -> ContextKey:
    # The same reply may stand in several draws of the support: the first one is taken.
    return sample.persona_id, sample.dialogue_id, sample.context or (), sample.reference


def _shared(systems: Mapping[str, Mapping[ContextKey, Sample]]) -> list[ContextKey]:
    shared = set.intersection(*(set(own) for own in systems.values()))
    if shared:
        return sorted(shared)
    raise DataError.of(
        [
            Problem(
                "no_shared_items",
                f"{name}: {number_of(len(own), 'reply')} to {number_of(len({key[0] for key in own}), 'persona')}, "
                "and no context that all systems replied to",
                hint="evaluate all on the same data and split, with the same queries and replies",
            )
            for name, own in systems.items()
        ]
    )


def _real_replies(folders: Sequence[Path]) -> dict[str, dict[tuple[str, str], None]]:
    """Return each persona's real replies as (dialogue, reply), in order, without repeats."""
    found: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for folder in folders:
        for name in (LIKELIHOODS, PREDICTIONS):
            for _, sample in saved_samples.read(folder / name) if (folder / name).exists() else ():
                found[sample.persona_id][sample.dialogue_id, sample.reference] = None
    return found


def _context(sample: Sample, real: Mapping[str, Mapping[tuple[str, str], None]]) -> Context:
    others = [reply for dialogue, reply in real[sample.persona_id] if dialogue != sample.dialogue_id]
    examples = tuple(dict.fromkeys(others))[:EXAMPLES]
    turns = sample.context or ()
    return Context(sample.persona_id, sample.dialogue_id, sample.speaker, turns, sample.facts, examples)
