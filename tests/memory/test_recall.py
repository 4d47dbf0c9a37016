"""A person's exchanges are recalled by the words of what is being answered, within a budget of tokens."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_lowercase

import numpy
import pytest
from numpy.typing import NDArray

from menura.batches.chat_format import CHAT_FORMATS
from menura.batches.encode import Encoder
from menura.batches.tokenizer import byte_tokenizer
from menura.corpus.dialogue import Turn
from menura.memory.recall import K1, B, ExchangeMemory, memory_of, words
from menura.tasks.task import Exchange


def exchange(asked: str, replied: str, number: int = 0) -> Exchange:
    return Exchange(f"d{number}", (Turn("you", asked),), Turn("ann", replied))


SAID = (
    ("do you have pets?", "i have two cats, minou and bo"),
    ("where do you live?", "in a small house by the river"),
    ("what do you do on sundays?", "i row on the river, or i sleep"),
    ("are you hungry?", "always. i could eat a river of soup"),
)
MEMORY = ExchangeMemory(tuple(exchange(*said, number) for number, said in enumerate(SAID)))


@pytest.fixture
def encoder() -> Encoder:
    tokenizer = byte_tokenizer()
    return Encoder(tokenizer, CHAT_FORMATS["chat"](tokenizer), 512)


def replies(memory: ExchangeMemory, line: str, encoder: Encoder, budget: int = 10_000) -> list[str]:
    recalled = memory.recalled([Turn("you", line)], encoder, budget)
    return [dialogue[-1].source.reply.text for dialogue in recalled if dialogue[-1].source]


def test_what_fits_the_line_best_is_recalled_and_stands_last(encoder: Encoder) -> None:
    assert replies(MEMORY, "and your CATS?", encoder)[-1] == SAID[0][1]
    assert replies(MEMORY, "how is the river on sundays?", encoder)[-1] == SAID[2][1]
    assert SAID[0][1] not in replies(MEMORY, "how is the river", encoder)


def test_a_line_without_any_word_of_the_memory_recalls_nothing(encoder: Encoder) -> None:
    assert replies(MEMORY, "brrr !?", encoder) == []
    assert MEMORY.recalled([], encoder, 1000) == ()
    assert ExchangeMemory(()).recalled([Turn("you", "river")], encoder, 1000) == ()
    assert ExchangeMemory((exchange("?", "!"),)).recalled([Turn("you", "river")], encoder, 1000) == ()


def test_the_budget_is_kept_and_what_is_too_long_is_passed_over(encoder: Encoder) -> None:
    long = ExchangeMemory((exchange("river river river", "river " * 30), *MEMORY.exchanges))
    for budget in (0, 40, 80, 160, 10_000):
        recalled = long.recalled([Turn("you", "the river")], encoder, budget)
        taken = sum(encoder.length_before(dialogue) for dialogue in recalled)
        assert taken <= budget
        opened = encoder.exchange(exchange("hello", "hi"))
        assert len(encoder.after(opened, recalled, 100_000).prefix) == len(opened.prefix) + taken
    assert len(replies(long, "the river", encoder, 80)) == 1
    assert long.exchanges[0].reply.text.strip() not in replies(long, "the river", encoder, 80)


def test_the_last_two_turns_ask(encoder: Encoder) -> None:
    context = [Turn("you", "cats?"), Turn("ann", "on sundays"), Turn("you", "hm")]
    recalled = MEMORY.recalled(context, encoder, 10_000)
    assert [dialogue[-1].dialogue_id for dialogue in recalled] == ["d2"]


def test_scores_are_those_of_bm25(encoder: Encoder) -> None:
    texts = [words(asked) + words(replied) for asked, replied in SAID]
    mean = sum(map(len, texts)) / len(texts)

    def bm25(query: list[str], text: list[str]) -> float:
        counts, total = Counter(text), 0.0
        for word in query:
            holders = sum(word in other for other in texts)
            idf = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
            tf = counts[word]
            total += idf * tf / (tf + K1 * (1 - B + B * len(text) / mean))
        return total

    query = words("do you row on the river or eat")
    expected = [place for place in range(len(texts)) if bm25(query, texts[place])]
    expected.sort(key=lambda place: -bm25(query, texts[place]))
    recalled = MEMORY.recalled([Turn("you", "do you row on the river or eat")], encoder, 10_000)
    assert [dialogue[-1].dialogue_id for dialogue in reversed(recalled)] == [f"d{place}" for place in expected]


def test_a_memory_holds_each_reply_with_the_turn_before_it(encoder: Encoder) -> None:
    longer = Exchange("d", (Turn("you", "first"), Turn("ann", "second"), Turn("you", "third")), Turn("ann", "fourth"))
    memory = memory_of([(encoder.exchange(exchange("a", "b")), encoder.exchange(longer, "p"))])
    assert [[turn.text for turn in one.context] for one in memory.exchanges] == [["a"], ["third"]]
    assert [one.reply.text for one in memory.exchanges] == ["b", "fourth"]


def letters(lines: Sequence[str]) -> NDArray[numpy.float32]:
    """Stand in for a network: how often a line has each letter, all far from 0 in one direction."""
    counts = [[line.lower().count(letter) for letter in ascii_lowercase] for line in lines]
    return numpy.array(counts, numpy.float32) + 50


def test_by_states_the_likest_is_recalled_though_no_word_is_shared(encoder: Encoder) -> None:
    memory = replace(MEMORY, states_of=letters)
    context = [Turn("you", "satcat towtac minoubo")]  # the letters of the first exchange
    assert MEMORY.ranked(context) == []
    ranked = memory.ranked(context)
    assert ranked[0] == 0
    assert sorted(ranked) == list(range(len(SAID)))
    assert memory.recalled(context, encoder, 10_000)[-1][-1].source == replace(MEMORY.exchanges[0], facts=())


def test_states_are_compared_by_cosine_beyond_what_all_share() -> None:
    memory = replace(MEMORY, states_of=letters)
    texts = ["\n".join(said) for said in SAID]
    states = letters(texts) - letters(texts).mean(0)
    asked = letters(["hm\nsundays by the river"])[0] - letters(texts).mean(0)
    cosines = states @ asked / numpy.linalg.norm(states, axis=1) / numpy.linalg.norm(asked)
    ranked = memory.ranked([Turn("you", "cats?"), Turn("ann", "hm"), Turn("you", "sundays by the river")])
    assert ranked == sorted(range(len(SAID)), key=lambda place: -cosines[place])


def test_by_states_nothing_is_recalled_of_nothing(encoder: Encoder) -> None:
    assert replace(MEMORY, states_of=letters).recalled([], encoder, 1000) == ()
    assert ExchangeMemory((), letters).recalled([Turn("you", "river")], encoder, 1000) == ()
    one = ExchangeMemory(MEMORY.exchanges[:1], letters)  # it is its own mean
    assert len(one.recalled([Turn("you", "river")], encoder, 1000)) == 1


def test_states_of_a_memory_are_computed_once() -> None:
    asked: list[int] = []

    def noting(lines: Sequence[str]) -> NDArray[numpy.float32]:
        asked.append(len(lines))
        return letters(lines)

    memory = replace(MEMORY, states_of=noting)
    for line in ("river", "cats"):
        memory.ranked([Turn("you", line)])
    assert asked == [len(SAID), 1, 1]
