"""Step by step, a batch of prompts becomes a batch of replies. Shape letters: B rows, V vocabulary."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

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
    last = batch.prefix.ids[:, -1]  # which ``begin`` leaves unread
    scores, state = model.advance_to_scores(begun, last) if begun else model.begin_to_scores(batch)
    for step in range(limit):
        if step:
            scores, state = model.advance_to_scores(state, last)
        last = choice.choose(scores, numbers[:, step].to(scores.device))
        tokens = last.tolist()
        running = [place for place, token in enumerate(tokens) if token != end]
        for place in running:
            replies[alive[place]].append(tokens[place])
        if not running:
            break
        if len(running) < len(alive):  # rows that ended leave, so that the rest runs faster
            kept = torch.tensor(running, device=last.device)
            state, last, numbers = model.select_rows(state, kept), last[kept], numbers[running]
            alive = [alive[place] for place in running]
    return replies


@torch.no_grad()
def stream(
    model: DialogueModel[Any], batch: Batch, choice: Choice, *, end: int, limit: int, seed: int
) -> Iterator[int]:
    """Yield the ids of one row's reply as they are chosen; the same ids as ``generate`` with this seed."""
    assert len(batch) == 1, "one row is streamed at a time"
    numbers, last = uniforms(seed, limit), batch.prefix.ids[:, -1]
    scores, state = model.begin_to_scores(batch)
    for step in range(limit):
        if step:
            scores, state = model.advance_to_scores(state, last)
        last = choice.choose(scores, numbers[step : step + 1].to(scores.device))
        if int(last) == end:
            return
        yield int(last)
