"""Perplexity by hand, per token, word and byte."""

import math

import pytest

from menura.metrics.perplexity import Perplexity, perplexity_of
from menura.metrics.score import Sample

FIRST = Sample("p", "d1", "", "tea for me", 6.0, 4)  # 3 words, 10 bytes
SECOND = Sample("p", "d1", "", "ça va", 2.0, 3)  # 2 words, 6 bytes
THIRD = Sample("p", "d2", "", "no", 9.0, 3)  # 1 word, 2 bytes


def value(metric: Perplexity, *samples: Sample) -> float:
    """The figure of one persona."""
    return metric.value([metric.gather(samples)])


def test_per_token_divides_by_the_tokens_with_their_end() -> None:
    assert value(Perplexity("token"), FIRST, SECOND) == pytest.approx(math.exp(8 / 7))


def test_per_word_counts_the_end_as_a_word() -> None:
    assert value(Perplexity("word"), FIRST, SECOND) == pytest.approx(math.exp(8 / (3 + 1 + 2 + 1)))


def test_bits_per_byte_count_bytes_not_characters() -> None:
    assert value(Perplexity("byte"), SECOND) == pytest.approx(2 / math.log(2) / 7)


def test_personas_are_pooled_by_their_tokens() -> None:
    metric = Perplexity("token")
    assert metric.value([metric.gather([FIRST]), metric.gather([THIRD])]) == pytest.approx(math.exp(15 / 7))


def test_paml_weighs_dialogues_alike() -> None:
    assert value(Perplexity("token", "paml"), FIRST, SECOND, THIRD) == pytest.approx(math.exp((8 / 7 + 3) / 2))


def test_a_diverged_model_is_infinitely_surprised() -> None:
    assert value(Perplexity("token"), Sample("p", "d", "", "x", 1e6, 1)) == math.inf
    assert perplexity_of([1e6], [1], "pooled") == math.inf


def test_a_lone_surrogate_does_not_stop_the_count() -> None:
    assert value(Perplexity("byte"), Sample("p", "d", "", "\ud800", 4 * math.log(2), 1)) == pytest.approx(1.0)


def test_batches_without_tokens_are_left_out() -> None:
    assert perplexity_of([0.0, 4.0], [0, 2], "paml") == pytest.approx(math.exp(2))
    assert math.isnan(perplexity_of([], [], "pooled"))


def test_lengths_are_never_hoped_for() -> None:
    with pytest.raises(ValueError, match="zip"):
        perplexity_of([1.0], [1, 2], "pooled")
