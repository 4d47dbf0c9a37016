"""A context becomes candidate replies, one a latent act, ranked by what is asked of them (PLATO, A12)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange
from menura.decoding.generate import Decoding, generate
from menura.errors import ConfigError
from menura.models.dialogue_model import ChoosesReplies, DialogueModel, HasLatents, nats_of

RankBy = Literal["rs", "lm", "lm-norm", "mixture"]
Ranker = Callable[[Batch], Tensor]  # exchanges with their candidates for replies -> (B,) scores, the higher the better
ROWS_AT_ONCE = 64  # candidates in one generation: bounds memory, changes no reply


@dataclass(frozen=True)
class Ranking:
    """Which candidates there are, and what the best one is best by.

    ``rs`` is response selection, ``lm`` log p(r | c, z), ``lm-norm`` the same a token, ``mixture`` log p(r | c) a
    token. ``top`` takes only the latents that the prior thinks likeliest (0 = all), ``each`` replies of each latent.
    Candidates that did not end, say nothing, or say ``repeats`` tokens in a row twice (0 = not asked) stand last.
    """

    by: RankBy = "rs"
    top: int = 0
    each: int = 1
    repeats: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that leave no candidate."""
        for name, least in (("top", 0), ("each", 1), ("repeats", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"candidates, {name}: {getattr(self, name)}, must be at least {least}")

    @property
    def caution(self) -> str:
        """Say what speaks against ranking so, empty if nothing does."""
        if self.by in ("lm", "lm-norm"):
            return f"ranked by {self.by}: likelihoods under different latents do not compare; rs, or mixture, does"
        return ""

    def check(self, model: DialogueModel[Any]) -> None:
        """Raise ConfigError where the model cannot be ranked so."""
        able = isinstance(model, ChoosesReplies) and model.chooses
        if self.by == "rs" and not able:
            raise ConfigError(
                "ranked by rs, but this model has no response selection",
                hint="rank by lm-norm, or take a model with latents",
            )


@dataclass(frozen=True)
class Candidate:
    """A reply under a latent (None: of a model without any), with all that was asked about it, in nats.

    ``score`` is what it was ranked by, the higher the better; ``coherence`` is the logit of response selection.
    """

    latent: int | None
    ids: tuple[int, ...]
    ended: bool
    score: float
    nats: float | None = None
    coherence: float | None = None


def candidates(  # noqa: PLR0913  # each one changes the candidates, so none may have a silent default
    model: DialogueModel[Any],
    prompts: Sequence[EncodedExchange],
    choice: Decoding,
    ranking: Ranking,
    *,
    end: int,
    limit: int,
    seeds: Sequence[int],
    rank: Ranker | None = None,
    least: int = 0,
) -> list[list[Candidate]]:
    """Return the candidates of each prompt, the best first; the lowest latent of those that score alike.

    ``seeds``, one a prompt, make the streams; each latent has its own. ``rank`` stands in place of ``ranking.by``. A
    model without latents gives ``ranking.each`` replies, drawn one by one.
    """
    if rank is None:
        ranking.check(model)
    latents = [_latents(model, prompt, ranking) for prompt in prompts]
    found = []
    for prompt, acts, seed in zip(prompts, latents, seeds, strict=True):
        said = _said(model, prompt, acts, choice, end=end, limit=limit, seed=seed, least=least)
        spoken = model.batch([replace(prompt, reply=(*ids, end)) for ids in said])
        scores, nats, coherence = _judged(model, spoken, acts, ranking, rank)
        made = [
            Candidate(act, tuple(ids), len(ids) < limit, *about)
            for act, ids, about in zip(acts, said, zip(scores, nats, coherence, strict=True), strict=True)
        ]
        found.append(sorted(made, key=lambda one: (_spoilt(one, ranking.repeats), -one.score)))
    return found


def _latents(model: DialogueModel[Any], prompt: EncodedExchange, ranking: Ranking) -> list[int | None]:
    """Return the latent of each candidate."""
    if not (isinstance(model, HasLatents) and model.latents):
        return [None] * ranking.each
    acts = list(range(model.latents))
    if 0 < ranking.top < len(acts):
        log_prior = model.latent_prior(model.batch([prompt]))[0].tolist()
        acts = sorted(sorted(acts, key=lambda act: (-log_prior[act], act))[: ranking.top])
    return [act for act in acts for _ in range(ranking.each)]


@torch.no_grad()
def _said(  # noqa: PLR0913  # as above
    model: DialogueModel[Any],
    prompt: EncodedExchange,
    acts: Sequence[int | None],
    choice: Decoding,
    *,
    end: int,
    limit: int,
    seed: int,
    least: int,
) -> list[list[int]]:
    """Return what is said under each latent; those that share a context read it once."""
    said: list[list[int]] = []
    for start in range(0, len(acts), ROWS_AT_ONCE):
        some = acts[start : start + ROWS_AT_ONCE]
        rows = model.batch([prompt] * len(some))
        latents = [act for act in some if act is not None]
        begun = model.begin_with(model.batch([prompt]), latents) if isinstance(model, HasLatents) and latents else None
        streams = [seed * 1009 + number for number in range(start, start + len(some))]
        said += generate(model, rows, choice, end=end, limit=limit, seeds=streams, begun=begun, least=least)
    return said


@torch.no_grad()
def _judged(
    model: DialogueModel[Any],
    spoken: Batch,
    acts: Sequence[int | None],
    ranking: Ranking,
    rank: Ranker | None,
) -> tuple[list[float], Sequence[float | None], Sequence[float | None]]:
    """Return by candidate its score, its nats under its latent, its coherence; None for what was not asked."""
    nothing: Sequence[float | None] = [None] * len(acts)
    coherence, nats = nothing, nothing
    tokens = spoken.reply_tokens
    if isinstance(model, ChoosesReplies) and model.chooses:
        coherence = model.reply_scores(spoken).tolist()
    if rank is not None:
        return rank(spoken).tolist(), nats, coherence
    if ranking.by == "rs":
        return [float(score) for score in coherence if score is not None], nats, coherence
    if ranking.by == "mixture":
        return (-nats_of(model, spoken) / tokens).tolist(), nats, coherence
    latents = [act for act in acts if act is not None]
    own = model.nats_under(spoken, latents) if isinstance(model, HasLatents) and latents else nats_of(model, spoken)
    scores = -own / tokens if ranking.by == "lm-norm" else -own
    return scores.tolist(), own.tolist(), coherence


def _spoilt(candidate: Candidate, repeats: int) -> bool:
    """Tell whether a candidate never ended, says nothing, or repeats itself."""
    ids = candidate.ids
    runs = [ids[at : at + repeats] for at in range(len(ids) - repeats + 1)] if repeats else []
    return not candidate.ended or not ids or len(set(runs)) < len(runs)
