"""Lines of text become messages: ``Name: text``, also numbered, quoted, in Markdown, or with a full-width colon.

A line without a name goes on with the turn before, a blank line or ``<START>`` ends a dialogue.
"""

import re
from collections.abc import Iterator

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Start
from menura.corpus.dialogue import Dialogue

# What may stand before a name: the marks of a quotation, a number in a list, a bullet.
LEAD = r"[ \t]?(?:(?:>[ \t]?)+)?(?:\d{1,5}[.)][ \t]+|[-*•][ \t]+)?"
# A name has 40 characters at most and no colon; Markdown may print it bold, the colon inside or outside.
SPOKEN = re.compile(
    rf"(?P<lead>{LEAD})(?P<mark>\*\*|__)?(?P<name>[^:：\s*_>|{{}}\[\]\"][^:：\n]{{0,39}}?)(?P<colon>[:：])(?P<rest>.*)",
    re.DOTALL,
)
START = re.compile(r"\s*<START>\s*", re.IGNORECASE)
# Exports of messengers put date and time first; taken for a name, every line would have its own speaker.
DATED = re.compile(r"\W*\d{1,4}[./:-]\d")
INDENT = "  "
LINES_JUDGED = 12  # of the start, when detecting the format


def split_name(line: str) -> tuple[str, str, bool] | None:
    """Return (name, text, whether a space parts them) of a line that begins with a name, None for any other."""
    match = SPOKEN.match(line)
    if match is None:
        return None
    name, rest, mark = match["name"], match["rest"], match["mark"]
    if mark:
        bold = name.rstrip()
        if bold.endswith(mark):
            name = bold.removesuffix(mark)
        elif rest.startswith(mark):
            rest = rest.removeprefix(mark)
        else:
            return None
    spaced = match["colon"].endswith("：") or not rest or rest[0].isspace()
    if not spaced and rest.startswith("//"):
        return None
    return name, rest.strip(), spaced


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    lines = [line for line in head.splitlines() if line.strip()][: LINES_JUDGED + 1]
    if lines and START.fullmatch(lines[0]):
        return "<START> blocks"
    starts = [line for line in lines[:LINES_JUDGED] if not line[0].isspace() and line.strip() != "---"]
    spoken = [split_name(line) is not None and not DATED.match(line) and line[0] not in "[{" for line in starts]
    # Prose has a colon somewhere too: most lines must have one after a name, and the first for sure.
    return '"Name: text" lines' if spoken and spoken[0] and sum(spoken) * 2 > len(spoken) else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one message a turn; lines before the first name are a heading."""
    unspaced = _mostly_unspaced(file.head())
    names: set[str] = set()
    now: Message | None = None
    blank = False
    for number, line in file.lines():
        if not line.strip():
            blank = True
            continue
        if START.fullmatch(line):
            if now:
                yield now
            yield Start()
            now, blank = None, False
            continue
        found = None if line[0].isspace() else split_name(line)
        if found is not None and (found[2] or unspaced or found[0] in names):
            if now:
                yield now
            if blank:
                yield Start(blank=True)
            names.add(found[0])
            now = Message(found[0], found[1], number)
        elif now is None:
            notes.dropped["heading"] += 1
            notes.warn("heading", "lines before the first name; left out", number)
        else:
            if not line[0].isspace() and now.text:
                notes.warn("continued", "no name before the text; it goes on with the turn before", number)
            now.text = f"{now.text}\n{line.strip()}" if now.text else line.strip()
        blank = False
    if now:
        yield now
    # A blank line at the very end still says that blank lines part dialogues, as in what Menura writes.
    if blank:
        yield Start(blank=True)


def render(dialogue: Dialogue) -> str:
    """Return the dialogue as lines and a blank line; facts and candidates do not come back from them."""
    lines = [f"{turn.speaker}: " + turn.text.replace("\n", f"\n{INDENT}") for turn in dialogue.turns]
    return "\n".join(lines) + "\n\n"


def _mostly_unspaced(head: str) -> bool:
    """Tell whether most names of a file are followed by their text without a space."""
    found = [split for line in head.splitlines()[:LINES_JUDGED] if line.strip() and (split := split_name(line))]
    return sum(not spaced for _, _, spaced in found) * 2 > len(found)
