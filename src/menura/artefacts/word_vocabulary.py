"""The vocabulary of a model over words: words and persona ids of its training split, saved with the run."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from menura.artefacts.files import read_json, write_json
from menura.batches.tokenizer import Tokenizer, word_tokenizer, words_of
from menura.errors import DataError
from menura.tasks.task import Task

FILE = "vocabulary.json"
EARLIER_FILE = "lexicon.json"  # the name in earlier versions


@dataclass(frozen=True)
class WordVocabulary:
    """``words`` in the order of their ids after the control tokens; ``persona_ids`` by their user embedding's row."""

    words: tuple[str, ...]
    persona_ids: tuple[str, ...]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary as a tokenizer."""
        return word_tokenizer(self.words)

    @property
    def sha256(self) -> str:
        """The hash that personas are bound to."""
        return hashlib.sha256(json.dumps([self.words, self.persona_ids], ensure_ascii=False).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write it atomically."""
        write_json(folder / FILE, {"words": list(self.words), "people": list(self.persona_ids)})


def file_in(folder: Path) -> Path:
    """Return the path of a run's vocabulary, existing or not."""
    earlier = folder / EARLIER_FILE
    return earlier if earlier.exists() and not (folder / FILE).exists() else folder / FILE


def read(folder: Path) -> WordVocabulary:
    """Read the vocabulary of a run; DataError if it is missing or damaged."""
    path = file_in(folder)
    if not path.exists():
        raise DataError(
            "no words: this is not the run of a model over words", place=str(path), hint="name the folder of such a run"
        )
    found = read_json(path)
    try:
        return WordVocabulary(tuple(found["words"]), tuple(found["people"]))
    except (KeyError, TypeError) as error:
        raise DataError("damaged: not a list of words and people", place=str(path), code="damaged") from error


def of_tasks(tasks: Sequence[Task], *, min_count: int = 1) -> WordVocabulary:
    """Return the words that occur ``min_count`` times in training tasks, and the persona ids."""
    persona_ids = sorted(task.persona_id for task in tasks)
    return WordVocabulary(tuple(words_of(_texts(tasks), min_count=min_count)), tuple(persona_ids))


def _texts(tasks: Sequence[Task]) -> Iterator[str]:
    for task in tasks:
        for part in task.dialogues:
            for facts in part.dialogue.facts.values():
                yield from facts
            yield from (turn.text for turn in part.dialogue.turns)
