"""Sequences are grouped by length, so that batches have little padding."""

from collections.abc import Iterator, Sequence

TOKENS_AT_ONCE = 1024  # in one forward pass: bounds memory and padding, changes nothing else


def buckets(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield groups of indices of similar size, the largest first, each of at most ``most`` when padded."""
    order = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    start = 0
    while start < len(order):
        count = max(1, most // max(sizes[order[start]], 1))
        yield order[start : start + count]
        start += count
