"""Labelled files become a scorer's training, validation and test parts."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from menura.artefacts.corpus_store import files_of
from menura.artefacts.files import sha256_of
from menura.corpus import inputs
from menura.errors import ConfigError, DataError
from menura.scorers.classifier import LabelledText

Read = Callable[[Sequence[Path]], list[LabelledText]]


@dataclass(frozen=True)
class ScorerData:
    """Which labelled examples are read, and which of them are the test part.

    ``corpus`` is the name of one of the workspace, or files, comma-separated. Files whose name contains ``eval_files``
    are the test part; if there is none, a share ``eval_share`` drawn by ``seed`` is.
    """

    corpus: str = ""
    eval_files: str = "valid"
    eval_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a share that leaves nothing in one split."""
        if not 0 < self.eval_share < 1:
            raise ConfigError(f"data.eval_share: {self.eval_share}, must be above 0 and below 1")


@dataclass(frozen=True)
class ScorerSplits:
    """The splits of the examples: training, validation, on which weights are chosen, and test."""

    train: tuple[LabelledText, ...]
    validation: tuple[LabelledText, ...]
    test: tuple[LabelledText, ...]
    files: dict[str, str]  # sha256 by name
    description: str  # where the test split comes from

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels learnt, sorted."""
        return tuple(sorted({example.label for example in self.train}))


def splits_of(data: ScorerData, read: Read, validation_share: float = 0.0) -> ScorerSplits:
    """Read the files of a setting; a share of the training examples becomes the validation split."""
    if not data.corpus:
        raise ConfigError(
            "data.corpus: a scorer learns from labelled examples, none are named",
            hint="--set data.corpus=FILE,FILE or the name of a corpus of the workspace",
        )
    files = files_of(data.corpus)
    judging = [path for path in files if data.eval_files and data.eval_files in path.name]
    learning = [path for path in files if path not in judging]
    if not learning:
        raise DataError(
            f"every file's name holds {data.eval_files!r}: nothing is left to learn from",
            place=data.corpus,
            hint="name the training files too, or set data.eval_files to another word",
        )
    examples, test = read(learning), read(judging) if judging else []
    description = f"{', '.join(path.name for path in judging)}"
    if not judging:
        examples, test = _drawn(examples, data.eval_share, f"{data.seed}:held")
        description = f"{data.eval_share:.0%} of {', '.join(path.name for path in learning)}, drawn by seed {data.seed}"
    train, chosen = _drawn(examples, validation_share, f"{data.seed}:choose") if validation_share else (examples, [])
    _check(train, test, data.corpus)
    return ScorerSplits(
        tuple(train), tuple(chosen), tuple(test), {path.name: sha256_of(path) for path in files}, description
    )


def rarest(splits: ScorerSplits, count: int, least: int) -> tuple[str, ...]:
    """Return the ``count`` labels that are rarest in training and have ``least`` test examples or more."""
    learnt, judged = (
        Counter(example.label for example in part) for part in (splits.train + splits.validation, splits.test)
    )
    enough = [label for label in learnt if judged[label] >= least]
    return tuple(sorted(enough, key=lambda label: (learnt[label], label))[:count])


def last_turns(files: Sequence[Path]) -> list[LabelledText]:
    """Return each dialogue's last turn with its speaker as the label: in MojiTalk the emoji of the reply."""
    dialogues = inputs.read(files)
    return [LabelledText((d.turns[-1].text,), d.turns[-1].speaker) for d in dialogues if d.turns]


def _drawn(examples: Sequence[LabelledText], share: float, seed: str) -> tuple[list[LabelledText], list[LabelledText]]:
    """Return the rest and the drawn examples, both in the given order."""
    taken = set(random.Random(seed).sample(range(len(examples)), round(share * len(examples))))
    rest = [example for place, example in enumerate(examples) if place not in taken]
    return rest, [examples[place] for place in sorted(taken)]


def _check(train: Sequence[LabelledText], test: Sequence[LabelledText], corpus: str) -> None:
    labels = {example.label for example in train}
    if len(labels) < 2 or not test:
        raise DataError(
            f"{len(train)} examples of {len(labels)} labels to learn from, {len(test)} to judge by",
            place=corpus,
            hint="give at least two labels, and some examples of each part",
        )
