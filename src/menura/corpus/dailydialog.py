"""DailyDialog's lines become dialogues: one a line, each turn ended by ``__eou__``, two speakers in turn.

Beside the texts lies a file of labels, one a turn (Li et al., 2017): ``dialogues_text.txt`` and ``dialogues_act.txt``,
``dialogues_test.txt`` and ``dialogues_act_test.txt``, or as mirrors name them. Copies of the set have lines that break
off in the middle; where the labels are there, those lines are known by having more labels than turns.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.source import DATA_SET, PACKED_SUFFIXES, Limits, Source, bare_name, head_of, opened
from menura.errors import DataError, Problem, number_of

END = "__eou__"
SPEAKERS = ("partner", "self")  # the first and the second speaker; generic names
ACTS = frozenset("1234")  # inform, question, directive, commissive
LINES_JUDGED = 12  # of the start, when detecting the format
# A file of texts, and of the acts in it: how the names end. The first that fits is looked for.
NAMES = (
    ("_text_En.txt", "_action.txt"),
    ("_text_En.txt", "_act.txt"),
    ("dialogues_text.txt", "dialogues_act.txt"),
    ("dialogues_train.txt", "dialogues_act_train.txt"),
    ("dialogues_validation.txt", "dialogues_act_validation.txt"),
    ("dialogues_test.txt", "dialogues_act_test.txt"),
    (".txt", "_act.txt"),
)
APOSTROPHE = re.compile(r" ?’ ?(s|t|m|d|re|ve|ll)\b", re.IGNORECASE)
OF_MANY = re.compile(r"(?<=s) ’ ")  # the clocks' hands
ANY_APOSTROPHE = re.compile(r" ?’ ?")


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file of texts, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened_pair(path, DATA_SET)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield a dialogue or a problem for every line, in order; ids are ``NAME:line``."""
    labels = source.beside
    lines, labelled = _line_count(source), _line_count(labels) if labels else None
    if labels and lines != labelled:
        found = f"{number_of(lines, 'line')}, but {labels.name} has {labelled}: which belong together is unknown"
        yield Problem("misaligned", found, source.name, "fetch both files again, or read the texts without the other")
        return
    acts = dict(labels.lines()) if labels else {}
    for number, line in source.lines():
        yield from _dialogue(source, number, line, acts.get(number, "") if labels else None)


def looks_like(head: str) -> str:
    """Return why the start of a file is of this format, empty if it is not."""
    lines = [line for line in head.split("\n") if line.strip()][:LINES_JUDGED]
    if lines and all(ACTS.issuperset(line.split()) for line in lines):
        return "lines of DailyDialog's acts"
    ended = [END in line and not line.lstrip().startswith(("{", "[")) for line in lines]
    return f"lines of turns that end in {END}" if ended and sum(ended) * 2 > len(ended) else ""


SHAPES = (
    (re.compile(rf".*{END}|[\s{''.join(sorted(ACTS))}]*$", re.DOTALL), looks_like),
)  # turns that end so, or a file of acts


def files(path: Path) -> tuple[Path, ...]:
    """Return the file of texts and, where it is there, that of acts; either may be named.

    Raises DataError for acts that lie without their texts.
    """
    if _holds_acts(path):
        texts = _beside(path, [(act, text) for text, act in NAMES])
        if texts is None:
            missing = "these are the acts of dialogues; the texts are not beside them"
            hint = "put dialogues_text.txt, or how it is called, into the same folder"
            raise DataError(missing, code="missing_partner", place=str(path), hint=hint)
        return (texts, path)
    acts = _beside(path, NAMES)
    return (path, acts) if acts else (path,)


def opened_pair(path: Path, limits: Limits) -> Source:
    """Read a file of texts with its acts; problems are reported at the texts."""
    texts, *acts = files(path)
    source = opened(texts, limits)
    return replace(source, beside=opened(acts[0], limits)) if acts else source


def plain(text: str) -> str:
    """Return a turn with typed apostrophes: ``it ’ s`` is ``it's`` then, ``clocks ’ hands`` is ``clocks' hands``."""
    for pattern, made in ((APOSTROPHE, r"'\1"), (OF_MANY, "' "), (ANY_APOSTROPHE, "'")):
        text = pattern.sub(made, text)
    return text.strip()


def _dialogue(source: Source, number: int, line: str, acts: str | None) -> Iterator[Found]:
    draft = Draft(f"{source.stem}:{number}", source.place(number))
    turns = line.strip().removesuffix(END).split(END)
    if acts is not None and len(turns) != len(acts.split()):
        yield Problem("cut_off", "not as many turns as acts; left out", draft.place, level="warn")
        return
    if "\t" in line:
        draft.wrong("a tab in the line", draft.place, hint="texts stand in a file of their own, labels in others")
    for place, turn in enumerate(turns):
        if turn.strip():
            draft.say(Turn(SPEAKERS[place % 2], plain(turn)), draft.place)
        else:
            draft.wrong(f"turn {place + 1} is empty", draft.place)
    yield from draft.found()


def _holds_acts(path: Path) -> bool:
    names = [act for _, act in NAMES]
    return bare_name(path).endswith(tuple(names)) and "acts" in looks_like(head_of(path))


def _beside(path: Path, endings: "tuple[tuple[str, str], ...] | list[tuple[str, str]]") -> Path | None:
    """Return the file whose name ends otherwise, packed or not, by the first pair of endings that finds one."""
    name = bare_name(path)
    wanted = [name.removesuffix(own) + other for own, other in endings if name.endswith(own)]
    candidates = [path.with_name(other + packing) for other in wanted for packing in ("", *PACKED_SUFFIXES)]
    return next((found for found in candidates if found != path and found.is_file()), None)


def _line_count(source: Source) -> int:
    return source.text.count("\n") + (not source.text.endswith("\n"))
