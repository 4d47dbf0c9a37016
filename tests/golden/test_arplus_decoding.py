"""Numbers of AR+'s specification: decoding."""

import pytest
import torch

from menura.decoding.choice import Nucleus
from menura.errors import ConfigError

SHARES = (0.5, 0.3, 0.15, 0.05)


def kept(p: float) -> int:
    """Return how many tokens are ever drawn, over an even grid of numbers in [0, 1)."""
    grid = torch.arange(1000) / 1000
    scores = torch.tensor(SHARES).log().expand(len(grid), -1)
    return len(set(Nucleus(p).choose(scores, grid).tolist()))


@pytest.mark.parametrize(
    # Just above and below one half, as at it rounding decides whether the likeliest token alone "exceeds" it.
    ("p", "wanted"),
    [(0.9, 3), (0.5 + 1e-6, 2), (0.5 - 1e-6, 1), (1e-9, 1), (0.96, 4), (1.0, 4)],
)
def test_a12_the_nucleus_keeps_the_likeliest_until_their_mass_exceeds_p(p: float, wanted: int) -> None:
    assert kept(p) == wanted


@pytest.mark.parametrize("p", [0.0, -1.0])
def test_a12_no_share_to_keep_is_refused_where_the_release_would_keep_all(p: float) -> None:
    with pytest.raises(ConfigError, match="nucleus p"):
        Nucleus(p)
