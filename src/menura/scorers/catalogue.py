"""The scorers by name: how each reads its examples, is built fresh, and is rebuilt from its folder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from menura.batches.tokenizer import Tokens
from menura.errors import ConfigError, shown
from menura.scorers import dialogue_nli, encoders
from menura.scorers.classifier import Classifier
from menura.scorers.data import Parts, Read, last_turns, rarest
from menura.scorers.emoji import EmojiClassifier, EmojiConfig, EmojiNetwork, words_learnt
from menura.scorers.entailment import LABELS, Entailment, NliConfig, PairNetwork

ScorerConfig = NliConfig | EmojiConfig
WITHIN = 8  # test emojis of CMAML's MojiTalk tasks
ENOUGH = 100  # replies of each in the test part
PREFIX = "scorer/"


@dataclass(frozen=True)
class Kind:
    """One scorer: ``fresh`` builds it from settings and data, ``rebuilt`` from its saved sizes, labels and tokens."""

    config: Callable[[], Any]
    read: Read
    fresh: Callable[[Any, Parts], Classifier]
    sizes: Callable[[Any], dict[str, Any]]  # the saved sizes for ``rebuilt``
    rebuilt: Callable[[dict[str, Any], Sequence[str], Tokens], Classifier]
    within: Callable[[Any, Parts], tuple[str, ...]]  # the labels that are also evaluated among themselves
    tops: tuple[int, ...]
    labels: tuple[str, ...] = ()  # fixed ones


def _fresh_nli(config: NliConfig, parts: Parts) -> Classifier:
    del parts
    encoder, tokens = encoders.load_encoder(config.encoder)
    return Entailment(PairNetwork(encoder, config.dropout), tokens, config.max_length)


def _sizes_of_nli(made: Entailment) -> dict[str, Any]:
    encoder = json.loads(made.network.encoder.config.to_json_string(use_diff=True))
    return {"encoder": encoder, "dropout": made.network.dropout.p, "max_length": made.max_length}


def _rebuilt_nli(sizes: dict[str, Any], labels: Sequence[str], tokens: Tokens) -> Classifier:
    encoder = encoders.of_sizes(sizes["encoder"])
    return Entailment(PairNetwork(encoder, sizes["dropout"]), tokens, sizes["max_length"], tuple(labels))


def _fresh_emoji(config: EmojiConfig, parts: Parts) -> Classifier:
    tokens = words_learnt([example.texts[0] for example in parts.train], config)
    sizes = {"hidden_size": config.hidden_size, "dropout": config.dropout, "max_length": config.max_length}
    return _rebuilt_emoji(sizes, parts.labels, tokens)


def _sizes_of_emoji(made: EmojiClassifier) -> dict[str, Any]:
    network = made.network
    return {
        "hidden_size": network.embeddings.embedding_dim,
        "dropout": network.dropout.p,
        "max_length": made.max_length,
    }


def _rebuilt_emoji(sizes: dict[str, Any], labels: Sequence[str], tokens: Tokens) -> Classifier:
    network = EmojiNetwork(len(tokens), sizes["hidden_size"], len(labels), sizes["dropout"])
    return EmojiClassifier(network, tokens, sizes["max_length"], tuple(labels))


def _within_emoji(config: EmojiConfig, parts: Parts) -> tuple[str, ...]:
    named = tuple(label.strip() for label in config.within.split(",") if label.strip())
    unknown = sorted(set(named) - set(parts.labels))
    if unknown:
        raise ConfigError(
            f"within: {', '.join(map(shown, unknown))} stands nowhere in the training files",
            hint=f"known: {', '.join(parts.labels)}",
            code="unknown_label",
        )
    return named or rarest(parts, WITHIN, ENOUGH)


SCORERS: dict[str, Kind] = {
    "nli": Kind(
        *(NliConfig, dialogue_nli.read, _fresh_nli, _sizes_of_nli, _rebuilt_nli),
        within=lambda config, parts: (),
        tops=(1,),
        labels=LABELS,
    ),
    "emoji": Kind(
        *(EmojiConfig, last_turns, _fresh_emoji, _sizes_of_emoji, _rebuilt_emoji),
        within=_within_emoji,
        tops=(1, 5),
    ),
}


def named(target: str) -> tuple[str, Kind]:
    """Return the name and the kind of ``scorer/NAME``; ConfigError with the nearest name if there is none."""
    name = target.removeprefix(PREFIX)
    if name in SCORERS:
        return name, SCORERS[name]
    near = get_close_matches(name, SCORERS, n=1)
    hint = f"did you mean {PREFIX}{near[0]}?" if near else f"known: {', '.join(PREFIX + known for known in SCORERS)}"
    raise ConfigError(f"unknown scorer {shown(name)}", hint=hint, code="unknown_scorer")
