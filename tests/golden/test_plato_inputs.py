"""Acceptance check P17 of PLATO: the four numbers of each token, and what is left out of too long a context."""

from dataclasses import replace

import pytest
from made_up import part

from menura.batches.chat_format import utterances
from menura.batches.encode import EncodedExchange, Encoder, TokenLimits
from menura.batches.plato_inputs import FACT, NOWHERE, OWN, PARTNER, ContextLayout
from menura.batches.tokenizer import Tokenizer, byte_tokenizer, word_tokenizer
from menura.corpus.dialogue import Dialogue, Turn
from menura.tasks.task import DialogueView

WORDS = word_tokenizer(("hi", "hello", "there", "how", "are", "you", "i", "like", "tea", "fine"))
EOU, BOU = WORDS.control("<eos>"), WORDS.control("<sos>")
LAYOUT = utterances(BOU, EOU)


def encoded(*lines: tuple[str, str], facts: tuple[str, ...] = (), limit: int = 64) -> EncodedExchange:
    """Encode the last line as B's reply to those before."""
    turns = tuple(Turn(speaker, text) for speaker, text in lines)
    told = DialogueView(Dialogue("d", turns, {"A": facts} if facts else {}), "A")
    return Encoder(WORDS, LAYOUT, limit).exchange(list(told.exchanges())[-1])


EXAMPLE = encoded(("B", "hi"), ("A", "hello there"), ("B", "how are you"), ("A", "fine"), facts=("i like tea",))


@pytest.mark.parametrize(("knowledge_turn", "turn"), [("none", NOWHERE), ("index", 0)])
def test_p17_the_worked_example(knowledge_turn: str, turn: int) -> None:
    reading = ContextLayout(EOU, knowledge_turn=knowledge_turn)  # type: ignore[arg-type]
    context = reading.context(EXAMPLE)
    assert [WORDS.decode([token.id]) or "EOU" for token in context] == (
        ["hi", "EOU", "hello", "there", "EOU", "how", "are", "you", "EOU", "i", "like", "tea", "EOU"]
    )
    assert [token.role for token in context] == [PARTNER] * 2 + [OWN] * 3 + [PARTNER] * 4 + [FACT] * 4
    assert [token.turn for token in context] == [3, 3, 2, 2, 2, 1, 1, 1, 1, *[turn] * 4]
    assert [token.position for token in context] == [0, 1, 0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3]
    assert (OWN, PARTNER, FACT) == (0, 1, 2)
    reply = reading.reply((EXAMPLE.prefix[-1], *EXAMPLE.reply))
    assert [token.id for token in reply] == [BOU, *WORDS.encode("fine"), EOU]
    assert {(token.role, token.turn) for token in reply} == {(OWN, 0)}
    assert [token.position for token in reply] == [0, 1, 2]


def test_p17_facts_before_the_dialogue_are_read_first() -> None:
    context = ContextLayout(EOU, knowledge="before").context(EXAMPLE)
    assert [token.role for token in context] == [FACT] * 4 + [PARTNER] * 2 + [OWN] * 3 + [PARTNER] * 4
    assert [token.turn for token in context][4:] == [3, 3, 2, 2, 2, 1, 1, 1, 1]
    assert [token.utterance for token in context] == [0] * 4 + [1] * 2 + [2] * 3 + [3] * 4


def test_p17_numbers_from_the_start_stay_when_the_dialogue_goes_on() -> None:
    reading = ContextLayout(EOU, knowledge="before", turns="from_start")
    on = encoded(
        *(("B", "hi"), ("A", "hello there"), ("B", "how are you"), ("A", "fine"), ("B", "tea"), ("A", "hi")),
        facts=("i like tea",),
    )
    assert reading.context(on)[: len(reading.context(EXAMPLE))] == reading.context(EXAMPLE)
    assert [token.turn for token in reading.context(EXAMPLE)][4:] == [1, 1, 2, 2, 2, 3, 3, 3, 3]


def test_p17_who_speaks_is_told_by_speakers_and_not_by_counting() -> None:
    twice = encoded(("B", "hi"), ("B", "how are you"), ("A", "fine"), ("A", "hello"), ("A", "tea"))
    context = ContextLayout(EOU).context(twice)
    assert [token.role for token in context] == [PARTNER] * 6 + [OWN] * 4
    assert [token.turn for token in context] == [4] * 2 + [3] * 4 + [2] * 2 + [1] * 2


def test_p17_turns_end_at_the_last_row_of_their_table() -> None:
    lines = [("B" if number % 2 == 0 else "A", "hi") for number in range(19)]
    long = encoded(*lines, ("A", "fine"))
    turns = [token.turn for token in ContextLayout(EOU, max_turns=16).context(long)]
    assert turns == [min(19 - place // 2, 15) for place in range(38)]
    forward = [token.turn for token in ContextLayout(EOU, turns="from_start", max_turns=16).context(long)]
    assert forward == [min(place // 2 + 1, 15) for place in range(38)]
    many = encoded(("B", "hi"), ("A", "fine"), facts=("tea",) * 20, limit=128)
    facts = [token for token in ContextLayout(EOU, knowledge_turn="index").context(many) if token.role == FACT]
    assert [token.turn for token in facts] == [min(place // 2, 15) for place in range(40)]


BYTES: Tokenizer = byte_tokenizer(("<bou>", "<eou>"))
OPENS, END = BYTES.control("<bou>"), BYTES.control("<eou>")
RELEASE = TokenLimits(utterance=5, reply=4, turns=3, facts=2, fact=6, through=True)
TALK = part(
    "d",
    "first words",
    "abcdefgh",
    "second",
    "0123456789",
    "hi",
    "a long reply",
    facts=("one fact here", "two", "three"),
)


def cut(caps: TokenLimits, limit: int = 512) -> tuple[EncodedExchange, dict[str, int]]:
    """Return the last exchange of a talk, and what was left out of it."""
    encoder = Encoder(BYTES, utterances(OPENS, END), limit, caps=caps)
    return encoder.exchange(list(TALK.exchanges())[-1]), dict(encoder.cut)


def texts(ids: tuple[int, ...]) -> list[str]:
    """Return what is said between ends."""
    pieces: list[list[int]] = [[]]
    for token in ids:
        pieces[-1].append(token)
        if token == END:
            pieces.append([])
    assert pieces[-1] in ([], [OPENS])
    return [BYTES.decode(piece) for piece in pieces[:-1]]


def test_p17_an_utterance_keeps_its_last_words_a_fact_and_a_reply_their_first() -> None:
    found, counted = cut(RELEASE)
    assert texts(found.context) == ["econd", "56789", "hi"]
    assert texts(found.facts) == ["one fa", "two"]
    assert texts(found.reply) == ["a lo"]
    assert counted == {
        "turns": 2,
        "utterance tokens": 6,
        "facts": 1,
        "fact tokens": 7,
        "reply tokens": 8,
    }
    assert sum(count for _, count in found.turns) == len(found.context) - 1


@pytest.mark.parametrize("through", [True, False])
@pytest.mark.parametrize("limit", range(40, 70))
def test_p17_what_is_left_of_a_long_context_is_its_end(limit: int, *, through: bool) -> None:
    all_of_it, _ = cut(TokenLimits())
    found, counted = cut(TokenLimits(through=through), limit)
    assert found.context == all_of_it.context[-len(found.context) :]
    assert len(found.ids) <= limit
    assert found.context[-1] == OPENS
    assert found.context.count(END) == len(found.turns), "no turn loses its end"
    whole = {count for _, count in all_of_it.turns}
    assert through or all(count in whole for _, count in found.turns)
    if through and len(found.turns) < len(all_of_it.turns):
        assert len(found.ids) == limit
    assert counted.get("turns", 0) == len(all_of_it.turns) - len(found.turns)
    roles = ContextLayout(END).context(found)
    assert [token.id for token in roles if token.role != FACT] == list(found.context[:-1])


def test_p17_the_last_turn_alone_is_cut_rather_than_left_out() -> None:
    encoder = Encoder(BYTES, utterances(OPENS, END), 20)
    long = part("d", "x" * 30 + "yz", "ok")
    (exchange,) = [e for dialogue in encoder.dialogues([long], "mira") for e in dialogue]
    assert len(exchange.ids) == 20
    assert texts(exchange.context)[-1].endswith("xyz")
    assert exchange.turns == ((False, len(exchange.context) - 1),)
    assert replace(exchange, reply=()).prefix == exchange.prefix
