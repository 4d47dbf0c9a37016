"""A transcript becomes dialogues: ``Name: text`` lines; an indented line goes on, a blank line ends a dialogue."""

import re
from collections.abc import Iterator
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.source import Source, opened
from menura.errors import shown

# A name has 40 characters at most and no colon; "http://…" is not a name followed by text.
SPOKEN = re.compile(r"([^:\s][^:\n]{0,39}):(?:\s+(.*))?", re.DOTALL)
# Exports of messengers put date and time first; taken for a name, every line would have its own speaker.
STAMP = re.compile(r"\W*\d{1,4}[./:-]\d")
INDENT = "  "
LINES_JUDGED = 12  # of the start, when detecting the format

Block = list[tuple[int, str]]


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened(path)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield every dialogue and every problem, in the order of the lines."""
    for number, block in enumerate(_blocks(source), start=1):
        yield from _draft(source, f"{source.stem}-{number}", block).found()


def looks_like(head: str) -> str:
    """Return why the start of a file is of this format, empty if it is not."""
    lines = [line.removesuffix("\r") for line in head.split("\n") if line.strip()][:LINES_JUDGED]
    starts = [line for line in lines if not line[0].isspace()]
    # Prose has a colon somewhere too: most lines must have one after a name, and the first for sure.
    spoken = [bool(SPOKEN.fullmatch(line)) and not STAMP.match(line) and line[0] not in "[{" for line in starts]
    return '"Name: text" lines' if spoken and spoken[0] and sum(spoken) * 2 > len(spoken) else ""


SHAPES = ((re.compile(""), looks_like),)  # only the content decides


def render(dialogue: Dialogue) -> str:
    """Return the dialogue as lines and a blank line; facts and candidates do not come back from them."""
    lines = [f"{turn.speaker}: " + turn.text.replace("\n", f"\n{INDENT}") for turn in dialogue.turns]
    return "\n".join(lines) + "\n\n"


def _blocks(source: Source) -> Iterator[Block]:
    """Yield runs of lines that no blank line parts."""
    block: Block = []
    for number, line in source.lines():
        if block and number > block[-1][0] + 1:
            yield block
            block = []
        block.append((number, line))
    if block:
        yield block


def _draft(source: Source, name: str, block: Block) -> Draft:
    draft = Draft(name, source.place(block[0][0]))
    said: list[tuple[str, str, list[str]]] = []  # place, speaker, lines
    for number, line in block:
        place = source.place(number)
        match = SPOKEN.fullmatch(line)
        if line[0].isspace() and said:
            said[-1][2].append(line.strip())
        elif line[0].isspace():
            draft.wrong("an indented line goes on with a turn, but there is none before it", place)
        elif STAMP.match(line):
            draft.wrong(f"date or time before the name: {shown(line)}", place, hint="lines must begin with the name")
        elif match is None:
            draft.wrong('no "Name: " before the text', place, hint="indent it to go on with the turn before")
        else:
            said.append((place, match[1].rstrip(), [(match[2] or "").strip()]))
    for place, speaker, lines in said:
        _say(draft, place, speaker, "\n".join(line for line in lines if line))
    return draft


def _say(draft: Draft, place: str, speaker: str, text: str) -> None:
    if text:
        draft.say(Turn(speaker, text), place)
    else:
        draft.wrong(f"no text after the name {shown(speaker)}", place)
