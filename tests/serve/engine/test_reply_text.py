"""Text comes piece by piece: whole characters, no part of a stop string, and in the end the whole reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menura.batches.tokenizer import CHAT_TOKENS, byte_tokenizer
from menura.serve.engine.reply_text import ReplyText

TOKENIZER = byte_tokenizer(CHAT_TOKENS)


def pieces(text: str, stop: tuple[str, ...] = (), *, strip: bool = True) -> list[str]:
    reply, given = ReplyText(TOKENIZER, stop, strip=strip), []
    for token in TOKENIZER.encode(text):
        given.append(reply.add(token))
        if reply.stopped:
            return given
    return [*given, reply.rest()]


@given(st.text(max_size=30))
def test_the_pieces_are_the_reply_without_outer_white_space(text: str) -> None:
    given = pieces(text)
    decoded = TOKENIZER.decode(TOKENIZER.encode(text))
    assert "".join(given) == decoded.strip()
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in given) or "\N{REPLACEMENT CHARACTER}" in decoded


@given(st.text(max_size=30))
def test_a_raw_continuation_keeps_its_white_space(text: str) -> None:
    assert "".join(pieces(text, strip=False)) == TOKENIZER.decode(TOKENIZER.encode(text))


@given(st.text("abc \n", max_size=30), st.lists(st.text("abc ", min_size=1, max_size=4), max_size=3))
def test_nothing_of_the_first_stop_string_or_after_it_is_given(text: str, stop: list[str]) -> None:
    given = "".join(pieces(text, tuple(stop)))
    kept = text.lstrip()
    ends = [kept.find(one) for one in stop if one in kept]
    # A stop string that another one is completed before never comes: the text ends there.
    first = min((at + len(one), at) for one in stop if (at := kept.find(one)) >= 0)[1] if ends else len(kept)
    assert given == kept[:first].rstrip()


def test_a_character_of_several_tokens_comes_when_it_is_whole() -> None:
    assert [piece for piece in pieces("é!") if piece] == ["é", "!"]
    assert pieces("é")[0] == ""


def test_what_may_begin_a_stop_string_waits() -> None:
    reply = ReplyText(TOKENIZER, ("END",))
    given = [reply.add(token) for token in TOKENIZER.encode("so EN")]
    assert "".join(given) == "so"
    assert reply.rest() == " EN"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_half_a_character_at_the_end_is_given_as_what_it_is(cut: int) -> None:
    reply = ReplyText(TOKENIZER)
    ids = TOKENIZER.encode("a\N{SLIGHTLY SMILING FACE}")
    given = "".join(reply.add(token) for token in ids[:-cut]) + reply.rest()
    assert given == TOKENIZER.decode(list(ids[:-cut]))
