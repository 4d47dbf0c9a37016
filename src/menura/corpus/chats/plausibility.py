"""A chat as a whole is looked at: what is likely read wrongly, or too little to learn from."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from menura.corpus.chats.cleaning import privacy
from menura.corpus.chats.message import Event, Message, Notes, Start, listed_kinds
from menura.corpus.speakers import few
from menura.errors import shown

if TYPE_CHECKING:
    from menura.corpus.chats.reading import ChatReading

LONG_DIALOGUE = 1000  # turns
MANY_NAMES = 10  # from which on a name a turn is suspicious
NAMES_LISTED = 5
HEADING_WORDS = frozenset(
    [
        "title",
        "author",
        "authors",
        "date",
        "subject",
        "topic",
        "language",
        "source",
        "scene",
        "setting",
        "characters",
        "participants",
        "created",
        "updated",
        "tags",
        "description",
        "version",
        "licence",
        "license",
        "titel",
        "autor",
        "datum",
        "thema",
        "quelle",
        "titre",
        "auteur",
        "sujet",
        "langue",
        "titulo",
        "título",
        "fecha",
        "titolo",
        "autore",
        "data",
        "tema",
        "título",
    ]
)
NOT_LETTERS = re.compile(r"[\W\d_]+")


def heading(events: Sequence[Event], notes: Notes) -> int:
    """Return how many events at the start are a heading, such as front matter, and note it.

    A heading is a block before the first blank line whose names speak once each and nowhere else, one of them a word
    that headings have.
    """
    end = next((i for i, event in enumerate(events) if isinstance(event, Start) and event.blank), 0)
    block = [event for event in events[:end] if isinstance(event, Message)]
    after = Counter(event.speaker for event in events[end:] if isinstance(event, Message))
    names = Counter(message.speaker for message in block)
    told = {name.casefold() for name in names} & HEADING_WORDS
    if not told or len(after) < 2 or any(names[name] > 1 or name in after for name in names):
        return 0
    listed = ", ".join(shown(name) for name in names)
    lines = f"lines {block[0].line}-{block[-1].line}" if len(block) > 1 else f"line {block[0].line}"
    notes.dropped["heading"] += len(block)
    notes.warn("heading", f"{lines}: {listed} speak once each and nowhere else; left out", block[0].line)
    return end + 1


def alike(names: Collection[str], notes: Notes) -> None:
    """Note names that differ in case, accents, digits or signs alone, or of which one begins the other."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        groups[_folded(name)].append(name)
    for folded, group in groups.items():
        if len(group) > 1 and folded:
            listed = ", ".join(shown(name) for name in group)
            hint = f'if they are one person: --same "{group[0]}={group[1]}"'
            notes.warn("alike", f"names alike, read as different people: {listed}", hint=hint)
    longer = [(a, b) for a in names for b in names if b.startswith(f"{a} ")] if len(names) <= MANY_NAMES else []
    for short, long in sorted(longer):
        hint = f'if they are one person: --same "{short}={long}"'
        notes.warn("alike", f"names alike, read as different people: {shown(short)}, {shown(long)}", hint=hint)


def look_at_all(reading: "ChatReading", dialogues: int, longest: int) -> None:
    """Note what is doubtful about a chat that was read to its end."""
    notes = reading.notes
    if not dialogues:
        _nothing(reading)
        return
    named = notes.persona in reading.replies
    who = notes.persona if named else max(reading.replies, key=reading.replies.__getitem__)
    aside = "" if named or len(reading.replies) == 1 else "who replies most"
    card = bool(notes.card)
    if problem := few(who, reading.replies[who], dialogues, place=notes.name, aside=aside, of_card=card):
        notes.add(problem)
    if longest > LONG_DIALOGUE:
        notes.warn("long_dialogue", f"one dialogue has {longest:,} turns", hint="cut it by silence: --gap 1h")
    if reading.format.guessed:
        _one_turn(reading)
        if exported := notes.dropped["media"] + notes.dropped["deleted"]:
            said = "looks like a WhatsApp export but for the dates; dialogues cannot be cut by silence"
            notes.warn("near_miss", said, hint="export the chat again and leave the dates in", count=exported)
    if notes.changed["mojibake"]:
        notes.warn("mojibake", "wrong letters mended (UTF-8 that was read as Latin-1)", count=notes.changed["mojibake"])
    done, hint = ("replaced", "") if reading.options.redact else ("found", "replace them before learning: --redact")
    for kind, count in notes.private.items():
        notes.warn(privacy.CODES[kind], f"{kind} {done}", notes.first_private[kind], hint=hint, count=count)


def _nothing(reading: "ChatReading") -> None:
    """Say why no dialogue is left."""
    notes = reading.notes
    if notes.errors or notes.card:  # a card's facts make a persona by themselves
        return
    if len(reading.speakers) == 1:
        said = f"only {shown(next(iter(reading.speakers)))} speaks: a persona learns replies, so two people are needed"
        notes.wrong("one_speaker", said, hint="export the chat with the other side's messages")
    elif notes.dropped:
        said = f"nothing is left to learn from: left out {listed_kinds(notes.dropped)}"
        notes.wrong("empty", said, hint="export the chat with its texts")
    else:
        notes.wrong("empty", "no dialogues found")


def _one_turn(reading: "ChatReading") -> None:
    """Note names that speak once where others speak more often: they may be a list's or a heading's."""
    once = [name for name, count in reading.turns.items() if count == 1]
    if len(reading.turns) <= 2 or not once:
        return
    if len(once) == len(reading.turns) and len(once) > MANY_NAMES:
        said = "as many speakers as turns: these may be no names"
        reading.notes.warn("one_turn", said, hint="menura data check shows how the file is read", count=len(once))
        return
    listed = ", ".join(shown(name) for name in once[:NAMES_LISTED])
    more = f" and {len(once) - NAMES_LISTED} more" if len(once) > NAMES_LISTED else ""
    hint = "a list or a heading? indent such lines to go on with the turn before"
    reading.notes.warn("one_turn", f"speaks once: {listed}{more}", reading.speakers[once[0]], hint=hint)


def _folded(name: str) -> str:
    apart = unicodedata.normalize("NFD", name.casefold())
    letters = "".join(c for c in apart if not unicodedata.combining(c))
    return NOT_LETTERS.sub("", letters) or name
