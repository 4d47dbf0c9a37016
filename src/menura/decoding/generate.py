"""Step by step, a batch of prompts becomes a batch of replies. Shape letters: B rows, V vocabulary."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange
from menura.decoding.beam import Beam, EndIds, Hypothesis, beam_search, collapsed, end_ids, unended
from menura.decoding.sampling import Choice, Greedy, MinP, Nucleus, Penalised, uniforms
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, HasStepArgmax

Decoding = Choice | Beam


@torch.no_grad()
def generate(  # noqa: PLR0913  # each one changes the reply, so none may have a silent default
    model: DialogueModel[Any],
    batch: Batch,
    choice: Decoding,
    *,
    end: EndIds,
    max_new_tokens: int,
    seeds: Sequence[int],
    prefilled: Any = None,
    min_new_tokens: int = 0,
) -> list[list[int]]:
    """Return a reply's ids for every row: ``min_new_tokens`` to ``max_new_tokens`` tokens, without the ``end`` token.

    ``end`` is one token, or several at any of which generation stops.

    ``seeds`` (one per row) seed each row's sampling; batch, padding and order change no reply. ``prefilled`` is
    ``model.prefill(batch)``, if the caller has it already; it is consumed. A beam draws no random numbers.
    """
    if isinstance(choice, Beam):
        found = beam_search(
            model,
            batch,
            choice,
            end=end,
            max_new_tokens=max_new_tokens,
            prefilled=prefilled,
            min_new_tokens=min_new_tokens,
        )
        return [_ids(choice, best) for best, *_ in found]
    numbers = torch.stack([uniforms(seed, max_new_tokens) for seed in seeds])  # (rows still running, max_new_tokens)
    ends = end_ids(end)
    replies: list[list[int]] = [[] for _ in range(len(batch))]
    alive = list(range(len(batch)))  # the rows still running, in state order
    last = batch.prefix.ids[:, -1]  # which ``prefill`` does not read
    speaking = _Speaking(model, choice, batch, prefilled)
    for step in range(max_new_tokens):
        last = speaking.next(last, numbers[:, step], unless=end if step < min_new_tokens else None)
        tokens = last.tolist()
        running = [place for place, token in enumerate(tokens) if token not in ends]
        for place in running:
            replies[alive[place]].append(tokens[place])
        if not running:
            break
        if len(running) < len(alive):  # finished rows are dropped, so that the rest runs faster
            kept = torch.tensor(running, device=last.device)
            speaking.go_on_with(kept)
            last, numbers = last[kept], numbers[running]
            alive = [alive[place] for place in running]
    return replies


class _Speaking:
    """The decoding state of a batch of replies."""

    def __init__(self, model: DialogueModel[Any], choice: Choice, batch: Batch, prefilled: Any = None) -> None:
        self.model, self.choice = model, choice
        self._finder = model if isinstance(choice, Greedy) and isinstance(model, HasStepArgmax) else None
        self._state: Any = prefilled
        self._scores: Tensor | None = None  # logits of the next token, if the prefill gave them
        self._written: Tensor | None = None  # (B, T) the replies so far
        if prefilled is None and self._finder is not None:
            self._state = model.prefill(batch)
        elif prefilled is None:
            self._scores, self._state = model.prefill_logits(batch)

    def next(self, last: Tensor, uniform: Tensor, unless: EndIds | None = None) -> Tensor:
        """Return (B,) the tokens after ``last`` (B,), none of them ``unless``; ``uniform`` (B,) are random numbers."""
        if unless is None and self._scores is None and self._finder is not None:
            last, self._state = self._finder.step_argmax(self._state, last)
            return last
        scores, self._scores = self._scores, None
        if scores is None:
            scores, self._state = self.model.step_logits(self._state, last)
        if isinstance(self.choice, Penalised):
            return self._unlike_before(self.choice, scores, uniform, unless)
        scores = scores if unless is None else unended(scores, unless)
        return self.choice.choose(scores, uniform.to(scores.device))

    def _unlike_before(self, choice: Penalised, scores: Tensor, uniform: Tensor, unless: EndIds | None) -> Tensor:
        scores = scores if self._written is None else choice.penalised(scores, self._written)
        scores = scores if unless is None else unended(scores, unless)
        chosen = choice.choose(scores, uniform.to(scores.device))[:, None]
        self._written = chosen if self._written is None else torch.cat([self._written, chosen], 1)
        return chosen[:, 0]

    def go_on_with(self, rows: Tensor) -> None:
        """Keep some rows alone."""
        self._state = self.model.reorder_cache(self._state, rows)
        self._written = None if self._written is None else self._written[rows]


def several(
    model: DialogueModel[Any],
    prompt: EncodedExchange,
    choice: Decoding,
    *,
    end: EndIds,
    max_new_tokens: int,
    seeds: Sequence[int],
) -> list[list[int]]:
    """Return one reply to a prompt per seed; a beam's are its best, with more beams if it has fewer."""
    if not isinstance(choice, Beam):
        return generate(
            model, model.batch([prompt] * len(seeds)), choice, end=end, max_new_tokens=max_new_tokens, seeds=seeds
        )
    wide = replace(choice, num_beams=max(choice.num_beams, len(seeds)))
    (found,) = beam_search(model, model.batch([prompt]), wide, end=end, max_new_tokens=max_new_tokens)
    return [_ids(choice, hypothesis) for hypothesis in found[: len(seeds)]]


@torch.no_grad()
def stream(
    model: DialogueModel[Any], batch: Batch, choice: Decoding, *, end: EndIds, max_new_tokens: int, seed: int
) -> Iterator[int]:
    """Yield the ids of one row's reply as they are chosen; the same ids as from ``generate`` with this seed.

    A beam knows its reply only at the end, and yields it then.
    """
    assert len(batch) == 1, "one row is streamed at a time"
    if isinstance(choice, Beam):
        yield from generate(model, batch, choice, end=end, max_new_tokens=max_new_tokens, seeds=[seed])[0]
        return
    numbers, last = uniforms(seed, max_new_tokens), batch.prefix.ids[:, -1]
    speaking = _Speaking(model, choice, batch)
    for step in range(max_new_tokens):
        last = speaking.next(last, numbers[step : step + 1])
        if int(last) in end_ids(end):
            return
        yield int(last)


def _ids(beam: Beam, found: Hypothesis) -> list[int]:
    return collapsed(found.ids) if beam.collapse else list(found.ids)


def decoding(  # noqa: PLR0913  # each one changes the reply
    top_p: float = 0.92,
    temperature: float = 1.0,
    *,
    greedy: bool = False,
    num_beams: int = 0,
    collapse: bool = False,
    length_penalty: float = 0.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
) -> Decoding:
    """Return how replies are decoded: top-p sampling, greedy, or a beam (``num_beams`` above 0).

    ``min_p`` above 0 takes the place of ``top_p``. Raises ConfigError for settings that contradict one another.
    """
    if greedy and num_beams:
        raise ConfigError(
            "--greedy and --num-beams: two ways to find a reply", hint="leave --greedy out: a beam of 1 is greedy"
        )
    if collapse and not num_beams:
        raise ConfigError("--collapse: it is a beam's reply that is collapsed", hint="add --num-beams 5")
    if length_penalty and not num_beams:
        raise ConfigError("--length-penalty: it is a beam's replies that are long or short", hint="add --num-beams 5")
    if repetition_penalty != 1 and num_beams:
        raise ConfigError("--repetition-penalty: a beam takes none", hint="leave --num-beams out")
    if greedy and min_p:
        raise ConfigError("--greedy and --min-p: two ways to choose a token", hint="leave one of them out")
    if num_beams:
        return Beam(num_beams, length_penalty, collapse)
    sampled = MinP(min_p, temperature) if min_p else Nucleus(top_p, temperature)
    choice = Greedy() if greedy else sampled
    return choice if repetition_penalty == 1 else Penalised(choice, repetition_penalty)
