import pytest

from menura.batches.tokenizer import PIECE_TOKENS, Pieces, Tokenizer, subword_tokenizer
from menura.corpus.segmentation import pieces
from menura.models.attention_routing.model import MASK

TEXTS = ["the old clock ticks", "the clock stops", "時計が止まる", "tick tock, said the clock"]
every_kind = pytest.mark.parametrize("kind", ["char", "wordpiece", "bpe"])


def made(kind: Pieces, *, most: int = 400, least: int = 1) -> Tokenizer:
    return subword_tokenizer(kind, TEXTS, max_size=most, min_count=least, control=["<pet>"])


@every_kind
def test_control_tokens_stand_first_and_are_never_typed(kind: Pieces) -> None:
    tokenizer = made(kind)
    assert [tokenizer.control(name) for name in (*PIECE_TOKENS, "<pet>")] == list(range(7))
    assert tokenizer.control("<mask>") == MASK
    assert tokenizer.never_said() == set(range(7))
    typed = tokenizer.encode("the <mask> <pet> <eos> clock")
    assert not set(typed) & (tokenizer.never_said() - {1})


@every_kind
def test_text_comes_back(kind: Pieces) -> None:
    tokenizer = made(kind)
    assert [tokenizer.decode(tokenizer.encode(text)) for text in TEXTS[:2]] == TEXTS[:2]
    again = Tokenizer.from_json(tokenizer.to_json(), wordpiece=kind == "wordpiece")
    assert again.encode(TEXTS[3]) == tokenizer.encode(TEXTS[3])
    assert len(again) == len(tokenizer)


def test_characters_are_one_token_each_blanks_and_line_breaks_too() -> None:
    tokenizer = subword_tokenizer("char", ["a b\nc時"], max_size=100)
    assert len(tokenizer.encode("a b\nc時")) == 6
    assert tokenizer.decode(tokenizer.encode("c時\na b")) == "c時\na b"


def test_the_commonest_characters_are_kept_and_others_are_unknown() -> None:
    tokenizer = subword_tokenizer("char", ["aaab", "abcc", "d"], max_size=8, min_count=1)
    assert len(tokenizer) == 8
    assert tokenizer.encode("abd") == (6, 7, 1)
    assert tokenizer.decode(tokenizer.encode("adb")) == "ab"
    rare = subword_tokenizer("char", ["aab"], max_size=100, min_count=2)
    assert rare.encode("ab") == (6, 1)
    assert subword_tokenizer("char", ["abc"], max_size=3).encode("abc") == (1, 1, 1)


def test_word_pieces_know_the_beginning_of_a_word_and_bytes_know_all() -> None:
    words = made("wordpiece")
    assert words.unknown in words.encode("the 猫")
    assert words.decode(words.encode("The CLOCK")) == "the clock"
    pairs = made("bpe")
    assert 1 not in pairs.encode("猫 ✿")
    assert pairs.decode(pairs.encode("猫 ✿")) == "猫 ✿"


def test_no_byte_pair_reaches_from_one_script_into_another() -> None:
    said = ["茶が好きです。", "お茶ですか", "紅茶とケーキが好き"] * 20
    pairs = subword_tokenizer("bpe", said, max_size=400)
    words = [pairs.decode([token]) for token in pairs.encode("茶が好きですか、ケーキと")]
    assert "ケーキ" in words
    runs = [pieces(word) for word in words]
    assert all(len(run) == 1 for run in runs), words
