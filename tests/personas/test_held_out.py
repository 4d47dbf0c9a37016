"""Whether adapting helped is told in words, with an interval and a stranger beside it."""

import math

import numpy
import pytest

from menura.personas.held_out import Check, verdict, verdict_of

TOKENS = (10, 20, 5, 8, 12, 30)


def check(gain: float, *, stranger: float | None = None, noise: float = 0.0) -> Check:
    """Return a check whose replies gain so many nats a token, some more and some less."""
    before = tuple(3.0 * count for count in TOKENS)
    after = tuple((3.0 - gain - noise * (-1) ** i) * count for i, count in enumerate(TOKENS))
    other = () if stranger is None else tuple((3.0 - stranger) * count for count in TOKENS)
    return Check(2, TOKENS, before, after, other)


def test_likelier_is_the_ratio_of_probabilities_per_token() -> None:
    found = check(0.25).likelier
    assert found.ratio == pytest.approx(math.exp(0.25) - 1)
    assert (found.low, found.high) == pytest.approx((found.ratio, found.ratio))
    assert check(0.25).after == pytest.approx(check(0.25).before * math.exp(-0.25))


def test_the_interval_holds_the_ratio_and_widens_with_the_spread_of_replies() -> None:
    narrow, wide = check(0.2, noise=0.05).likelier, check(0.2, noise=0.4).likelier
    assert narrow.low < narrow.ratio < narrow.high
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert narrow.sure
    assert not wide.sure


def test_the_verdict_says_by_how_much_and_what_a_stranger_would_have_done() -> None:
    told = verdict(check(math.log(1.12), stranger=math.log(0.97)), "Anna", 1.0)
    assert "Anna's held-out replies became 12 % likelier (95 % interval +12 % to +12 %)" in told
    assert "a stranger's persona would have made them 3 % less likely" in told
    assert "on 6 replies" in told


def test_a_persona_that_did_harm_is_told_with_what_to_type() -> None:
    told = verdict(check(-0.1), "Anna", 1.0)
    assert "warn[worse_than_base]" in told
    assert "--set inner.lr" in told
    assert "warn" not in verdict(check(0.1), "Anna", 1.0)


def test_an_interval_that_holds_nothing_is_told() -> None:
    assert "not sure" in verdict(check(0.3, noise=0.5), "Anna", 1.0)
    assert "not sure" not in verdict(check(0.5, noise=0.05), "Anna", 1.0)


def test_with_nothing_held_out_nothing_is_judged() -> None:
    assert "not known" in verdict(Check(0, (), (), ()), "Anna", 1.0)
    assert math.isnan(Check(0, (), (), ()).before)


def test_the_record_holds_plain_numbers() -> None:
    record = check(0.2, stranger=0.1).record()
    assert record["replies"] == len(TOKENS)
    assert record["likelier"] == pytest.approx(math.expm1(0.2))
    assert record["likelier_as_stranger"] == pytest.approx(math.expm1(0.1))
    assert all(isinstance(value, int | float | list) for value in record.values())
    assert not any(isinstance(value, numpy.generic) for value in record.values())


@pytest.mark.parametrize("stranger", [None, math.log(0.97)])
def test_the_record_is_put_in_the_words_of_the_verdict(stranger: float | None) -> None:
    found = check(math.log(1.12), stranger=stranger)
    words, perplexities = verdict_of(found.record(), "Anna")
    assert f"check  {words}\n       {perplexities} (1.0 s)" == verdict(found, "Anna", 1.0)


def test_a_record_of_perplexities_alone_and_an_empty_one_are_read_too() -> None:
    assert verdict_of({"replies": 3, "ppl_before": 12.0, "ppl_after": 9.55}, "Anna") == ["PPL 12.0 -> 9.6 on 3 replies"]
    assert verdict_of(Check(0, (), (), ()).record(), "Anna") == []
    assert verdict_of({}, "Anna") == []
