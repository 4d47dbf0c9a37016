"""Step by step, a batch of prompts becomes a batch of replies. Shape letters: B rows, V vocabulary."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from menura.batches.batch import Batch
from menura.decoding.choice import Choice, uniforms
from menura.models.dialogue_model import DialogueModel


@torch.no_grad()
def generate(  # noqa: PLR0913  # each one changes the reply, so none may have a silent default
    model: DialogueModel[Any],
    batch: Batch,
    choice: Choice,
    *,
    end: int,
    limit: int,
    seeds: Sequence[int],
    begun: Any = None,
) -> list[list[int]]:
    """Return a reply's ids for every row: up to ``limit`` tokens, cut before the ``end`` token.

    ``seeds`` (one a row) make each row's random stream; batch mates, padding and order change no reply. ``begun`` is
    ``model.begin(batch)`` where the caller has it already; it is used up.
    """
    numbers = torch.stack([uniforms(seed, limit) for seed in seeds])  # (rows still running, limit)
    replies: list[list[int]] = [[] for _ in range(len(batch))]
    alive = list(range(len(batch)))  # the rows still running, in state order
    state, last = begun or model.begin(batch), _first(batch)
    for step in range(limit):
        log_probs, state = model.advance(state, last)
        chosen = choice.choose(log_probs, numbers[:, step].to(log_probs.device))
        tokens = chosen.tolist()
        running = [place for place, token in enumerate(tokens) if token != end]
        for place in running:
            replies[alive[place]].append(tokens[place])
        if not running:
            break
        if len(running) < len(alive):  # rows that ended leave, so that the rest runs faster
            kept = torch.tensor(running, device=chosen.device)
            state, chosen, numbers = model.select_rows(state, kept), chosen[kept], numbers[running]
            alive = [alive[place] for place in running]
        last = chosen
    return replies


@torch.no_grad()
def stream(
    model: DialogueModel[Any], batch: Batch, choice: Choice, *, end: int, limit: int, seed: int
) -> Iterator[int]:
    """Yield the ids of one row's reply as they are chosen; the same ids as ``generate`` with this seed."""
    assert len(batch) == 1, "one row is streamed at a time"
    numbers = uniforms(seed, limit)
    state, last = model.begin(batch), _first(batch)
    for step in range(limit):
        log_probs, state = model.advance(state, last)
        last = choice.choose(log_probs, numbers[step : step + 1].to(log_probs.device))
        if int(last) == end:
            return
        yield int(last)


def _first(batch: Batch) -> Tensor:
    """Return (B,) the token that opens the reply: the last of each prefix, which ``begin`` leaves unread."""
    return batch.prefix.ids[:, -1]
