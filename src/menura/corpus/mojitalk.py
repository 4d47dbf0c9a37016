"""MojiTalk's files become dialogues: somebody's query, and the reply of one who is known by an emoji.

``NAME.ori`` and ``NAME.rep`` stand line against line. The first word of a query's line is the emoji of the *reply*, the
rest is the query (Zhou & Wang, 2018). Words are parted by spaces already.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.source import DATA_SET, PACKED_SUFFIXES, Limits, Source, bare_name, opened
from menura.errors import DataError, Problem, number_of, shown

QUERIES, REPLIES = ".ori", ".rep"
EMOJIS = frozenset(
    "☺♥✋✌✨❤🎧🎶👀👊👌👍👏💀💁💔💕💖💙💜💟💪💯🔫😁😂😄😅😈😉😊😋😌😍😎😏😐😑😒😓😔😕😖😘😜😞😠😡😢😣😤😩😪😫😬😭😳😴😷🙅🙈🙊🙌🙏"
)
ASKER = "partner"  # a generic name
FEWEST_ASKED, FEWEST_REPLIED = 3, 2  # words; what is shorter is left out
LINES_JUDGED = 12  # of the start, when detecting the format


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a pair of files, either of which is named, or raise one DataError with all problems."""
    return strict(scan(opened_pair(path, DATA_SET)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield a dialogue or a problem for every line, in order; ids are ``NAME:line``."""
    if source.beside is None:
        yield Problem("missing_partner", "queries without replies", source.name)
        return
    asked, replied = _line_count(source), _line_count(source.beside)
    if asked != replied:
        found = (
            f"{number_of(asked, 'line')}, but {source.beside.name} has {replied}: which reply answers what is unknown"
        )
        yield Problem("misaligned", found, source.name, "fetch both files again")
        return
    replies = dict(source.beside.lines())
    queries = dict(source.lines())
    for number in sorted(queries.keys() | replies.keys()):
        yield from _pair(source, number, queries.get(number, ""), replies.get(number, ""))


def looks_like(head: str) -> str:
    """Return why the start of a file is of this format, empty if it is not."""
    words = [line.split() for line in head.split("\n") if line.strip()][:LINES_JUDGED]
    # In a transcript an emoji may be part of a name, with a colon soon after it.
    marked = [line[0] in EMOJIS and not any(word.endswith(":") for word in line[1:3]) for line in words]
    return "each line begins with an emoji" if marked and marked[0] and sum(marked) * 2 > len(marked) else ""


SHAPES = ((re.compile(r"\s*[^\x00-\x7f]"), looks_like),)  # an emoji, perhaps


def files(path: Path) -> tuple[Path, ...]:
    """Return the files of queries and of replies, one of which is named; DataError if the other is not beside it."""
    ending = Path(bare_name(path)).suffix
    if ending not in (QUERIES, REPLIES):
        wanted = f"MojiTalk's queries stand in NAME{QUERIES}, its replies in NAME{REPLIES}; this name ends in neither"
        raise DataError(wanted, code="bad_name", place=str(path), hint="rename the files")
    wanted, holds = (REPLIES, "replies") if ending == QUERIES else (QUERIES, "queries")
    name = bare_name(path).removesuffix(ending) + wanted
    for packing in ("", *PACKED_SUFFIXES):
        other = path.with_name(name + packing)
        if other.is_file():
            return (path, other) if ending == QUERIES else (other, path)
    missing = f"{name} with the {holds} is not beside it"
    raise DataError(missing, code="missing_partner", place=str(path), hint=f"put {name} or {name}.xz into its folder")


def opened_pair(path: Path, limits: Limits) -> Source:
    """Read both files of a pair; problems are reported at the file with the queries."""
    queries, replies = files(path)
    return replace(opened(queries, limits), beside=opened(replies, limits))


def _pair(source: Source, number: int, asked: str, reply: str) -> Iterator[Found]:
    emoji, _, query = asked.strip().partition(" ")
    draft = Draft(f"{source.stem}:{number}", source.place(number))
    if emoji not in EMOJIS:
        found = f"begins with {shown(emoji)}, wanted one of MojiTalk's {len(EMOJIS)} emojis"
        draft.wrong(found, draft.place, hint="the emoji of the reply stands first, then a space")
    elif len(query.split()) < FEWEST_ASKED or len(reply.split()) < FEWEST_REPLIED:
        yield _left_out(draft.place)
        return
    else:
        draft.say(Turn(ASKER, query.strip()), draft.place)
        draft.say(Turn(emoji, reply.strip()), draft.place)
    yield from draft.found()


def _left_out(place: str) -> Problem:
    short = f"fewer than {FEWEST_ASKED} words asked or {FEWEST_REPLIED} replied; left out"
    return Problem("too_short", short, place, level="warn")


def _line_count(source: Source) -> int:
    return source.text.count("\n") + (not source.text.endswith("\n"))
