"""Rewards in 0..1 of replies under different latents. Shape letters: B exchanges, S latents of each."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from menura.batches.encode import EncodedExchange, Ids
from menura.errors import ConfigError
from menura.models.dialogue_model import ChoosesReplies, DialogueModel

COMMON = 0.1  # a token in more than this share of the batch's utterances is not counted as a fact word

Replies = Sequence[Sequence[Ids]]  # of each exchange one per latent, the end token included
Reward = Callable[[DialogueModel[Any], Sequence[EncodedExchange], Replies], Tensor]  # -> (B, S) in 0..1


def selection(model: DialogueModel[Any], exchanges: Sequence[EncodedExchange], replies: Replies) -> Tensor:
    """Return response selection's probability of each reply; ConfigError for a model without it."""
    if not (isinstance(model, ChoosesReplies) and model.chooses):
        raise ConfigError("reward rs: this model has no response selection", hint="--set method.rewards=knowledge")
    spoken = [replace(e, reply=said, negatives=()) for e, own in zip(exchanges, replies, strict=True) for said in own]
    coherent: Tensor = model.reply_scores(model.batch(spoken)).sigmoid()
    return coherent.view(len(exchanges), -1)


def knowledge(model: DialogueModel[Any], exchanges: Sequence[EncodedExchange], replies: Replies) -> Tensor:
    """Return the share of each reply's rare tokens that are in the facts; 0 if none is rare.

    Rare is a token in at most a share ``COMMON`` of the utterances of these exchanges: common words identify nobody.
    """
    utterances = [set(piece) for exchange in exchanges for piece in _utterances(exchange)]
    counted = Counter(token for utterance in utterances for token in utterance)
    most = COMMON * len(utterances)

    def share(said: Ids, facts: set[int]) -> float:
        rare = {token for token in said if counted[token] <= most}
        return len(rare & facts) / max(len(rare), 1)

    return _table(
        model, [[share(said, set(e.facts)) for said in own] for e, own in zip(exchanges, replies, strict=True)]
    )


def distinct(model: DialogueModel[Any], exchanges: Sequence[EncodedExchange], replies: Replies) -> Tensor:
    """Return the share of each reply's token bigrams that no other latent's reply to the same context has."""
    del exchanges
    told = []
    for own in replies:
        pairs = [set(pairwise(said)) for said in own]
        owners = Counter(pair for some in pairs for pair in some)
        told.append([sum(owners[pair] == 1 for pair in some) / max(len(some), 1) for some in pairs])
    return _table(model, told)


REWARDS: Mapping[str, Reward] = {"rs": selection, "knowledge": knowledge, "distinct": distinct}


def rewards_named(names: str) -> dict[str, Reward]:
    """Return rewards by their names, comma-separated; ConfigError with the nearest name for an unknown one."""
    listed = [name.strip() for name in names.split(",") if name.strip()]
    for name in listed:
        if name not in REWARDS:
            near = get_close_matches(name, REWARDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(REWARDS)}"
            raise ConfigError(f"method.rewards: unknown reward {name!r}", hint=hint)
    if not listed:
        raise ConfigError("method.rewards: none is named", hint=f"known: {', '.join(REWARDS)}")
    return {name: REWARDS[name] for name in listed}


def _utterances(exchange: EncodedExchange) -> list[Ids]:
    """Return the turns of the context, and the reference."""
    pieces, start = [exchange.reply], 0
    for _, count in exchange.turns:
        pieces.append(exchange.context[start : start + count])
        start += count
    return pieces


def _table(model: DialogueModel[Any], rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32, device=model.device)
