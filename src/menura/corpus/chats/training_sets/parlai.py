r"""ParlAI's text becomes dialogues between "partner" and "self": ``text:…<tab>labels:…<tab>episode_done:True`` a line.

``\n``, ``\t`` and ``__PIPE__`` stand for a line break, a tab and ``|``; of several labels the first is the reply.
"""

import re
from collections.abc import Iterator

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Start
from menura.corpus.personachat import OWN, PARTNER, PERSONA_LINES, SILENCE

FIELD = re.compile(r"([a-z_]{1,40}):(.*)", re.DOTALL)
LABELS = ("labels", "eval_labels")
TELLING = frozenset({*LABELS, "episode_done", "label_candidates"})
ENDS = frozenset({"true", "1"})


def fields_of(line: str) -> dict[str, str]:
    """Return the fields of a line by key; parts between tabs that have no key are left out."""
    found = (FIELD.fullmatch(part) for part in line.split("\t"))
    return {match[1]: match[2] for match in found if match}


def unescaped(text: str) -> str:
    """Return a field's text as it was before it was written into one line."""
    return text.replace("\\t", "\t").replace("\\n", "\n").replace("__PIPE__", "|")


def reply_of(fields: dict[str, str]) -> str:
    """Return the first label, empty where there is none."""
    labels = next((fields[key] for key in LABELS if key in fields), "")
    return unescaped(labels.split("|", 1)[0])


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    first = next((line for line in head.splitlines() if line.strip()), "")
    found = fields_of(first)
    return '"text:" and "labels:" between tabs' if "text" in found and TELLING & found.keys() else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield what the partner says and the reply, line by line; an episode that is done ends a dialogue."""
    notes.labels |= {PARTNER, OWN}
    facts: dict[str, tuple[str, ...]] = {}
    said: list[Message] = []
    for number, line in file.lines():
        if not line.strip():
            continue
        fields = fields_of(line)
        if "text" not in fields:
            notes.wrong("schema", 'no field "text:"', number, hint="fields stand between tabs, as ParlAI writes them")
            continue
        said += _asked(fields, facts, number)
        reply = reply_of(fields)
        if reply.strip():
            said.append(Message(OWN, reply, number))
        if fields.get("episode_done", "").strip().lower() in ENDS:
            yield from _dialogue(said, facts)
            said, facts = [], {}
    yield from _dialogue(said, facts)


def _dialogue(said: list[Message], facts: dict[str, tuple[str, ...]]) -> Iterator[Event]:
    if said:
        yield Start(facts)
        yield from said


def _asked(fields: dict[str, str], facts: dict[str, tuple[str, ...]], number: int) -> list[Message]:
    """Return what the partner says; lines of personas before it become facts."""
    lines: list[str] = []
    for line in unescaped(fields["text"]).split("\n"):
        speaker = next((name for name, mark in PERSONA_LINES.items() if line.startswith(mark)), "")
        if speaker:
            fact = line.removeprefix(PERSONA_LINES[speaker]).strip().removesuffix(".")
            facts[speaker] = (*facts.get(speaker, ()), fact)
        else:
            lines.append(line)
    text = "\n".join(lines)
    return [Message(PARTNER, text, number)] if text.strip() and text.strip() != SILENCE else []
