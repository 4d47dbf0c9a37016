"""Numbers of AR+'s specification: decoding."""

from typing import Any

import pytest
import torch
from small_routing import AR, began, exchanges_of, routing, said, through

from menura.decoding.generate import generate
from menura.decoding.sampling import Nucleus
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


@pytest.mark.parametrize("settings", [{}, {"preset": "release"}, {"preset": "paper", "persona_path": "both"}, AR])
@torch.no_grad()
def test_a11_token_by_token_is_all_at_once(settings: dict[str, Any]) -> None:
    toy = routing(**settings)
    model, row = toy.model, exchanges_of(toy)[-1]
    ids = [row.prefix[-1], *row.reply[:-1]]
    states = through(model, 1, said(model, ids, "reply"), began(model, row), 1.0)
    output = model.table.weight if model.output is None else model.output.weight
    wanted = (states @ output.T).log_softmax(-1)
    state = model.prefill(model.batch([row]))
    for place, token in enumerate(ids):
        found, state = model.step(state, torch.tensor([token]))
        torch.testing.assert_close(found[0], wanted[place], rtol=0, atol=1e-10)


@pytest.mark.parametrize("settings", [{}, {"preset": "release"}, AR])
def test_a11_in_a_batch_each_row_says_what_it_says_alone(settings: dict[str, Any]) -> None:
    toy = routing(**settings)
    model, rows = toy.model, exchanges_of(toy)
    model.suppress_ids = tuple(sorted(toy.encoder.tokenizer.never_said() - {toy.end}))
    choice, seeds = Nucleus(0.9, temperature=0.7), list(range(len(rows)))
    limits = {"end": toy.end, "max_new_tokens": 15}
    alone = [
        generate(model, model.batch([row]), choice, seeds=[seed], **limits)[0]
        for row, seed in zip(rows, seeds, strict=True)
    ]
    assert generate(model, model.batch(rows), choice, seeds=seeds, **limits) == alone
    assert len({tuple(reply) for reply in alone}) > 1
    assert not {token for reply in alone for token in reply} & set(model.suppress_ids)
