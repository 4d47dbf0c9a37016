"""The likeliest word is the one that all scores would have shown, also where bfloat16 alone would miss it."""

import math

import pytest
import torch
from torch import Tensor, nn

from menura.models.layers import argmax as finding
from menura.models.layers import packed_linear as packed
from menura.models.layers.argmax import BLOCK, ScreenedArgmax, blocked_argmax

needs_bfloat16 = pytest.mark.skipif(
    not (packed.AVAILABLE and finding.QUICK), reason="this processor does not multiply in bfloat16"
)
WIDTH = 256


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def found(
    states: Tensor, table: nn.Parameter, bias: Tensor | None = None, suppress_ids: tuple[int, ...] = ()
) -> Tensor:
    """Return what is found, which must be something."""
    with torch.no_grad():
        words = ScreenedArgmax().of(states, table, bias, suppress_ids)
    assert words is not None
    return words


def wanted(states: Tensor, table: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the largest scores' places in float64."""
    scores = states.double() @ table.detach().double().T
    return (scores if bias is None else scores + bias.double()).argmax(-1)


@pytest.mark.parametrize("vocabulary", [BLOCK, 7 * BLOCK, 7 * BLOCK + 1, 8 * BLOCK - 1])
def test_the_likeliest_of_many_is_the_first_of_the_largest(vocabulary: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "MANY", 0)
    scores = drawn(40, vocabulary, seed=2).mul(2).round()  # coarse, so that the largest are many
    scores[7, vocabulary // 2] = scores[8, -1] = math.nan  # the largest of all, as it is elsewhere
    assert int((scores == scores.amax(-1, keepdim=True)).sum()) > 40
    assert blocked_argmax(scores).tolist() == scores.argmax(-1).tolist()


@needs_bfloat16
@pytest.mark.parametrize("vocabulary", [3 * BLOCK, 300, 385])
@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("biased", [False, True])
def test_the_word_found_is_that_of_the_largest_score(vocabulary: int, rows: int, *, biased: bool) -> None:
    table = nn.Parameter(drawn(vocabulary, WIDTH, seed=1))
    bias = 20 * drawn(vocabulary, seed=2) if biased else None
    for seed in range(10):
        states = 3 * drawn(rows, WIDTH, seed=seed + 3)
        assert torch.equal(found(states, table, bias), wanted(states, table, bias))


@needs_bfloat16
def test_words_that_bfloat16_cannot_tell_apart_are_told_apart() -> None:
    near = drawn(1, WIDTH, seed=1) + 1e-3 * drawn(20, WIDTH, seed=2)  # all but one word
    table = nn.Parameter(torch.cat([drawn(300, WIDTH, seed=3), near, drawn(300, WIDTH, seed=4)]))
    states = near[:1] + 3 * drawn(50, WIDTH, seed=5)
    assert torch.equal(found(states, table), wanted(states, table))
    rough = (states.bfloat16() @ table.detach().bfloat16().T).argmax(-1)
    assert int((rough != wanted(states, table)).sum()) > 10
    assert len(set(wanted(states, table).tolist())) > 3


@needs_bfloat16
def test_large_products_that_nearly_cancel_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LEAST", 0)
    one, states = drawn(1, WIDTH, seed=1), 3 * drawn(50, WIDTH, seed=2)
    finder, table = ScreenedArgmax(), nn.Parameter(1e-4 * (one + 1e-3 * drawn(20, WIDTH, seed=3)))
    states -= (states @ one.T) / (one @ one.T) * one
    for _ in range(2):
        with torch.no_grad():
            words = finder.of(states, table, None, ())
            assert words is not None
            assert torch.equal(words, wanted(states, table))
            assert float((states @ table.T).abs().max()) < 1e-3 * float(states.norm() * table.norm())
            table *= 1e4  # by how much a product may be off grows, too


@needs_bfloat16
def test_a_small_bias_decides_between_words_that_are_else_alike() -> None:
    table = nn.Parameter(drawn(1, WIDTH, seed=1).repeat(5, 1).repeat_interleave(BLOCK, 0))
    table.data[2:-2] = drawn(5 * BLOCK - 4, WIDTH, seed=2)  # two at either end are alike
    bias = torch.full((5 * BLOCK,), 100.0)
    bias[-1] += 1e-3
    assert found(table.detach()[:1], table, bias).tolist() == [5 * BLOCK - 1]


@needs_bfloat16
def test_of_equals_it_is_the_first_and_never_one_that_is_not_to_be_said() -> None:
    table = nn.Parameter(drawn(300, WIDTH, seed=1))
    with torch.no_grad():
        table[[250, 40, 299]] = table[7].clone()
    states = table.detach()[[7, 9]]
    assert found(states, table).tolist() == [7, 9]
    assert found(states, table, suppress_ids=(7, 250)).tolist() == [40, 9]
    assert found(states, table, suppress_ids=(40, 7, 250)).tolist() == [299, 9]


@needs_bfloat16
def test_a_table_that_changed_is_read_anew() -> None:
    finder, table = ScreenedArgmax(), nn.Parameter(drawn(300, WIDTH, seed=1))
    states = drawn(4, WIDTH, seed=2)
    for _ in range(3):
        with torch.no_grad():
            words = finder.of(states, table, None, ())
            assert words is not None
            assert torch.equal(words, wanted(states, table))
            table[words] *= -1
            table *= 10


@needs_bfloat16
@pytest.mark.parametrize("what", ["alike", "no number", "infinite", "all unsaid"])
def test_where_it_cannot_tell_it_says_so(what: str) -> None:
    table, states, suppress_ids = nn.Parameter(drawn(300, WIDTH, seed=1)), drawn(4, WIDTH, seed=2), ()
    with torch.no_grad():
        if what == "alike":
            table[:] = table[0].clone()
        elif what == "all unsaid":
            suppress_ids = tuple(range(300))
        else:
            table[5, 5] = math.nan if what == "no number" else math.inf
        assert ScreenedArgmax().of(states, table, None, suppress_ids) is None


@needs_bfloat16
def test_it_serves_where_a_packed_matrix_does() -> None:
    table, states = nn.Parameter(drawn(300, WIDTH, seed=1)), drawn(4, WIDTH, seed=2)
    assert ScreenedArgmax().of(states, table, None, ()) is None  # something may be learnt
    with torch.no_grad():
        assert ScreenedArgmax().of(states.double(), nn.Parameter(table.double()), None, ()) is None


def test_a_processor_that_is_slow_in_bfloat16_scores_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "QUICK", False)
    with torch.no_grad():
        assert ScreenedArgmax().of(drawn(4, WIDTH, seed=2), nn.Parameter(drawn(300, WIDTH, seed=1)), None, ()) is None
