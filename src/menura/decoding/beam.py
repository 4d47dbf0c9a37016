"""Beam search: a batch of prompts becomes, for each, its likeliest replies.

Shape letters: B prompts still searched, W live hypotheses per prompt, V vocabulary, T tokens so far.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from menura.batches.batch import Batch
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel

EndIds = int | tuple[int, ...]  # the token that ends a reply, or several that do


def end_ids(end: EndIds) -> tuple[int, ...]:
    """Return the tokens that end a reply."""
    return (end,) if isinstance(end, int) else end


@dataclass(frozen=True)
class Beam:
    """Keep the ``num_beams`` likeliest beginnings of a reply; finished hypotheses are set aside.

    A reply's score is the sum of its tokens' log-probabilities, end token included, over its number of tokens to the
    power ``length_penalty``: 0 is the plain sum (CMAML), 1 the mean. ``collapse`` drops, from the third on, each token
    that repeats the one before it, as CMAML's public program does with its results.
    """

    num_beams: int = 5
    length_penalty: float = 0.0
    collapse: bool = False

    def __post_init__(self) -> None:
        """Refuse a beam without hypotheses, and a negative length penalty."""
        if self.num_beams < 1:
            raise ConfigError(f"beam width: {self.num_beams}, must be at least 1")
        if self.length_penalty < 0:
            raise ConfigError(f"beam length penalty: {self.length_penalty}, must not be negative")

    @property
    def signature(self) -> str:
        """The line that identifies this decoding."""
        penalty = f", length_penalty={self.length_penalty}" if self.length_penalty else ""
        return f"beam(width={self.num_beams}{penalty}{', repeats collapsed' if self.collapse else ''})"

    def score(self, total: float, tokens: int) -> float:
        """Return a hypothesis's score, from its summed log-probabilities and number of tokens, end token included."""
        return total / float(tokens**self.length_penalty)


@dataclass(frozen=True)
class Hypothesis:
    """A reply without its end token, and its score; ``ended`` is False if it reached ``max_new_tokens``."""

    ids: tuple[int, ...]
    score: float
    ended: bool


@torch.no_grad()
def beam_search(  # noqa: PLR0913  # each one changes the replies
    model: DialogueModel[Any],
    batch: Batch,
    beam: Beam,
    *,
    end: EndIds,
    max_new_tokens: int,
    prefilled: Any = None,
    min_new_tokens: int = 0,
) -> list[list[Hypothesis]]:
    """Return for every row up to ``num_beams`` replies of ``min_new_tokens`` to ``max_new_tokens`` tokens, best first.

    ``end`` is the token, or are the tokens, that end a reply.

    A search ends when no live hypothesis can beat the worst of ``num_beams`` finished ones. Rows are independent of the
    rest of the batch. ``prefilled`` is ``model.prefill(batch)``, if the caller has it already; it is consumed.
    """
    last = batch.prefix.ids[:, -1]  # which ``prefill`` does not read
    scores, state = model.step_logits(prefilled, last) if prefilled else model.prefill_logits(batch)
    searches = [_Search(beam, max_new_tokens) for _ in range(len(batch))]
    live = _Live(
        list(searches), torch.zeros(len(batch), 1, dtype=scores.dtype, device=scores.device), [[()] for _ in searches]
    )
    for step in range(max_new_tokens):
        likely = scores.log_softmax(-1)
        parents, last = live.grow(unended(likely, end) if step < min_new_tokens else likely, end_ids(end))
        rows = live.leave()
        if not live.searches or step == max_new_tokens - 1:
            break
        state = model.reorder_cache(state, parents[rows].flatten())
        scores, state = model.step_logits(state, last[rows].flatten())
    live.cut_off()
    return [search.best() for search in searches]


def unended(scores: Tensor, end: EndIds) -> Tensor:
    """Return logits (…, V) with −inf at the tokens that end a reply."""
    return scores.index_fill(-1, torch.tensor(end_ids(end), device=scores.device), -torch.inf)


def collapsed(ids: tuple[int, ...]) -> list[int]:
    """Drop, from the third token on, each that equals the one before it."""
    return [token for place, token in enumerate(ids) if place < 2 or token != ids[place - 1]]


@dataclass
class _Search:
    """The finished hypotheses of one prompt."""

    beam: Beam
    limit: int
    found: list[Hypothesis] = field(default_factory=list)

    def end(self, ids: tuple[int, ...], total: float, *, ended: bool = True) -> None:
        """Add a finished hypothesis."""
        self.found.append(Hypothesis(ids, self.beam.score(total, len(ids) + ended), ended))

    def over(self, best_live: float) -> bool:
        """Tell whether no live hypothesis can beat the worst finished one; totals only fall."""
        best = self.best()
        return len(best) == self.beam.num_beams and best[-1].score >= self.beam.score(best_live, self.limit + 1)

    def best(self) -> list[Hypothesis]:
        """Return the best hypotheses; of equals the one found first."""
        return sorted(self.found, key=lambda hypothesis: -hypothesis.score)[: self.beam.num_beams]


@dataclass
class _Live:
    """The unfinished hypotheses: W of each prompt, by falling total (B, W)."""

    searches: list[_Search]
    totals: Tensor
    said: list[list[tuple[int, ...]]]

    def grow(self, likely: Tensor, ends: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Keep each prompt's likeliest continuations, from log-probabilities (B W, V); set finished ones aside.

        Returns (B, W) the rows of ``likely`` that they continue and (B, W) their new tokens.
        """
        prompts, width = self.totals.shape
        size, words = self.searches[0].beam.num_beams, likely.shape[-1]
        continued = (self.totals[:, :, None] + likely.view(prompts, width, words)).flatten(1)
        totals, places = continued.topk(min((1 + len(ends)) * size, width * words), -1)
        parents, tokens = places // words, places % words
        ended = torch.isin(tokens, torch.tensor(ends, device=tokens.device))
        self._set_aside(totals[:, :size], parents[:, :size], (ended & totals.isfinite())[:, :size])
        order = ended.long().argsort(dim=-1, stable=True)[:, : min(size, width * (words - len(ends)))]
        self.totals, parents, tokens = (each.gather(-1, order) for each in (totals, parents, tokens))
        self.said = [
            [(*said[parent], token) for parent, token in zip(*chosen, strict=True)]
            for said, chosen in zip(self.said, zip(parents.tolist(), tokens.tolist(), strict=True), strict=True)
        ]
        return parents + width * torch.arange(prompts, device=parents.device)[:, None], tokens

    def _set_aside(self, totals: Tensor, parents: Tensor, ended: Tensor) -> None:
        for prompt, place in ended.nonzero().tolist():
            said = self.said[prompt][int(parents[prompt, place])]
            self.searches[prompt].end(said, float(totals[prompt, place]))

    def leave(self) -> Tensor:
        """Drop prompts whose search is over; return the indices of those that stay."""
        best = self.totals[:, 0].tolist()
        stay = [place for place, search in enumerate(self.searches) if not search.over(best[place])]
        self.searches, self.said = [self.searches[p] for p in stay], [self.said[p] for p in stay]
        rows = torch.tensor(stay, dtype=torch.long, device=self.totals.device)
        self.totals = self.totals[rows]
        return rows

    def cut_off(self) -> None:
        """Finish all live hypotheses, without an end token."""
        for search, said, totals in zip(self.searches, self.said, self.totals.tolist(), strict=True):
            for ids, total in zip(said, totals, strict=True):
                search.end(ids, total, ended=False)
