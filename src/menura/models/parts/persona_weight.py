"""Which replies teach how much a persona weighs, and the weight that each is learnt with (AR, Eq. 1).

Shape letters: B exchanges.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from menura.batches.encode import EncodedExchange
from menura.batches.profile import Slots


def telling(
    exchanges: Sequence[EncodedExchange], unexpressed_share: float, noise: random.Random
) -> tuple[EncodedExchange, ...]:
    """Return the replies that say something of their persona, and a drawn share of the others; at least one of all."""
    kept = tuple(e for e in exchanges if e.expresses or noise.random() < unexpressed_share)
    return kept or tuple(exchanges[:1])


def lent(exchanges: Sequence[EncodedExchange], share: float, noise: random.Random) -> tuple[EncodedExchange, ...]:
    """Return exchanges, of which a share of those that can are learnt as though another person had replied.

    They can where the reply says nothing of its own persona and something of others'. Half of the lenders are of these;
    the other half the reply says nothing of, so that not even a strange profile tells that the reply is about it.
    """
    able = [e for e in exchanges if e.lent and e.profiles and not e.expresses]
    drawn = {id(e) for e in able if noise.random() < share}
    return tuple(_said_by_another(e, able, noise) if id(e) in drawn else e for e in exchanges)


def _said_by_another(
    exchange: EncodedExchange, others: Sequence[EncodedExchange], noise: random.Random
) -> EncodedExchange:
    expresses = noise.random() < 0.5
    lender = _one_of(exchange if expresses else noise.choice(others), noise)
    told_of = any(lender in profiles for profiles in exchange.lent)
    return replace(exchange, profiles=(lender, *exchange.profiles[1:]), expresses=told_of)


def _one_of(exchange: EncodedExchange, noise: random.Random) -> Slots:
    return noise.choice(noise.choice(exchange.lent))


def graded(labels: Tensor, noise: random.Random) -> Tensor:
    """Return (B,) numbers a in [0, 1] drawn by labels (B,) of 0 or 1: of density 2a at 1, of density 2 (1 − a) at 0.

    Where there are as many of both labels, a is the chance that the label is 1.
    """
    drawn = torch.tensor([noise.random() ** 0.5 for _ in range(len(labels))]).to(labels)
    return torch.where(labels > 0, drawn, 1 - drawn)
