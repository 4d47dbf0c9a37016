"""Dialogues are counted by the splits of a published corpus, beside what the publisher counts."""

from collections import Counter
from dataclasses import dataclass

from menura.corpus.dialogue import Dialogue
from menura.corpus.published.records import PublishedCorpus, PublishedSplit

OTHER = PublishedSplit("others", (), ())


@dataclass(frozen=True)
class SplitCount:
    """What was counted of one split, and what is published of it (0: nothing is)."""

    split: str
    counted: int
    published: int
    turns: int
    published_turns: int

    @property
    def differs(self) -> bool:
        """Whether the two numbers are not the same."""
        return bool(self.published) and (self.counted, self.turns * bool(self.published_turns)) != (
            self.published,
            self.published_turns,
        )


class Tally:
    """Counts of a corpus by split, as its files are read."""

    def __init__(self, corpus: PublishedCorpus) -> None:
        self._corpus = corpus
        self._counted: Counter[str] = Counter()
        self._turns: Counter[str] = Counter()

    def add(self, stem: str, dialogue: Dialogue) -> None:
        """SplitCount a dialogue of a file."""
        split = self._split_of(stem, dialogue.dialogue_id).name
        self._counted[split] += 1
        self._turns[split] += len(dialogue.turns)

    def add_pairs(self, stem: str, count: int) -> None:
        """SplitCount pairs of a file."""
        self._counted[self._split_of(stem, stem).name] += count

    def counts(self) -> tuple[SplitCount, ...]:
        """Return the splits of which something was counted, in the order of the catalogue."""
        return tuple(
            SplitCount(
                split.name,
                self._counted[split.name],
                split.dialogues,
                self._turns[split.name],
                split.turns,
            )
            for split in (*self._corpus.splits, OTHER)
            if self._counted[split.name]
        )

    def missing(self) -> tuple[str, ...]:
        """Return the splits of which nothing was counted."""
        return tuple(
            split.name
            for split in self._corpus.splits
            if not split.of_another_version and not self._counted[split.name]
        )

    def _split_of(self, stem: str, dialogue_id: str) -> PublishedSplit:
        for split in self._corpus.splits:
            if any(mark and mark in stem for mark in split.marks):
                return split
        for split in self._corpus.splits:
            if dialogue_id.startswith(split.marks):
                return split
        return OTHER
