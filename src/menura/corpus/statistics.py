"""Dialogues become counts: what a user wants to know before training on them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from menura.corpus.dialogue import Dialogue

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class Statistics:
    """Counts over a corpus; words are what whitespace parts, medians are 0 where there is nothing.

    ``replies`` counts, per speaker, turns that answer something; ``dialogues_per_speaker`` maps a share of the speakers
    (0 to 1) to the number of dialogues below which, or at which, that share lies.
    """

    dialogues: int
    turns: int
    words: int
    speakers: int
    turns_per_dialogue: float
    words_per_turn: float
    replies: Mapping[str, int]
    dialogues_per_speaker: Mapping[float, int]


class Counting:
    """Statistics while dialogues come one by one, none of which is kept."""

    def __init__(self) -> None:
        self._dialogues: Counter[int] = Counter()  # by number of turns
        self._turns: Counter[int] = Counter()  # by number of words
        self._replies: Counter[str] = Counter()  # by speaker, like the next
        self._talks: Counter[str] = Counter()

    def add(self, dialogue: Dialogue) -> None:
        """Count a dialogue; its opening turn answers nothing."""
        self._dialogues[len(dialogue.turns)] += 1
        self._turns.update(len(turn.text.split()) for turn in dialogue.turns)
        self._talks.update(dialogue.speakers)
        self._replies.update(turn.speaker for turn in dialogue.turns[1:])

    def result(self) -> Statistics:
        """Return the counts so far; speakers by replies, most talkative first."""
        return Statistics(
            dialogues=self._dialogues.total(),
            turns=self._turns.total(),
            words=sum(words * count for words, count in self._turns.items()),
            speakers=len(self._talks),
            turns_per_dialogue=_median(self._dialogues),
            words_per_turn=_median(self._turns),
            replies=dict(self._replies.most_common()),
            dialogues_per_speaker=_quantiles(sorted(self._talks.values())),
        )


def statistics(dialogues: Iterable[Dialogue]) -> Statistics:
    """Count everything once."""
    counting = Counting()
    for dialogue in dialogues:
        counting.add(dialogue)
    return counting.result()


def _median(counts: Counter[int]) -> float:
    """Return the middle of values given by how often they occur, 0 where there is none."""
    total, below, lower = counts.total(), 0, None
    for value in sorted(counts):
        below += counts[value]
        if lower is None and 2 * below >= total:
            lower = value
        if 2 * below > total and lower is not None:
            return (lower + value) / 2
    return 0.0


def _quantiles(ordered: Sequence[int]) -> dict[float, int]:
    """Return existing values only: half a dialogue per speaker is no answer."""
    return {share: ordered[round(share * (len(ordered) - 1))] for share in QUANTILES} if ordered else {}
