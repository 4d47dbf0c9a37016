"""Every file of the shared cases gives the speakers, turns, drops, changes, facts, dates and warnings written there."""

import json
from pathlib import Path
from typing import Any

import pytest

from menura.corpus.inputs import Input, inputs, read
from menura.errors import DataError

CASES = Path(__file__).parents[4] / "shared" / "cases" / "chats"
EXPECTED: dict[str, Any] = (
    json.loads((CASES / "expected.json").read_text(encoding="utf-8"))["files"] if CASES.exists() else {"none": {}}
)

pytestmark = pytest.mark.shared


@pytest.fixture(params=EXPECTED)
def case(request: pytest.FixtureRequest) -> tuple[Path, dict[str, Any]]:
    if not CASES.exists():
        pytest.skip("the shared cases are not beside the project")
    return CASES / request.param, EXPECTED[request.param]


def test_a_file_gives_what_is_written_for_it(case: tuple[Path, dict[str, Any]]) -> None:
    path, wanted = case
    if wanted["outcome"] == "refused":
        with pytest.raises(DataError) as caught:
            read(path)
        assert {problem.code for problem in caught.value.problems} == set(wanted["warnings"])
        assert all(problem.hint for problem in caught.value.problems)
        return
    (one,) = inputs(path)
    found = read_whole(one)
    for field in ("first_lines", "persona"):
        assert found[field] == wanted[field], field
    for field in ("speakers", "dialogues", "turns", "dropped", "changed", "context_only", "facts", "first", "last"):
        assert found[field] == wanted[field], field
    for number, text in wanted["texts"].items():
        assert found["texts"][int(number) - 1] == text
    assert wanted["warnings"].keys() <= found["warnings"], "more may be shown, fewer not"
    for field, told in wanted["dates"].items():
        assert found["dates"][field].startswith(told.removesuffix("Z").removesuffix("+00:00")), field


def read_whole(one: Input) -> dict[str, Any]:
    """Read an input to its end and return all that is compared."""
    dialogues = list(one.dialogues())
    notes, reading = one.notes, one.reading
    assert notes is not None
    assert reading is not None
    texts = [turn.text for dialogue in dialogues for turn in dialogue.turns]
    return {
        "speakers": [list(pair) for pair in reading.turns.items()],
        "dialogues": len(dialogues),
        "turns": len(texts),
        "dropped": dict(+notes.dropped),
        "changed": dict(+notes.changed),
        "context_only": dict(+notes.context_only),
        "facts": {name: list(told) for dialogue in dialogues for name, told in dialogue.facts.items()},
        "first": texts[0],
        "last": texts[-1],
        "texts": texts,
        "first_lines": notes.first_lines,
        "persona": notes.persona,
        "warnings": {problem.code for problem in notes.problems},
        "dates": {"first": notes.first, "last": notes.last, "order": notes.order.partition(" ")[0]},
    }
