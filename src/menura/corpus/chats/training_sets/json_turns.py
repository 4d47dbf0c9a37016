"""Messages in JSON as training sets write them become events: who spoke, what, and whether it is learnt."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from menura.corpus.chats.message import Event, Message, Notes, Start
from menura.corpus.chats.training_sets.json_rows import Row
from menura.corpus.schema import KINDS, Schema
from menura.corpus.strict_json import step

SYSTEM = frozenset({"system", "developer"})
TOOLS = frozenset(
    [
        "tool",
        "tools",
        "function",
        "function_call",
        "function_response",
        "observation",
        "tool_call",
        "tool_response",
        "ipython",
    ]
)
ANSWERING = ("assistant", "gpt", "chatgpt", "model", "bot", "ai")
ASKING = ("user", "human")
SPEAKER_KEYS, TEXT_KEYS = ("role", "from", "speaker", "author"), ("content", "value", "text", "message")
LEARNT_KEYS = ("weight", "loss", "train")
TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
UNSEEN_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking"})


def facts_of(content: str) -> tuple[str, ...]:
    """Return the lines of a system message that are not blank."""
    return tuple(line.strip() for line in content.split("\n") if line.strip())


@dataclass
class ConversationFields:
    """One dialogue while it is read."""

    row: Row
    notes: Notes
    schema: Schema = field(init=False)
    messages: list[Message] = field(default_factory=list)
    facts: tuple[str, ...] = ()
    _answering: str = ""  # the first speaker whose role is to answer

    def __post_init__(self) -> None:
        self.schema = Schema(self.notes.place(self.row.line))

    def say(self, item: object, path: str) -> None:
        """Add one entry of a row's array: a message with its role, or texts by role."""
        entry = self.schema.fields(item, path)
        if not isinstance(item, dict):
            return
        role_key = next((key for key in SPEAKER_KEYS if key in entry), "")
        if role_key:
            role = self.schema.text(entry, role_key, path).strip()
            self._message(entry, role, role_key, path)
            return
        by_role = [key for key in entry if key.lower() in (*SYSTEM, *ASKING, *ANSWERING)]
        for role in by_role:
            self._message({"content": entry[role]}, role, "role", step(path, role))
        if not by_role:
            self.schema.wrong(step(path, "role" if "content" in entry else "from"), "required, is missing")

    def tell(self, system: object, path: str) -> None:
        """Add facts from a system text beside the messages; null says nothing."""
        if system is not None:
            self.facts += facts_of(self.schema.words(system, path, blank=True))

    def events(self, number: Iterator[int], dialogue_id: str = "") -> Iterator[Event]:
        """Yield the start and the messages; those of a document take the next numbers for their places."""
        for problem in self.schema.problems:
            self.notes.add(problem)
        yield Start({self._who_answers(): self.facts} if self.facts else {}, dialogue_id)
        for message in self.messages:
            message.line = self.row.line or next(number)
            yield message

    def _message(self, entry: dict[str, object], role: str, role_key: str, path: str) -> None:
        text_key = next((key for key in TEXT_KEYS if key in entry), "")
        content = entry.get(text_key)
        if content is None and isinstance(entry.get("refusal"), str):
            content = entry["refusal"]  # what a model says in place of a content
        text, dropped = self._content(content, step(path, text_key) if role_key in entry else path)
        kind = role.lower()
        if kind in SYSTEM:
            self.facts += facts_of(text)
            return
        learnt = self._learnt(entry, path)
        if kind in TOOLS:
            # Without a name, as nobody of the dialogue said it.
            self.messages.append(Message("", "", dropped="tool"))
            return
        calls = bool(entry.get("tool_calls") or entry.get("function_call"))
        if not text_key and not calls:
            self.schema.wrong(step(path, "value" if role_key == "from" else "content"), "required, is missing")
        speaker = self._name(entry, path) or role
        if kind in ANSWERING and not self._answering:
            self._answering = speaker
        why = ""
        if not text.strip():
            why = "tool call without text" if calls else next(iter(dropped), "null" if content is None else "")
        dropped[why] -= bool(why and dropped[why])  # the message itself is counted when it is dropped
        self.notes.dropped.update(+dropped)
        if not why and learnt:
            self.notes.context_only[learnt] += 1
        self.messages.append(Message(speaker, text, dropped=why, learnt=not learnt))

    def _name(self, entry: dict[str, object], path: str) -> str:
        name = entry.get("name")
        return "" if name is None else self.schema.words(name, step(path, "name"), blank=True).strip()

    def _learnt(self, entry: dict[str, object], path: str) -> str:
        """Return why a message is not learnt, empty if it is."""
        for key in LEARNT_KEYS:
            value = entry.get(key)
            if isinstance(value, int | float):
                if not value:
                    return "weight 0" if key == "weight" else f"{key} off"
            elif value is not None:
                self.schema.wrong(step(path, key), f"is {KINDS[type(value)]}, must be a number")
        return ""

    def _content(self, value: object, path: str) -> tuple[str, Counter[str]]:
        """Return the text of a content, and by reason how many of its parts are none."""
        dropped: Counter[str] = Counter()
        if value is None or isinstance(value, str):
            return value or "", dropped
        if not isinstance(value, list):
            self.schema.wrong(path, f"is {KINDS[type(value)]}, must be text")
            return "", dropped
        texts: list[str] = []
        for index, part in enumerate(cast(list[object], value)):
            at = f"{path}[{index}]"
            if isinstance(part, str):
                texts.append(part)
                continue
            fields = self.schema.fields(part, at)
            kind = fields.get("type", "text" if "text" in fields else "")
            kind = kind if isinstance(kind, str) else ""
            if kind in TEXT_PARTS:
                texts.append(self.schema.text(fields, TEXT_PARTS[kind], at, blank=True))
            elif isinstance(part, dict) and kind not in UNSEEN_PARTS:
                dropped["tool" if kind.startswith("tool") else "media"] += 1
        return "\n".join(text for text in texts if text.strip()), dropped

    def _who_answers(self) -> str:
        """Return whose facts a system text tells: who has the role, else who speaks second."""
        speakers = list(dict.fromkeys(message.speaker for message in self.messages if message.speaker))
        return self._answering or (speakers[1] if len(speakers) > 1 else ANSWERING[0])
