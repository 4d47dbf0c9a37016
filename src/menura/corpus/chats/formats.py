"""All kinds of chat files, in the order in which they are looked for: the plainest come last."""

import re

from menura.corpus.chats.cards import example_dialogues, sillytavern
from menura.corpus.chats.messengers.catalogue import MESSENGERS, NEARLY
from menura.corpus.chats.reading import ChatReader
from menura.corpus.chats.training_sets.catalogue import TRAINING_SETS
from menura.corpus.chats.transcripts import screenplay, subtitles, tables, text_lines
from menura.errors import number_of, shown

CHAT_FORMATS: tuple[ChatReader, ...] = (
    ChatReader("card", "a character card", example_dialogues.looks_like, example_dialogues.messages, starts=True),
    ChatReader("sillytavern", "a SillyTavern chat", sillytavern.looks_like, sillytavern.messages, timed=True),
    *TRAINING_SETS,
    *MESSENGERS,
    ChatReader("subtitles", "subtitles (SRT, WebVTT)", subtitles.looks_like, subtitles.messages),
    ChatReader("table", "a table", tables.looks_like, tables.messages),
    ChatReader("screenplay", "a screenplay or a play", screenplay.looks_like, screenplay.messages),
    ChatReader("transcript", '"Name: text" lines', text_lines.looks_like, text_lines.messages, guessed=True),
)
KEYS = re.compile(r'"([^"\\]{1,40})"\s*:')
KEYS_SHOWN = 6
LINES_SHOWN = 3
TEXT_SHOWN = 30  # characters of a line that a hint repeats
ANY = "menura data formats lists what is read; --format NAME says which it is"


def near_miss(head: str, name: str) -> tuple[str, str]:
    """Return what a file that no format fits nearly is, and what to type about it."""
    for nearly in NEARLY:
        found = nearly(head, name)
        if found is not None:
            return found
    start = head.lstrip()
    if start.startswith(("{", "[")):
        keys = ", ".join(dict.fromkeys(KEYS.findall(start[:4096])[:KEYS_SHOWN]))
        told = f"JSON with the keys {keys}" if keys else "JSON without keys"
        hint = 'turns are wanted, such as {"messages": [{"role": "user", "content": "hi"}, …]} on a line'
        return f"format not recognised: {told}", f"{hint}; {ANY}"
    if start.startswith("<"):
        return "format not recognised: a page of HTML that is no Telegram export", ANY
    return _unnamed_lines(head)


def _unnamed_lines(head: str) -> tuple[str, str]:
    """Return which lines of a text have no name in front, and what to type in their place."""
    written = head.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [(number, line) for number, line in enumerate(written, start=1) if line.strip()]
    names = [split[0] for _, line in lines if (split := text_lines.split_name(line))]
    without = [
        (number, line.strip()) for number, line in lines if not line[0].isspace() and not text_lines.split_name(line)
    ]
    told = ", ".join(f"line {number} {shown(line)}" for number, line in without[:LINES_SHOWN])
    first = shown(without[0][1][:TEXT_SHOWN])[1:-1] if without else "hello"
    if not names:
        hint = f'begin every turn with who says it, such as "Anna: {first}"; {ANY}'
        return f"format not recognised: lines of text without names: {told}".rstrip(": "), hint
    begun = f"{len(names)} of the first {number_of(len(lines), 'line')} begin with a name and a colon"
    hint = (
        f'write the name in front ("{shown(names[0])[1:-1]}: {first}") and indent lines that go on with a turn, '
        "or let all lines without a name do so: --format transcript"
    )
    return f"format not recognised: {begun}; without: {told}".removesuffix("; without: "), hint
