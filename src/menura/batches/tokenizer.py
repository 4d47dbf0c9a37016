"""Text becomes token ids; typed text never becomes a control token."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as HFTokenizer

from menura.corpus.segmentation import UNBLANKED_RUN
from menura.errors import ConfigError

CHAT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END_OF_REPLY = "<eos>"
WORD_TOKENS = ("<unk>", "<pad>", END_OF_REPLY, "<sos>")  # ids 0 to 3
PIECE_TOKENS = ("<pad>", "<unk>", "<bos>", END_OF_REPLY, "<sep>", "<mask>")  # ids 0 to 5
TAKEN_APART = re.compile(r"(?<=\w) (['’-]) (?=\w)")  # "don ' t", "well - known"
MARK = re.compile(r"\[(unused\d+|PAD|UNK|CLS|SEP|MASK)\]")  # in BERT's vocabulary
# Clitics are split, as in word vectors: "don't" is "do" and "n't", "i'm" is "i" and "'m".
WORD = r"n't\b|'\w+|\w+?(?=n't\b)|\w+|[^\w\s]"


class Tokenizer:
    """A tokenizer: text to ids, ids to text, ids of control tokens.

    Content is encoded with special tokens switched off, so that a user who types ``<|im_end|>`` gets the letters.
    """

    def __init__(self, tokenizer: HFTokenizer, *, wordpiece: bool = False) -> None:
        self._wordpiece = wordpiece
        self._tokenizer = HFTokenizer.from_str(tokenizer.to_str())  # own copy: the switches below are per object
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        added = sorted(
            (token.content for token in tokenizer.get_added_tokens_decoder().values()), key=len, reverse=True
        )
        self._control = re.compile("|".join(map(re.escape, added)) or r"(?!)")

    @classmethod
    def from_json(cls, text: str, *, wordpiece: bool = False) -> "Tokenizer":
        """Read what ``to_json`` wrote."""
        return cls(HFTokenizer.from_str(text), wordpiece=wordpiece)

    @classmethod
    def from_file(cls, path: Path, *, wordpiece: bool = False) -> "Tokenizer":
        """Read a ``tokenizer.json``; decoding of word pieces joins the words that BERT splits."""
        return cls(HFTokenizer.from_file(str(path)), wordpiece=wordpiece)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of plain text; never a control token."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_with_control(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text whose control tokens count as such: never of what somebody typed."""
        return tuple(self._with_control.encode(text, add_special_tokens=False).ids)

    def has_control(self, text: str) -> bool:
        """Tell whether the name of a control token occurs in a text."""
        return self._control.search(text) is not None

    @cached_property
    def _with_control(self) -> HFTokenizer:
        return HFTokenizer.from_str(self._tokenizer.to_str())  # another object: the switch is per object

    @property
    def bos(self) -> tuple[int, ...]:
        """What the tokenizer itself puts in front of a text: its BOS token, or nothing."""
        with_special, without = (self._tokenizer.encode("a", add_special_tokens=put).ids for put in (True, False))
        return tuple(with_special[: len(with_special) - len(without)] if with_special[-1:] == without[-1:] else ())

    def spelled(self, ids: Sequence[int]) -> str:
        """Return the text of ids, control tokens by their names."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without control tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return TAKEN_APART.sub(r"\1", text) if self._wordpiece else text

    def control(self, name: str) -> int:
        """Return the id of a control token; ConfigError if there is none of that name."""
        found = self._tokenizer.token_to_id(name)
        if found is None:
            raise ConfigError(
                f"the base's vocabulary has no token {name!r}",
                hint="choose another layout with --set model.chat_format=plain (or special, which adds its own tokens)",
            )
        return found

    def stands_at(self, name: str, row: int) -> bool:
        """Tell whether a token of this name has this id."""
        return self._tokenizer.token_to_id(name) == row

    def has(self, name: str) -> bool:
        """Tell whether the vocabulary holds this token."""
        return self._tokenizer.token_to_id(name) is not None

    def rows(self) -> dict[str, int]:
        """Return the id of each token."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    def never_said(self) -> set[int]:
        """Return the ids without text: control tokens, and BERT's unused rows and special tokens."""
        named = self._tokenizer.get_vocab(with_added_tokens=True).items()
        control = {id for id, token in self._tokenizer.get_added_tokens_decoder().items() if token.special}
        return control | {id for name, id in named if MARK.fullmatch(name)}

    def adding(self, names: Sequence[str]) -> "Tokenizer":
        """Return a copy with more control tokens; they take the next free ids."""
        grown = HFTokenizer.from_str(self._tokenizer.to_str())
        grown.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
        return Tokenizer(grown, wordpiece=self._wordpiece)

    @property
    def unknown(self) -> int | None:
        """The id of unknown text; None if everything can be spelt."""
        unknown: int | None = self._tokenizer.token_to_id(PIECE_TOKENS[1])
        return unknown

    def to_json(self) -> str:
        """Return the whole vocabulary as ``tokenizer.json`` text."""
        return self._tokenizer.to_str()

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)


def byte_tokenizer(control: Sequence[str] = CHAT_TOKENS) -> Tokenizer:
    """Return a vocabulary of the 256 bytes and some control tokens, for bases built from code."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = HFTokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in control])
    return Tokenizer(tokenizer)


def word_tokenizer(words: Iterable[str]) -> Tokenizer:
    """Return a vocabulary of words after ``WORD_TOKENS``; text is lower-cased, other words are unknown."""
    vocabulary = {name: number for number, name in enumerate(WORD_TOKENS)}
    for word in words:
        vocabulary.setdefault(word, len(vocabulary))
    tokenizer = HFTokenizer(models.WordLevel(vocabulary, unk_token=WORD_TOKENS[0]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in WORD_TOKENS])
    return Tokenizer(tokenizer)


Pieces = Literal["char", "wordpiece", "bpe"]


def subword_tokenizer(
    kind: Pieces, texts: Iterable[str], *, max_size: int, min_count: int = 1, control: Sequence[str] = ()
) -> Tokenizer:
    """Return a vocabulary learnt from texts, after ``PIECE_TOKENS`` and further control tokens.

    It has the characters that occur ``min_count`` times, or ``max_size`` word pieces or byte pairs. No byte pair joins
    two scripts of Japanese or Chinese: words mostly end there.
    """
    names = [*PIECE_TOKENS, *control]
    if kind == "char":
        return _character_tokenizer(texts, names, max_size, min_count)
    if kind == "wordpiece":
        tokenizer = HFTokenizer(models.WordPiece(unk_token=PIECE_TOKENS[1]))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer: trainers.Trainer = trainers.WordPieceTrainer(
            vocab_size=max_size, min_frequency=min_count, special_tokens=names, show_progress=False
        )
    else:
        tokenizer = HFTokenizer(models.BPE())
        runs = pre_tokenizers.Split(Regex(UNBLANKED_RUN), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([runs, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=max_size,
            min_frequency=min_count,
            special_tokens=names,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    tokenizer.train_from_iterator(texts, trainer)
    return Tokenizer(tokenizer, wordpiece=kind == "wordpiece")


def _character_tokenizer(texts: Iterable[str], names: Sequence[str], max_size: int, min_count: int) -> Tokenizer:
    said = Counter(character for text in texts for character in text)
    vocabulary = {name: number for number, name in enumerate(names)}
    for character, times in said.most_common(max(max_size - len(names), 0)):
        if times >= min_count:
            vocabulary.setdefault(character, len(vocabulary))
    tokenizer = HFTokenizer(models.WordLevel(vocabulary, unk_token=PIECE_TOKENS[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return Tokenizer(tokenizer)


def words_of(texts: Iterable[str], *, min_count: int = 1) -> list[str]:
    """Return the words that occur ``min_count`` times in texts, each once, in order of first appearance."""
    split = word_tokenizer(())._tokenizer
    said = Counter(word for text in texts for word, _ in _pieces(split, text))
    return [word for word, times in said.items() if times >= min_count]


def _pieces(tokenizer: HFTokenizer, text: str) -> list[tuple[str, tuple[int, int]]]:
    return list(tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text)))
