"""Exchanges get negatives: replies of other training personas, for models with a next-utterance loss."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from statistics import mean
from typing import Any

import torch

from menura.batches.encode import EncodedDialogue, EncodedEpisode, EncodedExchange
from menura.models.dialogue_model import DialogueModel, HasNegatives, Loss
from menura.training.data import EncodedTask

TRIES = 20  # draws for one negative; if nearly all replies are equal an exchange gets none


def with_negatives(
    episode: EncodedEpisode, tasks: Sequence[EncodedTask], model: HasNegatives, rng: random.Random
) -> EncodedEpisode:
    """Give some exchanges of an episode, drawn at random, ``model.num_negatives`` negatives from other tasks each.

    A negative is never the persona's own, never equal to the reply, never blank; those of an exchange all differ.
    """
    others = [task for task in tasks if task.persona_id != episode.persona_id]
    sides = (episode.support, episode.query)
    places = [(side, d, e) for side in (0, 1) for d, dialogue in enumerate(sides[side]) for e in range(len(dialogue))]
    if not others or not model.num_negatives:
        return episode
    given = {
        (side, d, e): tuple(_drawn(sides[side][d][e], others, model.num_negatives, rng))
        for side, d, e in rng.sample(places, min(model.num_choice_exchanges, len(places)))
    }

    def side_with(side: int) -> tuple[EncodedDialogue, ...]:
        return tuple(
            tuple(replace(exchange, negatives=given.get((side, d, e), ())) for e, exchange in enumerate(dialogue))
            for d, dialogue in enumerate(sides[side])
        )

    return replace(episode, support=side_with(0), query=side_with(1))


@torch.no_grad()
def auxiliary_loss(
    model: DialogueModel[Any], episodes: Sequence[EncodedEpisode], others: Sequence[EncodedTask]
) -> float:
    """Return the query loss beyond the replies' NLL per token, the mean over episodes; 0 without negatives.

    The negatives, from ``others``, are the same at every call, so that evaluations during training can be compared.
    """
    if not isinstance(model, HasNegatives) or not model.num_negatives:
        return 0.0
    found = []
    for episode in episodes:
        given = with_negatives(replace(episode, support=()), others, model, random.Random(episode.persona_id))
        loss: Loss = model.loss(model.batch(tuple(chain.from_iterable(given.query))))
        found.append(float(loss.total - loss.nll.sum() / loss.tokens.sum()))
    return mean(found)


def _drawn(
    exchange: EncodedExchange, others: Sequence[EncodedTask], count: int, rng: random.Random
) -> Iterator[EncodedExchange]:
    seen = {exchange.reply}
    for _ in range(count):
        for _ in range(TRIES):
            negative = rng.choice(rng.choice(rng.choice(others).dialogues))
            if len(negative.reply) > 1 and negative.reply not in seen:  # a single token is the end token
                seen.add(negative.reply)
                yield negative
                break
