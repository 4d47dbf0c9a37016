"""An item as raters see it: who says what, and what is known of the person; no name of a system or of a person."""

from collections.abc import Mapping
from dataclasses import dataclass

from menura.annotation.study import Item

JUDGED, PARTNER = "Speaker", "Partner"


@dataclass(frozen=True)
class ShownTurn:
    """One turn: who says it, what, and whether it is the reply that is judged."""

    who: str
    text: str
    is_judged: bool = False


@dataclass(frozen=True)
class Side:
    """One dialogue, whole, up to the reply that is judged."""

    speaker: str
    lines: tuple[ShownTurn, ...]

    @property
    def text(self) -> str:
        """The dialogue as lines."""
        return "\n".join(f"{line.who}: {line.text}" for line in self.lines)


def sides(item: Item) -> tuple[Side, ...]:
    """Return the item's dialogue, or the two that are compared; people are named by what they are in it."""
    if len(item.replies) == 1:
        return (_side(item, JUDGED, item.replies[0]),)
    return tuple(_side(item, f"{JUDGED} {letter}", reply) for letter, reply in zip("AB", item.replies, strict=True))


def person(item: Item) -> tuple[str, ...]:
    """Return what is known of the person: facts, or else what the person wrote elsewhere."""
    return item.context.facts or item.context.examples


def person_title(item: Item) -> str:
    """Return what the lines about the person are."""
    return "About this person" if item.context.facts else "This person also wrote"


def _side(item: Item, speaker: str, reply: str) -> Side:
    names = _names(item, speaker)
    context = tuple(ShownTurn(names[who], text) for who, text in item.context.turns)
    return Side(speaker, (*context, ShownTurn(speaker, reply, is_judged=True)))


def _names(item: Item, speaker: str) -> Mapping[str, str]:
    """Return what everybody in the dialogue is called: a person's name may tell which data set it is from."""
    others = list(dict.fromkeys(who for who, _ in item.context.turns if who != item.context.speaker))
    called = {who: PARTNER if len(others) == 1 else f"{PARTNER} {n}" for n, who in enumerate(others, start=1)}
    return {item.context.speaker: speaker, **called}
