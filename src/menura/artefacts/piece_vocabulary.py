"""The word pieces of a base that occur in a training split, saved with the run."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from menura.artefacts.files import read_json, write_json
from menura.artefacts.pretrained import BERT_TOKENS, Pretrained
from menura.artefacts.word_vocabulary import FILE
from menura.batches.subword_mapping import cut_to_occurring, rows_in
from menura.batches.tokenizer import Tokenizer
from menura.errors import DataError
from menura.models.layers.transformer import Sizes
from menura.tasks.task import Task

BY_TOKEN = ("embeddings.token.weight", "words.bias")  # weights with a row for each token


@dataclass(frozen=True)
class PieceVocabulary:
    """A base's vocabulary, cut; ``vocabulary`` is its tokenizer as JSON text."""

    vocabulary: str

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary as a tokenizer."""
        return Tokenizer.from_json(self.vocabulary, wordpiece=True)

    @property
    def sha256(self) -> str:
        """The hash that personas are bound to; the same before writing and after reading."""
        return hashlib.sha256(json.dumps(json.loads(self.vocabulary), ensure_ascii=False).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write it into a run's folder, atomically."""
        write_json(folder / FILE, {"pieces": json.loads(self.vocabulary)})


def read(folder: Path) -> PieceVocabulary:
    """Read the vocabulary of a run; DataError if it is missing or damaged."""
    path = folder / FILE
    if not path.exists():
        hint = "name the folder of such a run, or --set model.pieces=base"
        raise DataError("no pieces: this run has its base's whole vocabulary", place=str(path), hint=hint)
    content = read_json(path)
    if not isinstance(content, dict) or "pieces" not in content:
        raise DataError("damaged: not a vocabulary of pieces", place=str(path), code="damaged")
    return PieceVocabulary(json.dumps(content["pieces"], ensure_ascii=False))


def of_tasks(tasks: Sequence[Task], theirs: Tokenizer, *, max_size: int = 0, min_count: int = 1) -> PieceVocabulary:
    """Return the pieces of a base (``theirs``) that occur in training tasks; raises as ``cut_to_occurring``."""
    control = [name for name in (*BERT_TOKENS, "[CLS]", "[SEP]") if theirs.has(name)]
    cut = cut_to_occurring(theirs, _texts(tasks), control=control, max_size=max_size, min_count=min_count)
    return PieceVocabulary(cut.to_json())


def cut_pretrained(whole: Pretrained, vocabulary: PieceVocabulary) -> Pretrained:
    """Return a base with the rows of the pieces that stay, in the order of their new ids."""
    ours = vocabulary.tokenizer
    rows = rows_in(whole.tokenizer, ours)
    weights = {name: value[rows] if name in BY_TOKEN else value for name, value in whole.weights.items()}
    sizes = Sizes(**{**vars(whole.sizes), "vocab_size": len(ours)})
    mask = None if whole.mask is None else rows.index(whole.mask)
    return Pretrained(whole.base, sizes, ours, whole.opens, whole.ends, weights, whole.pre_norm, mask)


def _texts(tasks: Sequence[Task]) -> Iterator[str]:
    """Yield each different text of the tasks once: turns, and facts of the speakers."""
    seen: set[str] = set()
    for task in tasks:
        for part in task.dialogues:
            facts = (fact for own in part.dialogue.facts.values() for fact in own)
            for text in (*facts, *(turn.text for turn in part.dialogue.turns)):
                if text not in seen:
                    seen.add(text)
                    yield text
