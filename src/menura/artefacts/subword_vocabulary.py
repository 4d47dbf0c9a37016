"""The vocabulary of a model over subwords and profiles, learnt from its training split and saved with the run."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from menura.artefacts.bert_init import load_bert
from menura.artefacts.files import read_json, write_json
from menura.artefacts.word_vocabulary import FILE, file_in
from menura.batches.speaker_profile import ProfileTokens, common_pieces, word_numbers, words_of_profiles
from menura.batches.subword_mapping import subset_of_pieces
from menura.batches.tokenizer import PIECE_TOKENS, Pieces, Tokenizer, subword_tokenizer
from menura.corpus.dialogue import Profile
from menura.errors import ConfigError, DataError
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.tasks.task import Task

COMMON = 0.1  # a piece in a larger share of profiles identifies nobody
FIRST = 2  # the first word id of the profile vocabulary, after padding and unknown
MOST = 30_000  # pieces learnt by default


@dataclass(frozen=True)
class SubwordVocabulary:
    """The subwords of the dialogues, and what is read of profiles: (key, values) pairs, such as job: baker.

    ``pieces``: the kind of subwords (char, wordpiece or bpe).
    ``vocabulary``: their tokenizer, as JSON text.
    ``keys``: the keys of profiles that are read, in the order of their ids.
    ``words``: the words of profiles' values, in the order of their ids in a vocabulary of profiles alone.
    ``common``: the pieces that so many profiles have that they identify nobody.
    ``chosen``: the keys were set by the user, not collected from the data.
    """

    pieces: Pieces
    vocabulary: str
    keys: tuple[str, ...]
    words: tuple[str, ...]
    common: tuple[str, ...]
    chosen: bool = False

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary of the dialogues as a tokenizer."""
        return Tokenizer.from_json(self.vocabulary, wordpiece=self.pieces == "wordpiece")

    @property
    def profile_words(self) -> int:
        """The size of the profile vocabulary."""
        return FIRST + len(self.keys) + len(self.words)

    def profile_tokens(self, *, by_words: bool) -> ProfileTokens:
        """Return how profiles become ids.

        ``by_words``: as whole words, in a vocabulary of their own; else as subwords, in that of the dialogues.
        """
        common = frozenset(self.common)
        if by_words:
            keys = {key: number for number, key in enumerate(self.keys, start=FIRST)}
            return ProfileTokens(keys, word_numbers(self.words, FIRST + len(keys)), common, self.chosen)
        return ProfileTokens(
            {k: self.tokenizer.control(mark(k)) for k in self.keys}, self.tokenizer.encode, common, self.chosen
        )

    @property
    def sha256(self) -> str:
        """The hash that personas are bound to; the same before writing and after reading."""
        return hashlib.sha256(json.dumps(self._written(), ensure_ascii=False).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write it atomically."""
        write_json(folder / FILE, self._written())

    def _written(self) -> dict[str, Any]:
        return {**asdict(self), "vocabulary": json.loads(self.vocabulary)}


def mark(key: str) -> str:
    """Return the control token of a key in the vocabulary of the dialogues."""
    name = f"<{key}>"
    return f"<{name}>" if name in PIECE_TOKENS else name  # a key may have the name of a control token


def read(folder: Path) -> SubwordVocabulary:
    """Read the vocabulary of a run; DataError if it is missing or damaged."""
    path = file_in(folder)
    if not path.exists():
        hint = "name the folder of such a run"
        raise DataError("no pieces: this is not the run of a model with profiles", place=str(path), hint=hint)
    found = read_json(path)
    try:
        lists = {name: tuple(found[name]) for name in ("keys", "words", "common")}
        vocabulary = json.dumps(found["vocabulary"], ensure_ascii=False)
        return SubwordVocabulary(found["pieces"], vocabulary, **lists, chosen=found["chosen"])
    except (KeyError, TypeError) as error:
        raise DataError("damaged: not pieces, keys and words", place=str(path), code="damaged") from error


def of_tasks(tasks: Sequence[Task], config: AttentionRoutingConfig) -> SubwordVocabulary:
    """Return the vocabulary of training tasks and their profiles; ConfigError that lists attributes that nobody has."""
    profiles = list(_profiles(tasks))
    found = tuple(dict.fromkeys(key for profile in profiles for key in profile))
    keys = tuple(key.strip() for key in config.attributes.split(",") if key.strip()) or found
    there = ", ".join(found) or "none"
    missing = [
        ConfigError(f"model.attributes: nobody has {key!r}", hint=f"there are {there}")
        for key in keys
        if key not in found
    ]
    if missing:
        raise ConfigError.of([problem for error in missing for problem in error.problems])
    read_ones = [{key: profile[key] for key in keys if key in profile} for profile in profiles]
    tokenizer = _tokenizer(config, _texts(tasks, keys), [mark(key) for key in keys])
    words = words_of_profiles(read_ones)
    room = config.profile_vocab_size - FIRST - len(keys) if config.profile_vocab_size else len(words)
    common = tuple(sorted(common_pieces(read_ones, COMMON)))
    return SubwordVocabulary(
        config.pieces, tokenizer.to_json(), keys, tuple(words[: max(room, 0)]), common, bool(config.attributes)
    )


def _tokenizer(config: AttentionRoutingConfig, texts: Iterator[str], control: Sequence[str]) -> Tokenizer:
    most, least = config.vocab_size or MOST, config.min_count
    if not config.pieces_of:
        return subword_tokenizer(config.pieces, texts, max_size=most, min_count=least, control=control)
    theirs = load_bert(config.pieces_of, weights=False).tokenizer
    return subset_of_pieces(theirs, texts, max_size=most, min_count=least, control=control)


def _profiles(tasks: Sequence[Task]) -> Iterator[Profile]:
    """Yield each different profile of a speaker once."""
    seen: set[tuple[tuple[str, tuple[str, ...]], ...]] = set()
    for task in tasks:
        for part in task.dialogues:
            for profile in part.dialogue.profiles.values():
                held = tuple(profile.items())
                if held not in seen:
                    seen.add(held)
                    yield profile


def _texts(tasks: Sequence[Task], keys: Sequence[str]) -> Iterator[str]:
    for profile in _profiles(tasks):
        yield from (value for key in keys for value in profile.get(key, ()))
    for task in tasks:
        for part in task.dialogues:
            yield from (turn.text for turn in part.dialogue.turns)
