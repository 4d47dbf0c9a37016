"""Replies become a study: shuffled items that name no system, and the key that does."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from menura.annotation import protocols
from menura.annotation.protocols import Protocol, StudyPart
from menura.annotation.replies import Context, Replies
from menura.artefacts.files import read_json
from menura.errors import ConfigError, DataError, number_of

FORMAT, VERSION = "menura-annotation-key", 1
MOST_ITEMS = 100  # contexts: what CMAML and PLATO asked people about


@dataclass(frozen=True)
class KeyItem:
    """What an item is: one system, or two in the order shown, and the unit that it belongs to."""

    systems: tuple[str, ...]
    persona: str
    context: int


@dataclass(frozen=True)
class Key:
    """What raters never see: which system an item is of.

    ``same`` are pairs of one context whose replies are alike: nobody is asked, and each counts as a tie.
    """

    study: str
    protocol: Protocol
    ties: bool
    seed: int
    items: Mapping[str, KeyItem]
    same: tuple[KeyItem, ...] = ()

    def content(self) -> dict[str, Any]:
        """Return the key as JSON has it."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "study": self.study,
            "protocol": self.protocol.name,
            "ties": self.ties,
            "seed": self.seed,
            "items": {name: _plain(item) for name, item in self.items.items()},
            "same": [_plain(item) for item in self.same],
        }


@dataclass(frozen=True)
class Item:
    """What raters see of an item: the dialogue, and one reply to it, or two."""

    name: str
    context: Context
    replies: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """Items in the order of each part, by the part's name; the key stays with whoever asks."""

    key: Key
    parts: Mapping[str, tuple[Item, ...]]

    @property
    def protocol(self) -> Protocol:
        """What is asked."""
        return self.key.protocol


def make(replies: Replies, protocol: Protocol, *, ties: bool, items: int = MOST_ITEMS, seed: int) -> Study:
    """Return a study of at most ``items`` contexts (0 = all), drawn, shuffled and put to sides from ``seed``.

    Raises ConfigError where there are too few systems to compare, DataError where nothing is known of any person and
    the protocol needs it, or where nothing is left to ask.
    """
    if protocol.pairs and len(replies.by_system) < 2:
        raise ConfigError(
            f"one system, {next(iter(replies.by_system))}: two or more are compared",
            hint="give more RESULTS, leave --row out, or add --references",
        )
    drawn = _drawn(replies, protocol, items, seed)
    items_of, same = _items(replies, protocol, drawn, seed)
    if not items_of:
        raise DataError("all replies are the same: there is nothing to compare", code="nothing_to_ask")
    random.Random(f"{seed}:order").shuffle(items_of)
    width = len(str(len(items_of)))
    named = {f"{number:0{width}}": item for number, item in enumerate(items_of, start=1)}
    shown = {
        name: Item(
            name, replies.contexts[item.context], tuple(replies.by_system[s][item.context] for s in item.systems)
        )
        for name, item in named.items()
    }
    study = _study_id(protocol, named, shown, seed)
    key = Key(study, protocol, ties, seed, named, tuple(same))
    return Study(key, {part.name: _in_order(shown, part, seed) for part in protocol.parts})


def read_key(path: Path) -> Key:
    """Read a key; DataError where the file is none."""
    content = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}")
        if content["version"] > VERSION:
            raise DataError(
                f"a key of version {content['version']}, this program knows up to {VERSION}",
                place=str(path),
                code="newer_version",
            )
        return Key(
            content["study"],
            protocols.named(content["protocol"], ties=content["ties"]),
            content["ties"],
            content["seed"],
            {name: _item(item) for name, item in content["items"].items()},
            tuple(_item(item) for item in content["same"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"not a key of a study ({error!r})", place=str(path), code="schema") from error


def _plain(item: KeyItem) -> dict[str, Any]:
    return {"systems": list(item.systems), "persona": item.persona, "context": item.context}


def _item(content: Mapping[str, Any]) -> KeyItem:
    return KeyItem(tuple(content["systems"]), content["persona"], content["context"])


def _drawn(replies: Replies, protocol: Protocol, items: int, seed: int) -> list[int]:
    """Return which contexts are asked about."""
    usable = [
        place for place, context in enumerate(replies.contexts) if context.has_person or not protocol.needs_person
    ]
    if not usable:
        raise DataError(
            f"nothing is known of the persons of {number_of(len(replies.contexts), 'context')}: "
            "no facts, and no replies in other dialogues",
            hint="menura eval RUN --queries 2, or --protocol plato",
            code="unknown_person",
        )
    if not items or items >= len(usable):
        return usable
    return sorted(random.Random(f"{seed}:contexts").sample(usable, items))


def _items(
    replies: Replies, protocol: Protocol, drawn: Sequence[int], seed: int
) -> tuple[list[KeyItem], list[KeyItem]]:
    """Return the items to ask about, and pairs of the same replies."""
    systems = sorted(replies.by_system)
    persona = [context.persona_id for context in replies.contexts]
    if not protocol.pairs:
        return [KeyItem((name,), persona[place], place) for place in drawn for name in systems], []
    pairs = [KeyItem(pair, persona[place], place) for place in drawn for pair in combinations(systems, 2)]
    differ = [len({replies.by_system[name][item.context].strip() for name in item.systems}) > 1 for item in pairs]
    asked = [item for item, different in zip(pairs, differ, strict=True) if different]
    same = [item for item, different in zip(pairs, differ, strict=True) if not different]
    # Each system of a pair stands on the left half of the time.
    turned = [number % 2 == 1 for number in range(len(asked))]
    random.Random(f"{seed}:sides").shuffle(turned)
    sided = [
        KeyItem(item.systems[::-1] if turn else item.systems, item.persona, item.context)
        for item, turn in zip(asked, turned, strict=True)
    ]
    return sided, same


def _in_order(shown: Mapping[str, Item], part: StudyPart, seed: int) -> tuple[Item, ...]:
    items = list(shown.values())
    random.Random(f"{seed}:{part.name}").shuffle(items)
    return tuple(items)


def _study_id(protocol: Protocol, named: Mapping[str, KeyItem], shown: Mapping[str, Item], seed: int) -> str:
    """Return an id that no two sheets share, and that tells nothing of the systems."""
    texts = [[name, list(item.systems), list(shown[name].replies)] for name, item in named.items()]
    asked = [[question.name, list(question.values)] for question in protocol.questions]
    return hashlib.sha256(json.dumps([asked, seed, texts]).encode("utf-8", "surrogatepass")).hexdigest()[:12]
