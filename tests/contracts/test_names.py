"""The names of the package: the field's, each in one place; no private word, no fragment of a file."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import menura
from menura import registry
from menura.artefacts.earlier_names import SETTINGS
from menura.training.config import Outer, RunConfig
from menura.training.data import DataConfig

SOURCE = Path(menura.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
FEWEST_LINES = 30  # of a file that one other imports alone
MOST_LINES = 399  # of any file
# The names of earlier versions that no reader of PyTorch, transformers and peft could explain.
MODULES = frozenset(
    [
        "parts",
        "",
        "episodes",
        "lean",
        "known_layers",
        "sight",
        "at_once",
        "dropping",
        "likeliest",
        "speaks_words",
        "filled",
        "bank",
        "forest",
        "passes",
        "timed",
        "turned",
        "profiled",
        "borrowed_pieces",
        "walks",
        "steps",
        "backward",
        "structures",
        "structure_likeness",
        "run_structures",
        "loaded",
        "begun_routing",
        "lexicon",
        "piece_lexicon",
        "as_released",
        "spoken",
        "judge",
        "verdicts",
        "held_apart",
        "nested",
        "repeats",
        "rivals",
        "drift",
        "bits",
    ]
)
CLASSES = frozenset(
    [
        "LeanReading",
        "LeanCache",
        "NetworkReading",
        "Reading",
        "Known",
        "Asked",
        "Sight",
        "Places",
        "DropsOut",
        "LikeliestWord",
        "FindsLikeliest",
        "SpeaksWords",
        "ReadsFilled",
        "FilledBatch",
        "FilledPass",
        "Bank",
        "Speaking",
        "Tree",
        "Timed",
        "Turned",
        "InPlace",
        "Kept",
        "Recalled",
        "Retaken",
        "Walk",
        "Ground",
        "Descent",
        "Structure",
        "Loaded",
        "Voice",
        "Lexicon",
        "PieceLexicon",
        "BleuReleased",
        "DistinctReleased",
        "F1Released",
        "PerplexityReleased",
        "Judge",
        "Judged",
        "Verdicts",
        "Part",
        "Drift",
        "LearnsFromRivals",
    ]
)
OTHERS = frozenset(
    [
        "begin",
        "begin_to_scores",
        "begin_whole",
        "begin_with",
        "advance",
        "advance_to_scores",
        "advance_to_likeliest",
        "further",
        "select_rows",
        "begun",
        "ask",
        "enter",
        "dropping",
        "filled",
        "check_fills",
        "read_filled",
        "read_filled_above",
        "reading_of",
        "speaking",
        "speaking_as",
        "known",
        "taken",
        "descend",
        "descending",
        "anchored",
        "structures",
        "spoken",
        "judged",
        "verdicts",
        "verdicts_for",
        "lexicon",
        "rivals",
        "with_rivals",
        "held_apart",
        "without_repeats",
        "voice",
        "voice_of",
        "voices",
    ]
)


def names_in(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield (kind, name, line) of all classes, functions, parameters and fields of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            yield "class", node.name, node.lineno
            for statement in node.body:
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    yield "field", statement.target.id, statement.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield "function", node.name, node.lineno
            arguments = node.args
            for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                yield "parameter", argument.arg, argument.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield "field", node.attr, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_name_is_a_private_word_of_earlier_versions(path: Path) -> None:
    assert not MODULES.intersection(path.relative_to(SOURCE).with_suffix("").parts)
    gone = [
        f"{kind} {name}, line {line}"
        for kind, name, line in names_in(path)
        if name in (CLASSES if kind == "class" else OTHERS) or "nats" in name.split("_")
    ]
    assert not gone


def test_no_class_name_stands_in_two_files() -> None:
    places = defaultdict(set)
    for path in FILES:
        for kind, name, _ in names_in(path):
            if kind == "class":
                places[name].add(str(path.relative_to(SOURCE)))
    assert not {name: sorted(files) for name, files in places.items() if len(files) > 1}


def test_no_short_file_serves_one_other_alone() -> None:
    importers = defaultdict(set)
    modules = {".".join(("menura", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in FILES}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    if name in modules:
                        importers[name].add(path)
    short = [
        name
        for name, path in modules.items()
        if len(importers[name]) == 1 and len(path.read_text(encoding="utf-8").splitlines()) < FEWEST_LINES
    ]
    assert not short


def test_no_file_is_too_long_to_be_about_one_thing() -> None:
    lines = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}


def test_no_setting_has_the_name_of_an_earlier_one() -> None:
    """Or a saved file of the earlier version could not be told from one of today."""
    parts: dict[str, list[type]] = {"outer": [Outer], "data": [DataConfig], "run": [RunConfig]}
    parts["model"] = [model.entry.settings for model in registry.models()]
    parts["method"] = [registry.method(name) for name in registry.method_names()]
    for part, kinds in parts.items():
        for kind in kinds:
            assert is_dataclass(kind)
            assert not {field.name for field in fields(kind)} & SETTINGS[part].keys(), kind.__name__
