"""The baselines quoted in MAMLviaPP's table, on the same base and tasks as its own rows (spec section 13, table 3).

TransferTransfo and P2 Bot, each with and without the next-utterance head. The quoted figures are from
the validation split of ConvAI2 with its own candidates; these runs are judged on the held-out personas of the rest.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.self_play import SelfPlay
from menura.models.causal_lm.p2_bot import P2BotConfig
from menura.models.causal_lm.transfer_transfo import TransferTransfoConfig
from menura.models.layers.adapters import Adapters
from menura.training.config import RunConfig, with_model
from menura.training.recipes import mamlviapp
from menura.training.recipes.mamlviapp import Size

ADAPTS = "lm.adapters"  # the adapted parameters: head, token types and receiver are shared by all personas
GAMES = {"tiny": (2, 1, 6), "cpu": (4, 2, 20), "paper": (8, 3, 32)}  # games, the persona's replies, tokens per reply
CHOICES = {"tiny": (2, 3), "cpu": (24, 3), "paper": (24, 3)}  # exchanges per episode, negatives of each
STEPS = {"cpu": 240}  # an untrained head needs more steps than a pretrained base
# Token-type embeddings are below the lowest layer, so gradients go all the way down anyway.
ADAPTERS = {"cpu": Adapters(bottleneck=32)}


def transfer_transfo(size: Size) -> RunConfig:
    """TransferTransfo: a language model with token types and a next-utterance head."""
    return _pooled("transfer_transfo", size, _transmitter(size))


def transfer_transfo_lm(size: Size) -> RunConfig:
    """TransferTransfo without the head: it ranks by likelihood."""
    return _pooled("transfer_transfo_lm", size, replace(_transmitter(size), next_utterance_weight=0.0))


def p2_bot(size: Size) -> RunConfig:
    """P2 Bot: pooled training of transmitter and receiver, in its second half with mutual self-play."""
    config = transfer_transfo(size)
    games, turns, limit = GAMES[size]
    model = P2BotConfig(**_values(_transmitter(size)))
    method = SelfPlay(_inner(size), ADAPTS, start_after=0.5, num_games=games, num_replies=turns, max_new_tokens=limit)
    return replace(config, recipe=f"quoted/p2_bot@{size}", model=model, method=method)


def p2_bot_lm(size: Size) -> RunConfig:
    """P2 Bot without the head: it ranks by likelihood, and coherence is no reward."""
    return with_model(replace(p2_bot(size), recipe=f"quoted/p2_bot_lm@{size}"), next_utterance_weight=0.0)


ROWS: dict[str, Callable[[Size], RunConfig]] = {
    f"quoted/{made.__name__}": made for made in (transfer_transfo, transfer_transfo_lm, p2_bot, p2_bot_lm)
}


def _pooled(row: str, size: Size, model: TransferTransfoConfig) -> RunConfig:
    config, method = mamlviapp.SETTINGS[size], Finetune(_inner(size), ADAPTS)
    outer = replace(config.outer, steps=STEPS.get(size, config.outer.steps))
    return replace(config, recipe=f"quoted/{row}@{size}", model=model, method=method, outer=outer)


def _transmitter(size: Size) -> TransferTransfoConfig:
    choices, negatives = CHOICES[size]
    config = TransferTransfoConfig(
        **_values(mamlviapp.SETTINGS[size].model), num_choice_exchanges=choices, num_negatives=negatives
    )
    return replace(config, adapters=ADAPTERS.get(size, config.adapters))


def _inner(size: Size) -> InnerLoop:
    method: Any = mamlviapp.SETTINGS[size].method
    inner: InnerLoop = method.inner
    return inner


def _values(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in fields(settings)}
