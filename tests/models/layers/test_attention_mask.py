import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from menura.models.layers.attention_mask import AttentionMask, SegmentIds
from menura.models.layers.transformer import Flexible, Masked

SIGHTS = [
    AttentionMask(recognition=recognition, context=context, latent=latent)
    for recognition in (True, False)
    for context in ("bi", "block_bi", "uni")
    for latent in ("prefix", "response_only")
]
every_sight = pytest.mark.parametrize("sight", SIGHTS, ids=str)


def places_of(contexts: list[int], replies: list[int], *, head: bool) -> SegmentIds:
    """Lay out rows of so many tokens, every two of a context an utterance."""

    def mask(lengths: list[int]) -> Tensor:
        return torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]

    context = mask(contexts)
    blocks = (torch.arange(context.shape[1]) // 2).expand(len(contexts), -1)
    return SegmentIds.of(context, blocks, mask(replies), head=head)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=4),
    st.sampled_from(SIGHTS),
    st.booleans(),
)
def test_who_is_real_sees_itself_and_nobody_sees_filling(
    rows: list[tuple[int, int]], sight: AttentionMask, head: bool
) -> None:
    places = places_of([context for context, _ in rows], [reply for _, reply in rows], head=head)
    dense, real = sight.dense(places), places.segment >= 0
    assert torch.equal(dense.diagonal(dim1=1, dim2=2), real)
    assert not (dense & ~(real[:, :, None] & real[:, None])).any()
    assert sight.fused(places).any(-1).all(), "a row that sees nothing would be NaN"


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5)), min_size=1, max_size=4), st.sampled_from(SIGHTS))
def test_a_row_sees_among_mates_what_it_sees_alone(rows: list[tuple[int, int]], sight: AttentionMask) -> None:
    together = places_of([context for context, _ in rows], [reply for _, reply in rows], head=True)
    for number, (context, reply) in enumerate(rows):
        real = (together.segment[number] >= 0).nonzero().flatten()
        alone = sight.dense(places_of([context], [reply], head=True))[0]
        assert torch.equal(sight.dense(together)[number][real][:, real], alone)


# FlexAttention takes seconds to come up with each rule.
@pytest.mark.parametrize("sight", [SIGHTS[0], AttentionMask(context="block_bi", latent="response_only")], ids=str)
def test_attention_by_blocks_is_that_in_the_open(sight: AttentionMask) -> None:
    places = places_of([5, 2, 0], [3, 1, 2], head=True)
    stream = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, 2, 9, 4, generator=stream, dtype=torch.float64) for _ in range(3))
    plain = Masked(sight.fused(places), plain=True)(q, k, v)
    torch.testing.assert_close(by_blocks(sight, places, q, k, v), plain, rtol=1e-12, atol=1e-12)


def by_blocks(sight: AttentionMask, places: SegmentIds, *qkv: Any) -> Tensor:
    """Attend by FlexAttention, which on a CPU is not compiled here, and says so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile", UserWarning)
        return Flexible(sight.block_mask(places))(*qkv)


@every_sight
def test_attention_in_the_open_is_the_fused_one_and_so_is_its_gradient(sight: AttentionMask) -> None:
    places = places_of([5, 2, 0], [3, 1, 2], head=True)
    stream = torch.Generator().manual_seed(0)
    qkv = [torch.randn(3, 2, 9, 4, generator=stream, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    made = [Masked(sight.fused(places), plain=plain)(*qkv) for plain in (True, False)]
    slopes = [torch.autograd.grad((found**2).sum(), qkv) for found in made]
    for one, other in ((made[0], made[1]), *zip(*slopes, strict=True)):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
