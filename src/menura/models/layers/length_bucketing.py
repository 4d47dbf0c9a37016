"""How much is read in one pass, and in which order, so that little of it is filling."""

from collections.abc import Iterator, Sequence

TOKENS_AT_ONCE = 1024  # of a pass: bounds memory and filling, changes nothing else


def alike(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield places of like size, the largest first, as many at once as have ``most`` together when filled up."""
    order = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    start = 0
    while start < len(order):
        count = max(1, most // max(sizes[order[start]], 1))
        yield order[start : start + count]
        start += count
