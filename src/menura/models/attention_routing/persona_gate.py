"""Which replies teach how much a persona weighs, and the weight that each is learnt with (AR, Eq. 1).

Shape letters: B exchanges.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from menura.batches.encode import EncodedExchange
from menura.batches.profile import Lent, Slots

OTHERS = 5  # at most that much of a lent profile stands around what is told; a short one is sooner learnt from


def telling(
    exchanges: Sequence[EncodedExchange], unexpressed_share: float, noise: random.Random
) -> tuple[EncodedExchange, ...]:
    """Return the replies that say something of their persona, and a drawn share of the others; at least one of all."""
    kept = tuple(e for e in exchanges if e.expresses or noise.random() < unexpressed_share)
    return kept or tuple(exchanges[:1])


def with_lent_profiles(
    exchanges: Sequence[EncodedExchange], share: float, noise: random.Random
) -> tuple[EncodedExchange, ...]:
    """Return exchanges, of which a share of those that can are learnt as though another person had replied.

    They can where the reply says nothing of its own persona and something of others'. Half of the lenders are of these;
    the other half are of any reply's, mostly not told of, so that a strange profile alone does not tell that it is.
    """
    able = [e for e in exchanges if e.lent and e.profiles and not e.expresses]
    drawn = {id(e) for e in able if noise.random() < share}
    return tuple(_said_by_another(e, able, noise) if id(e) in drawn else e for e in exchanges)


def _said_by_another(
    exchange: EncodedExchange, others: Sequence[EncodedExchange], noise: random.Random
) -> EncodedExchange:
    teller = exchange if noise.random() < 0.5 else noise.choice(others)
    profile = _shortened(noise.choice(noise.choice(teller.lent)), noise)
    told = {slot for tells in exchange.lent for slot, _ in tells}
    return replace(exchange, profiles=(profile, *exchange.profiles[1:]), expresses=not told.isdisjoint(profile))


def _shortened(lent: Lent, noise: random.Random) -> Slots:
    """Return what tells something among a few other slots of its profile, in their order."""
    told, profile = lent
    others = [place for place, slot in enumerate(profile) if slot != told]
    kept = {profile.index(told), *noise.sample(others, min(noise.randint(0, OTHERS), len(others)))}
    return tuple(profile[place] for place in sorted(kept))


def graded(labels: Tensor, noise: random.Random) -> Tensor:
    """Return (B,) numbers a in [0, 1] drawn by labels (B,) of 0 or 1: of density 2a at 1, of density 2 (1 − a) at 0.

    Where there are as many of both labels, a is the chance that the label is 1.
    """
    drawn = torch.tensor([noise.random() ** 0.5 for _ in range(len(labels))]).to(labels)
    return torch.where(labels > 0, drawn, 1 - drawn)
