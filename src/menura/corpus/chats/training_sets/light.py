"""LIGHT's texts become messages, from JSON (``character``, ``speech``) or as ParlAI exports them (``_self_say``)."""

import re
from collections.abc import Iterator
from itertools import count

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.json_shape import shape
from menura.corpus.chats.message import Event, Message, Notes, Start
from menura.corpus.chats.training_sets import parlai
from menura.corpus.chats.training_sets.json_rows import Row, rows
from menura.corpus.chats.training_sets.json_turns import facts_of
from menura.corpus.personachat import OWN, PARTNER
from menura.corpus.schema import Schema
from menura.corpus.strict_json import step

MARKED = re.compile(r"_(self|partner)_(name|persona|say|act|emote)(?: (.*))?", re.DOTALL)
MARK = re.compile(r"_(?:self|partner)_(?:name|persona|say)\b|_task_speech\b")
SIDES = {"self": OWN, "partner": PARTNER}
ACTION = "action"


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    found = shape(head)
    if found.get("character") == found.get("speech") == "array":
        return 'JSON objects with "character" and "speech"'
    return 'ParlAI text with "_self_say"' if parlai.looks_like(head, name) and MARK.search(head) else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield what is said; actions and emotes are no turns."""
    notes.labels |= {PARTNER, OWN}
    if shape(file.head()):
        number = count(1)
        for row in rows(file, notes, ("character", "speech")):
            yield from _of_json(row, notes, number)
    else:
        yield from _of_parlai(file, notes)


def _of_json(row: Row, notes: Notes, number: Iterator[int]) -> Iterator[Event]:
    schema = Schema(notes.place(row.line))
    names = schema.items(row.value, "character", row.path)
    speeches = schema.items(row.value, "speech", row.path)
    if len(names) != len(speeches):
        schema.wrong(step(row.path, "speech"), f"has {len(speeches)} items, character has {len(names)}")
    said = []
    for (name_path, name), (path, speech) in zip(names, speeches, strict=False):
        # Who only does something says nothing.
        text = "" if speech is None else schema.words(speech, path, blank=True)
        speaker = schema.words(name, name_path)
        said.append(Message(speaker, text, row.line or next(number), dropped="" if text.strip() else ACTION))
    facts = _facts(schema, row, {message.speaker for message in said})
    for problem in schema.problems:
        notes.add(problem)
    yield Start(facts)
    yield from said


def _facts(schema: Schema, row: Row, speakers: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the personas of the agents, whose names may be written in other letters than those of the characters."""
    facts = {}
    written = {speaker.casefold(): speaker for speaker in speakers}
    given = row.value.get("agents")
    for path, item in schema.elements([] if given is None else given, step(row.path, "agents")):
        agent = schema.fields(item, path)
        name, persona = agent.get("name"), agent.get("persona")
        if isinstance(name, str) and isinstance(persona, str) and name.casefold() in written:
            facts[written[name.casefold()]] = facts_of(persona)
    return facts


def _of_parlai(file: ChatFile, notes: Notes) -> Iterator[Event]:
    episode = _Episode()
    for number, line in file.lines():
        if not line.strip():
            continue
        fields = parlai.fields_of(line)
        if "text" not in fields:
            notes.wrong("schema", 'no field "text:"', number, hint="fields stand between tabs, as ParlAI writes them")
            continue
        episode.read(fields, number)
        if fields.get("episode_done", "").strip().lower() in parlai.ENDS:
            yield from episode.events(notes)
            episode = _Episode()
    yield from episode.events(notes)


class _Episode:
    """Lines of ParlAI's text up to the one that ends an episode."""

    def __init__(self) -> None:
        self.names = dict(SIDES)
        self.personas: dict[str, str] = {}
        self.said: list[tuple[str, str, int]] = []  # (side, text, line)
        self.acted = 0

    def read(self, fields: dict[str, str], number: int) -> None:
        """Take one line in."""
        for line in parlai.unescaped(fields["text"]).split("\n"):
            match = MARKED.fullmatch(line)
            if match is None:
                continue
            side, kind, text = match[1], match[2], (match[3] or "").strip()
            if kind == "name" and text:
                self.names[side] = text
            elif kind == "persona":
                self.personas[side] = text
            elif kind == "say":
                self._say(side, text, number)
            else:
                self.acted += 1
        self._say("self", parlai.reply_of(fields).strip().removeprefix("_self_say").strip(), number)

    def _say(self, side: str, text: str, number: int) -> None:
        # A line repeats what self said last: that was the label of the line before.
        if text and (not self.said or self.said[-1][:2] != (side, text)):
            self.said.append((side, text, number))

    def events(self, notes: Notes) -> Iterator[Event]:
        """Yield the start and what was said."""
        if not self.said:
            return
        if self.acted:
            notes.dropped[ACTION] += self.acted
        facts = {self.names[side]: facts_of(persona) for side, persona in self.personas.items() if persona}
        yield Start(facts)
        for side, text, number in self.said:
            yield Message(self.names[side], text, number)
