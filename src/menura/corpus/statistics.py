"""Dialogues become counts: what a user wants to know before training on them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

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


def statistics(dialogues: Iterable[Dialogue]) -> Statistics:
    """Count everything once."""
    dialogues = list(dialogues)
    turns = [turn for dialogue in dialogues for turn in dialogue.turns]
    lengths = [len(turn.text.split()) for turn in turns]
    talks = Counter(speaker for dialogue in dialogues for speaker in dialogue.speakers)
    return Statistics(
        dialogues=len(dialogues),
        turns=len(turns),
        words=sum(lengths),
        speakers=len(talks),
        turns_per_dialogue=float(median([len(dialogue.turns) for dialogue in dialogues] or [0])),
        words_per_turn=float(median(lengths or [0])),
        replies=_replies(dialogues),
        dialogues_per_speaker=_quantiles(sorted(talks.values())),
    )


def _replies(dialogues: Sequence[Dialogue]) -> dict[str, int]:
    """Count replies per speaker, most talkative first; an opening turn answers nothing."""
    counts = Counter(turn.speaker for dialogue in dialogues for turn in dialogue.turns[1:])
    return dict(counts.most_common())


def _quantiles(ordered: Sequence[int]) -> dict[float, int]:
    """Return existing values only: half a dialogue per speaker is no answer."""
    return {share: ordered[round(share * (len(ordered) - 1))] for share in QUANTILES} if ordered else {}
