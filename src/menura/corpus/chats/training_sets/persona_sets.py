"""Published sets of dialogues with personas, in JSON: Hugging Face's Persona-Chat, MSC and BlendedSkillTalk."""

from collections.abc import Iterator
from itertools import count

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.json_shape import shape
from menura.corpus.chats.message import Event, Message, Notes, Start
from menura.corpus.chats.training_sets.json_rows import Row, rows
from menura.corpus.personachat import OWN, PARTNER, SILENCE
from menura.corpus.schema import Schema
from menura.corpus.strict_json import step

OVERLAP = 100  # turns of a shortened history that are looked for among those before it
MSC_LABELS = ("Speaker 1", "Speaker 2")
FREE, GUIDED = "free", "guided"  # the two workers of BlendedSkillTalk; who is guided was given suggestions
BST_PREVIOUS = ("previous_utterance", "free_turker_utterance", "guided_turker_utterance")
GIVEN = "given beforehand"


def looks_like_personality(head: str, name: str) -> str:
    """Return why a file's start is Hugging Face's Persona-Chat, else empty; ``name`` is the file's."""
    found = shape(head)
    whole = {"personality", "utterances"} <= found.keys()
    single = {"personality", "candidates", "history"} <= found.keys()
    return 'JSON objects with "personality"' if whole or single else ""


def personality_messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one dialogue for each object with utterances, or for each run of lines with one utterance each."""
    notes.labels |= {PARTNER, OWN}
    number = count(1)
    single: _Exchanges | None = None
    for row in rows(file, notes, ("personality", "utterances")):
        schema = Schema(notes.place(row.line))
        personality = row.value.get("personality", [])
        facts = schema.texts(personality, step(row.path, "personality"))
        if "utterances" in row.value:
            talk = _Exchanges(facts, row.line)
            for path, item in schema.items(row.value, "utterances", row.path):
                if isinstance(item, dict):
                    talk.read(schema, item, path)
                else:
                    schema.fields(item, path)
            yield from talk.events(number)
        else:
            conversation = row.value.get("conv_id"), facts
            if single is None or single.of != conversation:
                yield from single.events(number) if single else ()
                single = _Exchanges(facts, row.line, conversation)
            single.read(schema, row.value, row.path)
        for problem in schema.problems:
            notes.add(problem)
    yield from single.events(number) if single else ()


class _Exchanges:
    """Utterances of one dialogue, each with all that was said before it, or the last turns of that."""

    def __init__(self, facts: tuple[str, ...], line: int, of: object = None) -> None:
        self.facts, self.line, self.of = facts, line, of
        self.said: list[str] = []
        self.replied = False

    def read(self, schema: Schema, value: dict[str, object], path: str) -> None:
        """Take one utterance in: its history, and as reply the last of its candidates."""
        history = [schema.words(text, at, blank=True) for at, text in schema.items(value, "history", path)]
        candidates = schema.items(value, "candidates", path)
        if len(history) >= len(self.said):
            self.said = history
        else:
            longest = min(len(history), OVERLAP)
            alike = (length for length in range(longest, 0, -1) if self.said[-length:] == history[:length])
            self.said += history[next(alike, 0) :]
        self.replied = bool(candidates)
        if candidates:
            at, reply = candidates[-1]
            self.said.append(schema.words(reply, at, blank=True))

    def events(self, number: Iterator[int]) -> Iterator[Event]:
        """Yield the start and the turns, of which the last is one's own if it was a reply."""
        yield Start({OWN: self.facts} if self.facts else {})
        partners = (len(self.said) + (not self.replied)) % 2
        for index, text in enumerate(self.said):
            speaker = PARTNER if index % 2 == partners else OWN
            if text.replace(" ", "") != SILENCE:
                yield Message(speaker, text, self.line or next(number))


def looks_like_msc(head: str, name: str) -> str:
    """Return why a file's start is of the multi-session chats, else empty; ``name`` is the file's."""
    found = shape(head)
    if "personas" in found and found.get("dialog.item.text") == "text":
        return 'JSON objects with "personas" and "dialog"'
    return ""


def msc_messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the sessions of each object, the earlier ones first."""
    notes.labels |= set(MSC_LABELS)
    number = count(1)
    for row in rows(file, notes, ("dialog",)):
        schema = Schema(notes.place(row.line))
        before = row.value.get("previous_dialogs")
        for path, item in [] if before is None else schema.elements(before, step(row.path, "previous_dialogs")):
            if isinstance(item, dict):
                yield from _session(
                    Row(row.line, path, {"personas": row.value.get("personas"), **item}), schema, number
                )
            else:
                schema.fields(item, path)
        yield from _session(row, schema, number)
        for problem in schema.problems:
            notes.add(problem)


def _session(row: Row, schema: Schema, number: Iterator[int]) -> Iterator[Event]:
    said = []
    for index, (path, item) in enumerate(schema.items(row.value, "dialog", row.path)):
        turn = schema.fields(item, path)
        if isinstance(item, dict):
            # Sessions that lie before the one of the file come without ids: the two take turns.
            speaker = schema.text(turn, "id", path) if turn.get("id") is not None else MSC_LABELS[index % 2]
            said.append(Message(speaker, schema.text(turn, "text", path, blank=True), row.line or next(number)))
    names = sorted({message.speaker for message in said} - set(MSC_LABELS))
    yield Start(_facts(schema, row, MSC_LABELS if not names else tuple(names)))
    yield from said


def looks_like_bst(head: str, name: str) -> str:
    """Return why a file's start is of BlendedSkillTalk, else empty; ``name`` is the file's."""
    found = shape(head)
    if {"free_messages", "guided_messages"} <= found.keys():
        return 'JSON objects with "free_messages" and "guided_messages"'
    raw = "personas" in found and "free_turker_utterance" in found
    return 'JSON objects with "free_turker_utterance"' if raw else ""


def bst_messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the two utterances that were given beforehand, never learnt, then the messages in turn."""
    notes.labels |= {FREE, GUIDED}
    number = count(1)
    for row in rows(file, notes, ("free_messages", "free_turker_utterance", "dialog")):
        schema = Schema(notes.place(row.line))
        said = [Message(name, text, learnt=False) for name, text in _given(schema, row) if text.strip()]
        notes.context_only[GIVEN] += len(said)
        said += [Message(name, text) for name, text in _said(schema, row)]
        facts = _facts(schema, row, (FREE, GUIDED))
        for problem in schema.problems:
            notes.add(problem)
        yield Start(facts)
        for message in said:
            message.line = row.line or next(number)
            yield message


def _given(schema: Schema, row: Row) -> list[tuple[str, str]]:
    together, free, guided = BST_PREVIOUS
    if row.value.get(together) is not None:
        texts = [text for _, text in schema.elements(row.value[together], step(row.path, together))]
    else:
        texts = [row.value.get(free), row.value.get(guided)]
    paired = zip((FREE, GUIDED), texts, strict=False)
    return [(name, text) for name, text in paired if isinstance(text, str)]


def _said(schema: Schema, row: Row) -> Iterator[tuple[str, str]]:
    if "free_messages" not in row.value:
        for path, item in schema.items(row.value, "dialog", row.path):
            match schema.elements(item, path):
                case [(_, int(who)), (_, str(text))] if who in (0, 1):
                    yield (FREE, GUIDED)[who], text
                case _:
                    schema.wrong(path, "must be 0 or 1, then a text")
        return
    free = schema.items(row.value, "free_messages", row.path)
    guided = schema.items(row.value, "guided_messages", row.path)
    for index in range(max(len(free), len(guided))):
        for name, given in ((FREE, free), (GUIDED, guided)):
            if index < len(given):
                yield name, schema.words(given[index][1], given[index][0], blank=True)


def _facts(schema: Schema, row: Row, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the personas by name; a flat array is that of the last one, as Hugging Face has it."""
    given = row.value.get("personas")
    told = [] if given is None else schema.elements(given, step(row.path, "personas"))
    if told and all(isinstance(item, str) for _, item in told):
        return {names[-1]: tuple(str(item).strip() for _, item in told)}
    pairs = zip(names, told, strict=False)
    facts = {name: schema.texts(item, path) for name, (path, item) in pairs}
    return {name: lines for name, lines in facts.items() if lines}
