"""A context becomes candidate replies, one per latent, ranked by a score (PLATO, A12)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange
from menura.decoding.beam import EndIds, end_ids
from menura.decoding.generate import Decoding, generate
from menura.errors import ConfigError, shown
from menura.models.dialogue_model import ChoosesReplies, DialogueModel, HasLatents, nll_of

RankBy = Literal["rs", "lm", "lm-norm", "mixture", "persona"]
Ranker = Callable[[Batch], Tensor]  # exchanges with candidates as replies -> (B,) scores, the higher the better
ROWS_AT_ONCE = 64  # candidates generated in one batch: bounds memory, changes no reply


@dataclass(frozen=True)
class Ranking:
    """Which candidates are generated, and by which score they are ranked.

    ``by``: ``rs`` is response selection, ``lm`` log p(r | c, z), ``lm-norm`` the same per token, ``mixture``
    log p(r | c) per token, ``persona`` how much likelier the persona makes r than the un-adapted model, which only
    whoever has both can score (``rank`` of ``candidates``). ``top`` takes only the likeliest latents of the prior
    (0 = all), with ``each`` replies per latent. Candidates that are unfinished, empty, or repeat ``repeats`` tokens in
    a row (0 = not checked) come last.
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
        """A warning about this ranking, empty if there is none."""
        if self.by in ("lm", "lm-norm"):
            return f"ranked by {self.by}: likelihoods under different latents do not compare; rs, or mixture, does"
        return ""

    def check(self, model: DialogueModel[Any]) -> None:
        """Raise ConfigError if the model lacks the score."""
        able = isinstance(model, ChoosesReplies) and model.chooses
        if self.by == "rs" and not able:
            raise ConfigError(
                "ranked by rs, but this model has no response selection",
                hint="rank by lm-norm, or take a model with latents",
            )

    def check_persona(self, *, adapted: bool) -> None:
        """Raise ConfigError where replies are to be ranked by a persona and there is none."""
        if self.by == "persona" and not adapted:
            message = "ranked by persona, but this is the un-adapted model: it has none"
            raise ConfigError(message, hint="rank by lm-norm, or take a persona")


@dataclass(frozen=True)
class RankedReply:
    """A reply under a latent (None: a model without latents), with its scores.

    ``score`` is the score of the ranking, the higher the better; ``nll`` is under the latent, in nats; ``coherence`` is
    the logit of response selection.
    """

    latent: int | None
    ids: tuple[int, ...]
    ended: bool
    score: float
    nll: float | None = None
    coherence: float | None = None


def candidates(  # noqa: PLR0913  # each one changes the candidates, so none may have a silent default
    model: DialogueModel[Any],
    prompts: Sequence[EncodedExchange],
    choice: Decoding,
    ranking: Ranking,
    *,
    end: EndIds,
    max_new_tokens: int,
    seeds: Sequence[int],
    rank: Ranker | None = None,
    min_new_tokens: int = 0,
) -> list[list[RankedReply]]:
    """Return the candidates of each prompt, the best first; of equal scores the lowest latent first.

    ``seeds`` (one per prompt) seed the sampling; each latent has its own random numbers. ``rank`` replaces
    ``ranking.by``. A model without latents gives ``ranking.each`` sampled replies.
    """
    if rank is None:
        ranking.check(model)
        ranking.check_persona(adapted=False)
    latents = [_latents(model, prompt, ranking) for prompt in prompts]
    found = []
    for prompt, acts, seed in zip(prompts, latents, seeds, strict=True):
        said = _said(
            model,
            prompt,
            acts,
            choice,
            end=end,
            max_new_tokens=max_new_tokens,
            seed=seed,
            min_new_tokens=min_new_tokens,
        )
        replies = model.batch([replace(prompt, reply=(*ids, end_ids(end)[0])) for ids in said])
        scores, nll, coherence = _scored(model, replies, acts, ranking, rank)
        made = [
            RankedReply(act, tuple(ids), len(ids) < max_new_tokens, *about)
            for act, ids, about in zip(acts, said, zip(scores, nll, coherence, strict=True), strict=True)
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
    end: EndIds,
    max_new_tokens: int,
    seed: int,
    min_new_tokens: int,
) -> list[list[int]]:
    """Return the reply under each latent; if latents share a context it is read once."""
    said: list[list[int]] = []
    for start in range(0, len(acts), ROWS_AT_ONCE):
        some = acts[start : start + ROWS_AT_ONCE]
        rows = model.batch([prompt] * len(some))
        latents = [act for act in some if act is not None]
        begun = (
            model.prefill_latents(model.batch([prompt]), latents) if isinstance(model, HasLatents) and latents else None
        )
        streams = [seed * 1009 + number for number in range(start, start + len(some))]
        said += generate(
            model,
            rows,
            choice,
            end=end,
            max_new_tokens=max_new_tokens,
            seeds=streams,
            prefilled=begun,
            min_new_tokens=min_new_tokens,
        )
    return said


@torch.no_grad()
def _scored(
    model: DialogueModel[Any],
    replies: Batch,
    acts: Sequence[int | None],
    ranking: Ranking,
    rank: Ranker | None,
) -> tuple[list[float], Sequence[float | None], Sequence[float | None]]:
    """Return each candidate's score, its NLL under its latent, its coherence; None for what was not computed."""
    nothing: Sequence[float | None] = [None] * len(acts)
    coherence, nll = nothing, nothing
    tokens = replies.reply_lengths
    if isinstance(model, ChoosesReplies) and model.chooses:
        coherence = model.reply_scores(replies).tolist()
    if rank is not None:
        return rank(replies).tolist(), nll, coherence
    if ranking.by == "rs":
        return [float(score) for score in coherence if score is not None], nll, coherence
    if ranking.by == "mixture":
        return (-nll_of(model, replies) / tokens).tolist(), nll, coherence
    latents = [act for act in acts if act is not None]
    own = model.nll_under(replies, latents) if isinstance(model, HasLatents) and latents else nll_of(model, replies)
    scores = -own / tokens if ranking.by == "lm-norm" else -own
    return scores.tolist(), own.tolist(), coherence


def _spoilt(candidate: RankedReply, repeats: int) -> bool:
    """Tell whether a candidate is unfinished, empty, or repeats itself."""
    ids = candidate.ids
    runs = [ids[at : at + repeats] for at in range(len(ids) - repeats + 1)] if repeats else []
    return not candidate.ended or not ids or len(set(runs)) < len(runs)


def ranking(by: str, *, top: int = 0) -> Ranking:
    """Return a ranking of candidates by its name; ConfigError for an unknown one."""
    match by:
        case "rs" | "lm" | "lm-norm" | "mixture" | "persona":
            return Ranking(by, top)
    raise ConfigError(f"--rank-by {shown(by)}: one of rs, lm, lm-norm, mixture, persona wanted")
