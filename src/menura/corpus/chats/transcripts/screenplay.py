"""Screenplays and plays become messages: a name on a line by itself, then speech, then a blank line.

The name is in capitals (Fountain, and what people type), or comes again above other speeches. Scene heads start a
dialogue; parentheticals and what nobody says are left out.
"""

import re
from collections import Counter
from collections.abc import Iterator

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Start

SCENE = re.compile(
    r"(?:INT|EXT|EST|I/E|INT/EXT|INT\./EXT)[. ].*|\.[^\W_].*|(?:ACT|SCENE) [\dIVXLC]+\b.*", re.IGNORECASE
)
EXTENSION = re.compile(r"\s*(?:\([^()]{0,40}\)|\^)\s*$")  # (V.O.), (CONT'D), ^ of dual dialogue
NAME = re.compile(r"[^\W\d_][\w .'’&/#-]{0,39}")
TRANSITION = re.compile(r".*\b(?:TO|IN|OUT|END|BLACK)[:.]?")
PARENTHETICAL = re.compile(r"\([^()]*\)")
LEADING_PARENTHETICAL = re.compile(r"\([^()]{0,80}\)\s*")
NOT_SPEECH = ("#", "=", "!", ">")  # of Fountain: section, synopsis, action, transition
ACTION = "stage direction"
NAMES_NEEDED = 2
SHARE_NEEDED = 0.4  # of the blocks of text
BLOCK_LIMIT = 1_000  # lines; a file without blank lines is not kept in memory


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    if head.lstrip()[:1] in ("{", "[", "<"):
        return ""
    blocks = list(_blocks(enumerate(head.splitlines(), start=1)))
    known = _names_of(blocks)
    speakers = [found for block in blocks if (found := _name(block, known))]
    scenes = sum(bool(SCENE.fullmatch(block[0][1].strip())) for block in blocks)
    names = len(set(speakers))
    if names < NAMES_NEEDED:
        return ""
    if scenes:
        return "scene heads, and names above speeches"
    # The headings of an article stand above its parts once each.
    mostly = names < len(speakers) and len(speakers) >= SHARE_NEEDED * len(blocks)
    return "names above speeches" if mostly else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one message a speech, and a start at each scene head."""
    known = _names_of(list(_blocks(enumerate(file.head().splitlines(), start=1))))
    for block in _blocks(file.lines()):
        scene = next((index for index, (_, line) in enumerate(block) if SCENE.fullmatch(line.strip())), None)
        if scene is not None:
            yield Start()
            block = block[scene + 1 :]
        speaker = _name(block, known)
        if speaker:
            said = _speech(block[1:])
            yield Message(speaker, said, block[0][0], dropped="" if said else ACTION)
        elif block:
            notes.dropped[ACTION] += 1


Block = list[tuple[int, str]]  # lines with their numbers, none of them blank


def _blocks(lines: "enumerate[str] | Iterator[tuple[int, str]]") -> Iterator[Block]:
    block: Block = []
    for number, line in lines:
        if line.strip():
            block.append((number, line))
        if block and (not line.strip() or len(block) == BLOCK_LIMIT):
            yield block
            block = []
    if block:
        yield block


def _names_of(blocks: list[Block]) -> frozenset[str]:
    """Return the lines without capitals that stand above several speeches, so that they are names."""
    firsts = Counter(_bare(block[0][1]) for block in blocks if len(block) > 1)
    return frozenset(line for line, count in firsts.items() if count > 1 and NAME.fullmatch(line) and line[0].isupper())


def _bare(line: str) -> str:
    """Return a name line without what may stand behind the name."""
    return EXTENSION.sub("", line.strip()).rstrip(".:").strip()


def _name(block: Block, names: frozenset[str]) -> str:
    """Return who speaks in a block, empty where it is no speech."""
    if len(block) < 2:
        return ""
    first = block[0][1].strip()
    if first.startswith("@"):  # of Fountain: a name in any letters
        return _bare(first[1:])
    line = _bare(first)
    if first.startswith(NOT_SPEECH) or not NAME.fullmatch(line) or SCENE.fullmatch(first):
        return ""
    if line in names:
        return line
    # Languages without capitals have no such scripts: any line would be a name there.
    return line if line.isupper() and not TRANSITION.fullmatch(line) else ""


def _speech(lines: Block) -> str:
    said: list[str] = []
    for _, line in lines:
        text = line.strip()
        if not PARENTHETICAL.fullmatch(text) and not text.startswith(("[[", "=")):
            said.append(LEADING_PARENTHETICAL.sub("", text, count=1) if not said else text)
    return " ".join(said)
