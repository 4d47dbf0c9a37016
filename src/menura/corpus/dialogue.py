"""What a dialogue is: turns in order, each with its speaker."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Profile = Mapping[str, tuple[str, ...]]  # what is known of a speaker: values by key, such as gender


@dataclass(frozen=True)
class Turn:
    """One utterance with its speaker."""

    speaker: str
    text: str


@dataclass(frozen=True)
class Dialogue:
    """Turns in order; ``facts`` are profile lines by speaker; ``candidates`` are given replies by turn index.

    Turns alternate between speakers: readers join what one speaker says in a row with a newline. ``profiles`` are
    attributes by speaker, keys in lower case, each with one value or more; what is not known is not there.
    ``context_only`` are indices of turns that are read as context and never learnt as replies.
    """

    dialogue_id: str
    turns: tuple[Turn, ...]
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    candidates: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    context_only: frozenset[int] = frozenset()

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers, in order of first appearance."""
        return tuple(dict.fromkeys(turn.speaker for turn in self.turns))


Reader = Callable[[Path], Iterator[Dialogue]]


def joined(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Merge consecutive turns of one speaker into one, texts joined by a newline."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].speaker == turn.speaker:
            merged[-1] = Turn(turn.speaker, f"{merged[-1].text}\n{turn.text}")
        else:
            merged.append(turn)
    return tuple(merged)
