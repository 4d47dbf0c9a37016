"""The scorers by name: how each reads its examples, is built fresh, and is rebuilt from its folder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from menura.batches.tokenizer import Tokenizer
from menura.errors import ConfigError, shown
from menura.scorers import dialogue_nli, encoders
from menura.scorers.classifier import Classifier
from menura.scorers.data import Read, ScorerSplits, last_turns, rarest
from menura.scorers.emoji import EmojiClassifier, EmojiConfig, EmojiNetwork, words_learnt
from menura.scorers.entailment import LABELS, Entailment, NliConfig, PairNetwork

ScorerConfig = NliConfig | EmojiConfig
SUBSET_SIZE = 8  # test emojis of CMAML's MojiTalk tasks
MIN_TEST_REPLIES = 100  # replies of each in the test part
PREFIX = "scorer/"


@dataclass(frozen=True)
class ScorerSpec:
    """One scorer: ``fresh`` builds it from settings and data, ``rebuilt`` from its saved sizes, labels and tokens."""

    config: Callable[[], Any]
    read: Read
    fresh: Callable[[Any, ScorerSplits], Classifier]
    sizes: Callable[[Any], dict[str, Any]]  # the saved sizes for ``rebuilt``
    rebuilt: Callable[[dict[str, Any], Sequence[str], Tokenizer], Classifier]
    label_subset: Callable[[Any, ScorerSplits], tuple[str, ...]]  # the labels that are also evaluated among themselves
    top_k: tuple[int, ...]
    labels: tuple[str, ...] = ()  # fixed ones


def _fresh_nli(config: NliConfig, splits: ScorerSplits) -> Classifier:
    del splits
    encoder, tokenizer = encoders.load_encoder(config.encoder)
    return Entailment(PairNetwork(encoder, config.dropout), tokenizer, config.max_length)


def _sizes_of_nli(made: Entailment) -> dict[str, Any]:
    encoder = json.loads(made.network.encoder.config.to_json_string(use_diff=True))
    return {"encoder": encoder, "dropout": made.network.dropout.p, "max_length": made.max_length}


def _rebuilt_nli(sizes: dict[str, Any], labels: Sequence[str], tokenizer: Tokenizer) -> Classifier:
    encoder = encoders.of_sizes(sizes["encoder"])
    return Entailment(PairNetwork(encoder, sizes["dropout"]), tokenizer, sizes["max_length"], tuple(labels))


def _fresh_emoji(config: EmojiConfig, splits: ScorerSplits) -> Classifier:
    tokenizer = words_learnt([example.texts[0] for example in splits.train], config)
    sizes = {"hidden_size": config.hidden_size, "dropout": config.dropout, "max_length": config.max_length}
    return _rebuilt_emoji(sizes, splits.labels, tokenizer)


def _sizes_of_emoji(made: EmojiClassifier) -> dict[str, Any]:
    network = made.network
    return {
        "hidden_size": network.embeddings.embedding_dim,
        "dropout": network.dropout.p,
        "max_length": made.max_length,
    }


def _rebuilt_emoji(sizes: dict[str, Any], labels: Sequence[str], tokenizer: Tokenizer) -> Classifier:
    network = EmojiNetwork(len(tokenizer), sizes["hidden_size"], len(labels), sizes["dropout"])
    return EmojiClassifier(network, tokenizer, sizes["max_length"], tuple(labels))


def _label_subset_of_emoji(config: EmojiConfig, splits: ScorerSplits) -> tuple[str, ...]:
    named = tuple(label.strip() for label in config.within.split(",") if label.strip())
    unknown = sorted(set(named) - set(splits.labels))
    if unknown:
        raise ConfigError(
            f"within: {', '.join(map(shown, unknown))} stands nowhere in the training files",
            hint=f"known: {', '.join(splits.labels)}",
            code="unknown_label",
        )
    return named or rarest(splits, SUBSET_SIZE, MIN_TEST_REPLIES)


SCORERS: dict[str, ScorerSpec] = {
    "nli": ScorerSpec(
        *(NliConfig, dialogue_nli.read, _fresh_nli, _sizes_of_nli, _rebuilt_nli),
        label_subset=lambda config, splits: (),
        top_k=(1,),
        labels=LABELS,
    ),
    "emoji": ScorerSpec(
        *(EmojiConfig, last_turns, _fresh_emoji, _sizes_of_emoji, _rebuilt_emoji),
        label_subset=_label_subset_of_emoji,
        top_k=(1, 5),
    ),
}


def named(scorer_name: str) -> tuple[str, ScorerSpec]:
    """Return the name and the kind of ``scorer/NAME``; ConfigError with the nearest name if there is none."""
    name = scorer_name.removeprefix(PREFIX)
    if name in SCORERS:
        return name, SCORERS[name]
    near = get_close_matches(name, SCORERS, n=1)
    hint = f"did you mean {PREFIX}{near[0]}?" if near else f"known: {', '.join(PREFIX + known for known in SCORERS)}"
    raise ConfigError(f"unknown scorer {shown(name)}", hint=hint, code="unknown_scorer")
