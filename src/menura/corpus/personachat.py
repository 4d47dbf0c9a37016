"""Persona-Chat's numbered lines become dialogues between "partner" and "self".

A dialogue is a run of lines numbered from 1: ``N your persona: fact.``, ``N partner's persona: fact.``, then
``N partner's text<tab>own text[<tab>reward<tab>candidate|…|candidate]``, the true reply being the last candidate
(Zhang et al., 2018; the files ParlAI publishes, with and without candidates, with one persona or both).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.source import DATA_SET, Source, opened
from menura.errors import Problem

OWN, PARTNER = "self", "partner"
PERSONA_LINES = {OWN: "your persona:", PARTNER: "partner's persona:"}
SILENCE = "__SILENCE__"  # the partner's turn if "self" speaks first
NUMBERED = re.compile(r"(\d{1,6}) (.*)", re.DOTALL)
MARK = re.compile(r"\s*1 ((your|partner's) persona:|[^\n]*\t)")
BLANKS = re.compile(r"(?<=[^ ])  +(?=[^ ])")  # where a tab may have been
LEAST_BLANKS = 3  # two may be a slip of the finger
# Lines 1 and 2 of a copy whose tabs have become blanks.
TABLESS = re.compile(r"\s*1 (?>[^\n\t]*?[^ \n\t] {3})(?>[^\n\t]*)\n2 (?>[^\n\t]*?[^ \n\t] {3})")
SHAPES = (
    (MARK, "numbered lines with personas or tabs"),
    (TABLESS, "numbered lines with blanks for tabs"),
)  # of the start of a file, each with what it is
LINES_LISTED = 5
NO_TAB = "no tab"


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened(path, DATA_SET)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield every dialogue and every problem, in the order of the lines; the last dialogue ends with the file."""
    draft: Draft | None = None
    dialogues, number = 0, 0
    tabless: dict[int, int] = {}  # the blanks of lines without a tab
    for line, text in source.lines():
        place = source.place(line)
        match = NUMBERED.fullmatch(text)
        if draft is None or (match and match[1] == "1"):
            yield from _found(draft) if draft else ()
            dialogues += 1
            draft, number = Draft(f"{source.stem}-{dialogues}", place), 0
        if match is None:
            draft.wrong("no number and space at the start of the line", place)
            continue
        if int(match[1]) != number + 1:
            draft.wrong(f"line number {match[1]} follows {number}; lines are missing or out of order", place)
        number = int(match[1])
        blanks = _blanks_for_tab(match[2], draft)
        if blanks:
            tabless[line] = blanks
            draft.wrong(NO_TAB, place)
        else:
            _line(draft, match[2], place)
    yield from _found(draft) if draft else ()
    if tabless:
        yield _missing_tabs(tabless, source)


def _blanks_for_tab(rest: str, draft: Draft) -> int:
    """Return how many blanks stand in a line where a tab should, 0 if it is as it should be."""
    if "\t" in rest or any(rest.startswith(mark) for mark in PERSONA_LINES.values()):
        return 0
    found = [len(blanks) for blanks in BLANKS.findall(rest)]
    # A dialogue may end without a reply, so that a line without a tab is nothing by itself.
    has_tabs = any(turn.speaker == OWN for turn in draft.turns)
    sure = [length for length in found if length >= LEAST_BLANKS] or ([] if has_tabs else found)
    return min(sure, default=0)


def _found(draft: Draft) -> Iterator[Found]:
    """Yield a dialogue and its problems; lines without a tab are told once for the whole file."""
    tabless = [problem for problem in draft.problems if problem.message == NO_TAB]
    if tabless:
        yield from (problem for problem in draft.problems if problem.message != NO_TAB)
    else:
        yield from draft.found()


def _missing_tabs(tabless: dict[int, int], source: Source) -> Problem:
    """Return the problem of a copy in which blanks stand for tabs, with how to mend it."""
    lines = [str(line) for line in tabless]
    blanks, more = min(tabless.values()), len(lines) - LINES_LISTED
    last = f"{more} more" if more > 1 else lines.pop()
    listed = ", ".join(lines[:LINES_LISTED])
    said = f"lines {listed} and {last} have" if listed else f"line {last} has"
    name = quote(Path(source.name).name)
    return Problem(
        "missing_tabs",
        f"{said} no tab; there are {blanks} blanks for each",
        source.place(next(iter(tabless))),
        f"put the tabs back: sed 's/{' ' * blanks}/\\t/g' {name} > fixed.txt; or fetch the file again",
    )


def render(dialogue: Dialogue) -> str:
    """Return the dialogue as numbered lines; what the format cannot hold does not come back from them."""
    lines = [f"{mark} {fact}." for speaker, mark in PERSONA_LINES.items() for fact in dialogue.facts.get(speaker, ())]
    turns = dialogue.turns
    # Replies are paired with the turn they answer, so an opening reply is paired with silence.
    opening = 1 if turns and turns[0].speaker == OWN else 0
    if opening:
        lines.append(_exchange(SILENCE, turns[0].text, dialogue.candidates.get(0, ())))
    for index in range(opening, len(turns) - 1, 2):
        given = dialogue.candidates.get(index + 1, ())
        lines.append(_exchange(turns[index].text, turns[index + 1].text, given))
    if (len(turns) - opening) % 2:
        lines.append(turns[-1].text)
    return "".join(f"{number} {line}\n" for number, line in enumerate(lines, start=1))


def say_both(draft: Draft, partner: str, own: str, place: str, candidates: tuple[str, ...] = ()) -> None:
    """Add what the partner said, if it was not silent, and the reply to it."""
    opening = not draft.turns and not partner.strip()
    if partner != SILENCE and not opening:
        _say(draft, Turn(PARTNER, partner), place)
    if own.strip() and candidates and own not in candidates:
        draft.warn("gold_missing", "the reply is not among its candidates", place)
    _say(draft, Turn(OWN, own), place, candidates)


def _exchange(partner: str, own: str, candidates: tuple[str, ...]) -> str:
    line = f"{partner}\t{own}"
    return f"{line}\t\t{'|'.join(candidates)}" if candidates else line


def _line(draft: Draft, rest: str, place: str) -> None:
    for speaker, mark in PERSONA_LINES.items():
        if rest.startswith(mark):
            _know(draft, speaker, rest.removeprefix(mark), place)
            return
    fields = rest.split("\t")
    if len(fields) == 1:
        _say(draft, Turn(PARTNER, rest), place)
    elif len(fields) <= 4:
        given = fields[3] if len(fields) == 4 else ""
        say_both(draft, fields[0], fields[1], place, tuple(given.split("|")) if given else ())
    else:
        draft.wrong(f"{len(fields)} fields between tabs, at most 4 are known", place)


def _know(draft: Draft, speaker: str, fact: str, place: str) -> None:
    # Only a full stop goes: cutting the last character would cost sentences without one their last letter.
    fact = fact.strip().removesuffix(".")
    if not fact:
        draft.wrong("persona line without text", place)
    draft.facts[speaker] = (*draft.facts.get(speaker, ()), fact)


def _say(draft: Draft, turn: Turn, place: str, candidates: tuple[str, ...] = ()) -> None:
    if turn.text.strip():
        draft.say(turn, place, candidates)
    else:
        draft.wrong(f"empty text of {turn.speaker!r}", place)
