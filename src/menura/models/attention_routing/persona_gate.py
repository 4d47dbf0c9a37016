"""The replies from which the persona's weight is trained, and the weight of each in training (AR, Eq. 1).

Shape letters: B exchanges.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from menura.batches.encode import EncodedExchange
from menura.batches.speaker_profile import Lent, Slots

OTHERS = 5  # the most other slots of a lent profile beside the expressed one; short profiles are learnt faster


def telling(
    exchanges: Sequence[EncodedExchange], unexpressed_share: float, noise: random.Random
) -> tuple[EncodedExchange, ...]:
    """Return the replies that express a fact of their persona, and a drawn share of the others; at least one reply."""
    kept = tuple(e for e in exchanges if e.expresses_profile or noise.random() < unexpressed_share)
    return kept or tuple(exchanges[:1])


def with_lent_profiles(
    exchanges: Sequence[EncodedExchange], share: float, noise: random.Random
) -> tuple[EncodedExchange, ...]:
    """Return exchanges, a share of which gets the profile of another persona, as if that persona had replied.

    Eligible is a reply that expresses nothing of its own persona and a fact of others. Half of the lent profiles hold a
    fact that the reply expresses; the other half come from any eligible reply and mostly do not, so that a lent profile
    alone does not give the label away.
    """
    able = [e for e in exchanges if e.lent_profiles and e.profiles and not e.expresses_profile]
    drawn = {id(e) for e in able if noise.random() < share}
    return tuple(_said_by_another(e, able, noise) if id(e) in drawn else e for e in exchanges)


def _said_by_another(
    exchange: EncodedExchange, others: Sequence[EncodedExchange], noise: random.Random
) -> EncodedExchange:
    teller = exchange if noise.random() < 0.5 else noise.choice(others)
    profile = _shortened(noise.choice(noise.choice(teller.lent_profiles)), noise)
    told = {slot for tells in exchange.lent_profiles for slot, _ in tells}
    return replace(exchange, profiles=(profile, *exchange.profiles[1:]), expresses_profile=not told.isdisjoint(profile))


def _shortened(lent_profiles: Lent, noise: random.Random) -> Slots:
    """Return the expressed slot among a few other slots of its profile, in their order."""
    told, profile = lent_profiles
    others = [place for place, slot in enumerate(profile) if slot != told]
    kept = {profile.index(told), *noise.sample(others, min(noise.randint(0, OTHERS), len(others)))}
    return tuple(profile[place] for place in sorted(kept))


def graded(labels: Tensor, noise: random.Random) -> Tensor:
    """Return (B,) numbers a in [0, 1] drawn by labels (B,): with density 2a for label 1, 2 (1 − a) for label 0.

    If both labels are equally frequent, a is the probability that the label is 1.
    """
    drawn = torch.tensor([noise.random() ** 0.5 for _ in range(len(labels))]).to(labels)
    return torch.where(labels > 0, drawn, 1 - drawn)
