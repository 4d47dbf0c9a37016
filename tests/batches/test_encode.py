from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import FACTS, QUERY, SUPPORT, part, spelled

from menura.batches.chat_format import CHAT_FORMATS, SPECIAL_TOKENS, ChatFormatName
from menura.batches.encode import Encoder
from menura.batches.tokenizer import byte_tokenizer
from menura.corpus.dialogue import Turn
from menura.errors import DataError
from menura.tasks.episode import Episode

every_layout = pytest.mark.parametrize("layout", CHAT_FORMATS)


def encoder(layout: ChatFormatName = "chat", limit: int = 512) -> Encoder:
    tokenizer = byte_tokenizer()
    if layout == "special":
        tokenizer = tokenizer.adding(SPECIAL_TOKENS)
    return Encoder(tokenizer, CHAT_FORMATS[layout](tokenizer), limit)


@pytest.mark.parametrize(
    ("layout", "wanted"),
    [
        (
            "chat",
            "<|im_start|>system\ni mend clocks.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
            "<|im_start|>assistant\ntick<|im_end|>\n<|im_start|>user\nwhat?<|im_end|>\n"
            "<|im_start|>assistant\ntock<|im_end|>",
        ),
        ("special", "<p>i mend clocks.</p><u>hi</u><r>tick</r><u>what?</u><r>tock</r>"),
        ("plain", "Facts: i mend clocks.\nUser: hi\nReply: tick\nUser: what?\nReply: tock\n"),
    ],
)
def test_a_layout_reads_like_this(layout: ChatFormatName, wanted: str) -> None:
    given = encoder(layout)
    last = given.dialogue(part("d", "hi", "tick", "what?", "tock", facts=FACTS[:1]), "mira")[-1]
    assert spelled(given.tokenizer, last.ids) == wanted
    assert given.reply_text(last.reply) == "tock"


@every_layout
def test_every_exchange_of_a_dialogue_is_the_beginning_of_the_next(layout: ChatFormatName) -> None:
    exchanges = encoder(layout).dialogue(SUPPORT[0], "mira")
    assert len(exchanges) == 2
    for earlier, later in zip(exchanges, exchanges[1:], strict=False):
        assert later.ids[: len(earlier.ids)] == earlier.ids


@every_layout
def test_a_persona_without_facts_has_no_facts_piece(layout: ChatFormatName) -> None:
    assert encoder(layout).dialogue(part("d", "hi", "tick"), "mira")[0].facts == ()


@every_layout
def test_what_is_read_in_a_talk_is_what_was_read_in_training(layout: ChatFormatName) -> None:
    given = encoder(layout)
    learnt = given.dialogue(SUPPORT[0], "mira")[-1]
    turns = SUPPORT[0].dialogue.turns[:-1]
    asked = given.prompt(turns, "mira", FACTS, room=100)
    assert asked.prefix == learnt.prefix
    assert asked.reply == ()


@given(
    st.lists(st.text(st.characters(codec="ascii"), max_size=50), min_size=1, max_size=12),
    st.integers(60, 160),
    st.sampled_from(sorted(CHAT_FORMATS)),
)
def test_no_sequence_is_longer_than_the_limit(lines: list[str], limit: int, layout: ChatFormatName) -> None:
    given = encoder(layout, limit)
    for exchange in part("d", *lines, "ok").exchanges():
        whole = encoder(layout, 10_000).exchange(exchange)
        try:
            cut = given.exchange(exchange)
        except DataError:
            assert len(whole.facts) + len(whole.reply) + len(given.chat_format.reply_open) > limit
            continue
        assert len(cut.ids) <= limit
        assert (cut.facts, cut.reply) == (whole.facts, whole.reply)
        assert cut.ids == whole.ids if len(whole.ids) <= limit else whole.context[-len(cut.context) :] == cut.context


def test_turns_are_left_out_whole_and_counted() -> None:
    given = encoder("special", 40)
    lines = ["first" * 4, "second", "third", "reply"]
    cut = list(part("d", *lines).exchanges())[-1]
    assert spelled(given.tokenizer, given.exchange(cut).ids) == "<r>second</r><u>third</u><r>reply</r>"
    assert given.cut == {"turns": 1}


def test_a_turn_cut_in_part_is_not_counted_as_left_out() -> None:
    given = encoder("special", 40)
    encoded = given.exchange(next(part("d", "x" * 50, "reply").exchanges()))
    assert len(encoded.ids) == 40
    assert given.cut == {"tokens": 52 - 33}  # 40, less six of the reply and the one that opens it


def test_facts_and_reply_beyond_the_limit_are_refused_with_both_numbers() -> None:
    exchange = next(part("d7", "hi", "y" * 200, facts=FACTS).exchanges())
    with pytest.raises(DataError, match=r"'d7' take \d+ tokens, limit 100") as caught:
        encoder("chat", 100).exchange(exchange)
    assert caught.value.problems[0].code == "too_long"
    assert caught.value.exit_code == 3


def test_facts_that_leave_no_room_for_a_reply_are_refused() -> None:
    with pytest.raises(DataError, match="no room for a reply"):
        encoder("chat", 100).prompt((Turn("guest", "hi"),), "mira", FACTS, room=90)


def test_a_dialogue_leaves_out_and_counts_replies_too_long_to_learn() -> None:
    given = encoder("chat", 100)
    kept = given.dialogue(part("d", "hi", "y" * 200, "what?", "sorry"), "mira")
    assert [given.reply_text(exchange.reply) for exchange in kept] == ["sorry"]
    assert given.cut["exchanges"] == 1


def test_dialogues_in_which_the_persona_is_silent_are_left_out() -> None:
    silent = replace(SUPPORT[1], speaker="nobody")
    assert len(encoder().dialogues([silent, SUPPORT[0]], "mira")) == 1


def test_an_episode_keeps_its_sides() -> None:
    encoded = encoder().episode(Episode("mira", SUPPORT, QUERY))
    assert {e.dialogue_id for dialogue in encoded.support for e in dialogue} == {"s1", "s2"}
    assert {e.dialogue_id for dialogue in encoded.query for e in dialogue} == {"q1"}
    assert {e.persona_id for dialogue in encoded.support for e in dialogue} == {"mira"}


def test_reply_text_ends_before_the_end_token() -> None:
    given = encoder()
    ids = (*given.tokenizer.encode(" tick "), given.chat_format.end, *given.tokenizer.encode("tock"))
    assert given.reply_text(ids) == "tick"
