"""Is it the person? Whose persona makes held-out replies likeliest, among many.

Shape letters: N personas (as judges, and as owners of held-out replies), E replies of one owner.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

ROUNDS = 2000  # of the bootstrap over owners
SHARE = 95  # per cent of the interval
Numbers = NDArray[numpy.float64]


@dataclass(frozen=True)
class HeldOutReplies:
    """One person's held-out replies under every persona; a person without any is only one of those judged among.

    ``nll`` (N, E) are −log p (nats) of each reply under each persona, ``unadapted`` (E,) without any; ``tokens`` (E,)
    are lengths, ``dialogues`` (E,) the dialogue of each reply, numbered from 0.
    """

    nll: Numbers
    unadapted: Numbers
    tokens: Numbers
    dialogues: NDArray[numpy.int64]


@dataclass(frozen=True)
class Identified:
    """How often the likeliest persona is the person's own, and its mean rank (1 is best), with 95 % intervals."""

    by: str  # what is judged from: the dialogues, one dialogue, one reply
    corrected: bool
    personas: int
    top1: float
    top1_interval: tuple[float, float]
    rank: float
    rank_interval: tuple[float, float]

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**vars(self), "top1_interval": list(self.top1_interval), "rank_interval": list(self.rank_interval)}


def identified(owners: Sequence[HeldOutReplies], *, seed: int = 0) -> list[Identified]:
    """Return identification from all dialogues, from each dialogue and from each reply, raw and corrected.

    Owner i's own persona is row i of its ``nll``. A persona that makes everybody's replies likelier wins for others,
    too: corrected, its mean effect on a token of the other people's replies is removed before it is ranked.
    """
    parts: dict[str, Callable[[HeldOutReplies], list[NDArray[numpy.bool_]]]] = {
        "all dialogues": lambda own: [numpy.ones(len(own.tokens), dtype=bool)],
        "one dialogue": lambda own: [own.dialogues == number for number in numpy.unique(own.dialogues)],
        "one reply": lambda own: [numpy.arange(len(own.tokens)) == place for place in range(len(own.tokens))],
    }
    made = []
    for by, chosen in parts.items():
        for corrected in (False, True):
            ranks = [
                _ranks(owners, index, chosen(own), corrected=corrected)
                for index, own in enumerate(owners)
                if len(own.tokens)
            ]
            made.append(_summary(by, len(owners), ranks, corrected=corrected, seed=seed))
    return made


def _ranks(
    owners: Sequence[HeldOutReplies], index: int, parts: Sequence[NDArray[numpy.bool_]], *, corrected: bool
) -> Numbers:
    """Return the rank of an owner's own persona for each part of the replies, ties halved."""
    own = owners[index]
    effect = _mean_effect(owners, index) if corrected else numpy.zeros(len(own.nll))
    ranks = []
    for part in parts:
        score = own.nll[:, part].sum(1) / own.tokens[part].sum() - effect
        ranks.append(
            1 + (score < score[index]).sum() + (score == score[index])[numpy.arange(len(score)) != index].sum() / 2
        )
    return numpy.array(ranks, dtype=float)


def _mean_effect(owners: Sequence[HeldOutReplies], index: int) -> Numbers:
    """Return (N,) each persona's mean change of NLL per token on people other than itself and the owner judged.

    It is 0 where there are no others.
    """
    tokens = numpy.array([own.tokens.sum() for own in owners])
    change = numpy.array([(own.nll - own.unadapted).sum(1) for own in owners]) / numpy.maximum(tokens, 1)[:, None]
    others = ~numpy.eye(len(owners), dtype=bool) & (tokens > 0)[:, None]  # (owners, judges)
    others[index] = False
    mean: Numbers = numpy.where(others, change, 0).sum(0) / numpy.maximum(others.sum(0), 1)
    return mean


def _summary(by: str, personas: int, ranks: Sequence[Numbers], *, corrected: bool, seed: int) -> Identified:
    top1 = numpy.array([(own == 1).mean() for own in ranks])
    rank = numpy.array([own.mean() for own in ranks])
    drawn = numpy.random.default_rng(seed).integers(len(ranks), size=(ROUNDS, len(ranks)))
    ends = [(100 - SHARE) / 2, (100 + SHARE) / 2]

    def interval(values: Numbers) -> tuple[float, float]:
        low, high = numpy.percentile(values[drawn].mean(1), ends)
        return float(low), float(high)

    return Identified(by, corrected, personas, float(top1.mean()), interval(top1), float(rank.mean()), interval(rank))


def table(rows: Mapping[str, Sequence[Identified]]) -> str:
    """Return identification by system as a Markdown table."""
    lines = ["| system | from | ranked by | top-1 [95 %] | mean rank [95 %] |", "| --- | --- | --- | ---: | ---: |"]
    for system, found in rows.items():
        for one in found:
            ways = "change, less its mean on others" if one.corrected else "likelihood"
            low, high = (100 * end for end in one.top1_interval)
            near, far = one.rank_interval
            lines.append(
                f"| {system} | {one.by} | {ways} | {100 * one.top1:.0f} % [{low:.0f}, {high:.0f}] "
                f"| {one.rank:.1f} [{near:.1f}, {far:.1f}] of {one.personas} |"
            )
    return "\n".join(lines)
