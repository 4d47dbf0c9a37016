"""Lines of Dialogue NLI (Welleck et al., 2019) become pairs with their label."""

from collections.abc import Sequence
from pathlib import Path

from menura.corpus.source import DATA_SET, opened
from menura.errors import LISTED_AT_MOST, DataError, Problem, shown
from menura.scorers.classifier import LabelledText

SEPARATOR = "</s>"
NAMES = {"positive": "entailment", "neutral": "neutral", "negative": "contradiction"}
NAMES |= {name: name for name in NAMES.values()}


def read(files: Sequence[Path]) -> list[LabelledText]:
    """Return the pairs of all files, plain or compressed; lines are ``sentence</s>sentence</s>LABEL``.

    LABEL is positive, neutral or negative. Raises one DataError with every invalid line.
    """
    examples: list[LabelledText] = []
    problems: list[Problem] = []
    for path in files:
        source = opened(path, DATA_SET)
        for number, line in source.lines():
            found = _example(line)
            if isinstance(found, LabelledText):
                examples.append(found)
            elif len(problems) < LISTED_AT_MOST:
                hint = "wanted: sentence</s>sentence</s>positive, neutral or negative"
                problems.append(Problem("nli_format", found, source.place(number), hint))
    if problems:
        raise DataError.of(problems)
    return examples


def _example(line: str) -> LabelledText | str:
    """Return the pair, or the error."""
    cells = [cell.strip() for cell in line.split(SEPARATOR)]
    if len(cells) != 3:
        return f"{len(cells)} parts in the line, not 3"
    *pair, label = cells
    if label not in NAMES:
        return f"unknown label {shown(label)}"
    if not all(pair):
        return "an empty sentence"
    return LabelledText(tuple(pair), NAMES[label])
