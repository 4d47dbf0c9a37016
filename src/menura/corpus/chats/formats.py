"""All kinds of chat files, in the order in which they are looked for: the plainest come last."""

import re

from menura.corpus.chats import screenplay, subtitles, tables, text_lines
from menura.corpus.chats.messenger_formats import MESSENGERS, NEARLY
from menura.corpus.chats.reading import ChatReader
from menura.corpus.chats.training_sets import TRAINING_SETS

CHAT_FORMATS: tuple[ChatReader, ...] = (
    *TRAINING_SETS,
    *MESSENGERS,
    ChatReader("subtitles", "subtitles (SRT, WebVTT)", subtitles.looks_like, subtitles.messages),
    ChatReader("table", "a table", tables.looks_like, tables.messages),
    ChatReader("screenplay", "a screenplay or a play", screenplay.looks_like, screenplay.messages),
    ChatReader("transcript", '"Name: text" lines', text_lines.looks_like, text_lines.messages, guessed=True),
)
KEYS = re.compile(r'"([^"\\]{1,40})"\s*:')
KEYS_SHOWN = 6
ANY = "menura data formats lists what is read; --format names one"


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
    lines = [line for line in head.splitlines() if line.strip()]
    named = sum(text_lines.split_name(line) is not None for line in lines)
    if named:
        said = f"format not recognised: {named} of the first {len(lines)} lines begin with a name and a colon"
        return said, 'every turn must begin with "Name: "; further lines of it are indented'
    return "format not recognised: lines of text without names", f'begin every turn with "Name: "; {ANY}'
