"""Acceptance check A9 of AR+: which spans of a reply are lost."""

import random
from collections import Counter

import pytest

from menura.models.attention_routing.infilling import infilled

MARK, OPENS, END = 5, 2, 3
DRAWS = 100_000


def reply(length: int) -> tuple[int, ...]:
    return (OPENS, *range(100, 100 + length - 2), END)


def drawn(length: int, times: int, seed: int = 0) -> Counter[tuple[int, int]]:
    """Count (where the mark stands, how much is lost)."""
    rng, ids, found = random.Random(seed), reply(length), Counter[tuple[int, int]]()
    for _ in range(times):
        kept = infilled(ids, MARK, rng)
        start, lost = kept.index(MARK), length - len(kept) + 1
        assert kept == (*ids[:start], MARK, *ids[start + lost :])
        assert (kept[0], kept[-1]) == (OPENS, END)
        found[start, lost] += 1
    return found


def test_a9_of_ten_tokens_two_are_lost_and_rarely_none() -> None:
    found = drawn(10, DRAWS)
    lost = Counter[int]()
    for (_, span), times in found.items():
        lost[span] += times
    assert set(lost) == {0, 2}
    assert lost[2] / DRAWS == pytest.approx(0.99, abs=0.002)
    for span, starts in ((2, 7), (0, 9)):
        counts = [found[start, span] for start in range(1, starts + 1)]
        assert sum(counts) == lost[span]  # from behind the first token to before the last
        # Pearson's statistic of an even draw; a thousandth of all draws would lie above.
        squares = sum((count - lost[span] / starts) ** 2 for count in counts) / (lost[span] / starts)
        assert squares < {7: 22.5, 9: 26.1}[starts]


def test_a9_of_three_tokens_nothing_is_lost() -> None:
    rng = random.Random(1)
    assert all(infilled(reply(length), MARK, rng) == reply(length) for length in (2, 3) for _ in range(100))


@pytest.mark.parametrize("length", [4, 5])
def test_a9_of_four_or_five_tokens_one_is_lost(length: int) -> None:
    assert set(drawn(length, 1000)) == {(start, 1) for start in range(1, length - 1)}


def test_a9_of_six_tokens_two_are_lost() -> None:
    assert {span for _, span in drawn(6, 2000)} == {0, 2}


def test_a9_barts_own_scheme_loses_spans_until_three_tenths_are_gone() -> None:
    rng, ids = random.Random(2), reply(42)
    kept = [infilled(ids, MARK, rng, bart=True) for _ in range(2000)]
    assert all((one[0], one[-1]) == (OPENS, END) for one in kept)
    assert {40 - sum(token >= 100 for token in one) for one in kept} == {12}
    assert all([token for token in one if token != MARK] == sorted(set(one) & set(ids), key=ids.index) for one in kept)
    assert {one.count(MARK) for one in kept} >= {3, 4, 5}
    assert infilled((OPENS, END), MARK, rng, bart=True) == (OPENS, END)
