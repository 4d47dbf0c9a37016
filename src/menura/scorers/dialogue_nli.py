"""Dialogue NLI (Welleck et al., 2019), as published or as lines, becomes pairs with their label."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from menura.corpus.schema import Schema
from menura.corpus.source import DATA_SET, Source, opened
from menura.corpus.strict_json import parsed
from menura.errors import LISTED_AT_MOST, DataError, Problem, shown
from menura.scorers.classifier import LabelledText

SEPARATOR = "</s>"
NAMES = {"positive": "entailment", "neutral": "neutral", "negative": "contradiction"}
NAMES |= {name: name for name in NAMES.values()}


def read(files: Sequence[Path]) -> list[LabelledText]:
    """Return the pairs of all files, plain or compressed.

    A file is a JSON array of objects with ``sentence1``, ``sentence2`` and ``label``, as published, or lines
    ``sentence</s>sentence</s>LABEL``. LABEL is positive, neutral or negative. Raises one DataError with the first
    invalid ones.
    """
    examples: list[LabelledText] = []
    problems: list[Problem] = []
    for path in files:
        source = opened(path, DATA_SET)
        found = _of_array(source) if source.text.lstrip().startswith("[") else _of_lines(source)
        for example in found:
            if isinstance(example, LabelledText):
                examples.append(example)
            elif len(problems) < LISTED_AT_MOST:
                problems.append(example)
    if problems:
        raise DataError.of(problems)
    return examples


def _of_array(source: Source) -> Iterator[LabelledText | Problem]:
    value, problems = parsed(source.text, source.name)
    yield from problems
    schema = Schema(source.name)
    for path, item in schema.elements([] if problems else value, "file"):
        fields = schema.fields(item, path)
        known = len(schema.problems)
        sentence, other, label = (schema.text(fields, key, path) for key in ("sentence1", "sentence2", "label"))
        if len(schema.problems) > known:
            continue
        found = _example((sentence.strip(), other.strip()), label)
        yield found if isinstance(found, LabelledText) else Problem("nli_format", f"{path}: {found}", source.name)
    yield from schema.problems


def _of_lines(source: Source) -> Iterator[LabelledText | Problem]:
    hint = "wanted: sentence</s>sentence</s>positive, neutral or negative"
    for number, line in source.lines():
        cells = [cell.strip() for cell in line.split(SEPARATOR)]
        found = (
            f"{len(cells)} parts in the line, not 3" if len(cells) != 3 else _example((cells[0], cells[1]), cells[2])
        )
        yield found if isinstance(found, LabelledText) else Problem("nli_format", found, source.place(number), hint)


def _example(pair: tuple[str, str], label: str) -> LabelledText | str:
    """Return the pair, or the error."""
    if label not in NAMES:
        return f"unknown label {shown(label)}"
    if not all(pair):
        return "an empty sentence"
    return LabelledText(pair, NAMES[label])
