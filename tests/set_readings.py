"""Made-up files read as chats: what reading any of them gives, and reading training sets, tables and scripts."""

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.formats import CHAT_FORMATS
from menura.corpus.chats.messengers.catalogue import MESSENGERS
from menura.corpus.chats.reading import ChatReading
from menura.corpus.dialogue import Dialogue
from menura.errors import DataError, Problem

FORMATS = {format.name: format for format in CHAT_FORMATS if format not in (*MESSENGERS, CHAT_FORMATS[-1])}


class ReadWhole:
    """A chat read to its end: its dialogues, and the reading with its notes."""

    def __init__(self, reading: ChatReading) -> None:
        self.reading = reading
        self.dialogues: list[Dialogue] = list(self.reading.dialogues())
        self.notes = self.reading.notes

    @property
    def turns(self) -> list[tuple[str, str]]:
        return [(turn.speaker, turn.text) for dialogue in self.dialogues for turn in dialogue.turns]

    @property
    def sizes(self) -> list[int]:
        return [len(dialogue.turns) for dialogue in self.dialogues]

    @property
    def speakers(self) -> dict[str, int]:
        return dict(self.reading.turns)

    @property
    def facts(self) -> dict[str, tuple[str, ...]]:
        return {name: told for dialogue in self.dialogues for name, told in dialogue.facts.items()}

    @property
    def dropped(self) -> dict[str, int]:
        return {reason: times for reason, times in self.notes.dropped.items() if times}

    @property
    def changed(self) -> dict[str, int]:
        return {change: times for change, times in self.notes.changed.items() if times}

    @property
    def warnings(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for problem in self.notes.problems:
            counts[problem.code] = counts.get(problem.code, 0) + problem.count
        return counts


class Read(ReadWhole):
    """A file read by the format that is found for it."""

    def __init__(self, text: str, format: str, name: str = "talk.txt") -> None:
        assert format in found_by(text, name)[:1]
        super().__init__(ChatReading(ChatFile.of_text(name, text), FORMATS[format]))


def found_by(text: str, name: str = "talk.txt") -> list[str]:
    """Return the names of the formats that take a text for theirs, in the order in which they are asked."""
    head = ChatFile.of_text(name, text).head()
    return [format.name for format in FORMATS.values() if format.looks_like(head, name)]


def problems_of(text: str, format: str, name: str = "talk.txt") -> list[Problem]:
    """Return what a file is refused for."""
    try:
        list(ChatReading(ChatFile.of_text(name, text), FORMATS[format]).dialogues())
    except DataError as error:
        return error.problems
    return []
