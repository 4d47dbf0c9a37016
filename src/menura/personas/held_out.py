"""Held-out replies say whether adapting helped: how much likelier they became, and with what certainty."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from menura.adaptation.weights import PersonaWeights, check_finite, loss_with
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_memory import RememberedExchanges
from menura.batches.encode import EncodedDialogue, EncodedExchange
from menura.errors import number_of
from menura.memory.settings import MEMORY_TOKENS
from menura.models.dialogue_model import caching

ROUNDS = 2000  # of the bootstrap
SHARE = 95  # per cent of the interval


@dataclass(frozen=True)
class Likelier:
    """How much likelier a token of held-out replies became: exp(NLL before − NLL after) − 1.

    ``low`` and ``high`` are the ends of its 95 % interval (bootstrap over replies).
    """

    ratio: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Check:
    """NLL (nats, summed over a reply's tokens) of each held-out reply before and after adapting.

    ``stranger`` is that under the persona of somebody else; empty where there is none.
    """

    dialogues: int
    tokens: tuple[int, ...]
    nll_before: tuple[float, ...]
    nll_after: tuple[float, ...]
    nll_stranger: tuple[float, ...] = ()

    @property
    def before(self) -> float:
        """Perplexity per token before adapting; ``nan`` without held-out replies."""
        return self._perplexity(self.nll_before)

    @property
    def after(self) -> float:
        """Perplexity per token after adapting; ``nan`` without held-out replies."""
        return self._perplexity(self.nll_after)

    @property
    def likelier(self) -> Likelier:
        """How much likelier the replies became by adapting."""
        return self._ratio(self.nll_after)

    @property
    def likelier_as_stranger(self) -> Likelier | None:
        """How much likelier they would have become under somebody else's persona."""
        return self._ratio(self.nll_stranger) if self.nll_stranger else None

    def __str__(self) -> str:
        """Return the check in one line."""
        if not self.tokens:
            return "nothing was held out"
        found = self.likelier
        return (
            f"PPL {self.before:.1f} -> {self.after:.1f} on {number_of(len(self.tokens), 'held-out reply')}: "
            f"{_likelier(found.ratio)} ({_interval(found.low, found.high)})"
        )

    def record(self) -> dict[str, Any]:
        """Return the check as plain data for the persona's file."""
        found: dict[str, Any] = {
            "dialogues": self.dialogues,
            "replies": len(self.tokens),
            "ppl_before": _finite(self.before),
            "ppl_after": _finite(self.after),
        }
        if self.tokens:
            found["likelier"] = self.likelier.ratio
            found["likelier_interval"] = [self.likelier.low, self.likelier.high]
        if self.likelier_as_stranger:
            found["likelier_as_stranger"] = self.likelier_as_stranger.ratio
        return found

    def _perplexity(self, nll: tuple[float, ...]) -> float:
        return math.exp(sum(nll) / sum(self.tokens)) if self.tokens else math.nan

    def _ratio(self, nll: tuple[float, ...]) -> Likelier:
        gained, tokens = numpy.subtract(self.nll_before, nll), numpy.array(self.tokens)
        drawn = numpy.random.default_rng(0).integers(len(tokens), size=(ROUNDS, len(tokens)))
        ratios = numpy.expm1(gained[drawn].sum(1) / tokens[drawn].sum(1))
        low, high = numpy.percentile(ratios, [(100 - SHARE) / 2, (100 + SHARE) / 2])
        return Likelier(float(numpy.expm1(gained.sum() / tokens.sum())), float(low), float(high))


@torch.no_grad()
def checked(
    loaded: LoadedModel,
    weights: PersonaWeights,
    held_out: tuple[EncodedDialogue, ...],
    stranger: PersonaWeights | None = None,
    memory: RememberedExchanges | None = None,
) -> Check:
    """Return the check on held-out dialogues; NumericalError where a loss is not finite.

    With a ``memory`` the adapted model reads before each what the persona recalls, and mixes its cache in.
    """
    exchanges = tuple(exchange for dialogue in held_out for exchange in dialogue)
    if not exchanges:
        return Check(0, (), (), ())
    batch = loaded.model.batch(exchanges)
    before = loaded.model.loss(batch)
    read = (
        loaded.model.batch([_after_recalled(exchange, memory, loaded) for exchange in exchanges]) if memory else batch
    )
    with caching(loaded.model, memory.cache if memory else None):
        after = loss_with(loaded.model, weights, read)
    check_finite({"loss": after.total}, "held-out dialogues", "learn more slowly: --set inner.lr=1e-4")
    other = loss_with(loaded.model, stranger, batch).nll.tolist() if stranger else ()
    return Check(
        len(held_out),
        tuple(int(count) for count in before.tokens.tolist()),
        tuple(before.nll.tolist()),
        tuple(after.nll.tolist()),
        tuple(other),
    )


def _after_recalled(exchange: EncodedExchange, memory: RememberedExchanges, loaded: LoadedModel) -> EncodedExchange:
    recalled = memory.recall.recalled_for(exchange, loaded.encoder, MEMORY_TOKENS)
    return loaded.encoder.after(exchange, recalled, loaded.encoder.max_length) if recalled else exchange


def verdict(check: Check | None, speaker: str, seconds: float) -> str:
    """Return the check in words, with a warning where adapting did harm or too little is known."""
    if check is None or not check.tokens:
        return f"check  no dialogue was held out, so whether it helped is not known ({seconds:.1f} s)"
    found, other = check.likelier, check.likelier_as_stranger
    said = f"check  {_became(speaker, found.ratio, (found.low, found.high), other.ratio if other else None)}"
    said += f"\n       {_perplexities(check.before, check.after, len(check.tokens))} ({seconds:.1f} s)"
    if found.ratio < 0:
        hint = "hint: more dialogues, or a smaller --set inner.lr=3e-4"
        return f"{said}\nwarn[worse_than_base]: adapting made the held-out dialogues less likely ({hint})"
    if not found.sure:
        said += "\n       whether it helped is not sure, as the interval holds 0: more dialogues would tell"
    return said


def verdict_of(record: Mapping[str, Any], speaker: str) -> list[str]:
    """Return the check in a persona's record in words, a line each; empty where nothing was held out."""
    if not record.get("replies") or record.get("ppl_before") is None or record.get("ppl_after") is None:
        return []
    told = [_perplexities(record["ppl_before"], record["ppl_after"], record["replies"])]
    if "likelier" in record:  # earlier versions noted perplexities alone
        interval = record["likelier_interval"]
        told.insert(0, _became(speaker, record["likelier"], interval, record.get("likelier_as_stranger")))
    return told


def _became(speaker: str, ratio: float, interval: Sequence[float], stranger: float | None) -> str:
    said = f"{speaker}'s held-out replies became {_likelier(ratio)} ({_interval(*interval)})"
    return said if stranger is None else f"{said}; a stranger's persona would have made them {_likelier(stranger)}"


def _perplexities(before: float, after: float, replies: int) -> str:
    return f"PPL {before:.1f} -> {after:.1f} on {number_of(replies, 'reply')}"


def _likelier(ratio: float) -> str:
    return f"{abs(ratio):.0%}".replace("%", " % ") + ("likelier" if ratio >= 0 else "less likely")


def _interval(low: float, high: float) -> str:
    return f"95 % interval {100 * low:+.0f} % to {100 * high:+.0f} %"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
