from dataclasses import replace
from pathlib import Path

import pytest

from menura.artefacts import saved_samples
from menura.errors import DataError
from menura.evaluation.evaluate import Results, SystemRow
from menura.evaluation.generation import Outputs
from menura.metrics.score import Sample
from menura.report import results

SAMPLE = Sample(
    "p",
    "d",
    "tea\u2028or milk",
    "tea",
    1.0,
    1,
    facts=("i like tea",),
    references=("tea", "milk"),
    speaker="Ann",
    context=(("Bob", "what will you have?"),),
)


def test_samples_that_were_written_are_the_same_when_read(tmp_path: Path) -> None:
    row = SystemRow("adapted", 2, (Outputs([], [SAMPLE], 1, 1, 1.0),))
    results.write(Results((row,), (), {}), tmp_path)
    assert list(saved_samples.read(tmp_path / saved_samples.PREDICTIONS)) == [("adapted, K=2", SAMPLE)]


def test_a_sample_of_an_earlier_version_has_no_context(tmp_path: Path) -> None:
    line = '{"row": "adapted", "persona_id": "p", "dialogue_id": "d", "reply": "a", "reference": "b", '
    (tmp_path / "predictions.jsonl").write_text(line + '"reference_nll": 1.0, "reference_tokens": 1}\n')
    ((_, sample),) = saved_samples.read(tmp_path / "predictions.jsonl")
    assert sample.context is None
    assert replace(SAMPLE, context=()).context is not None


@pytest.mark.parametrize("line", ["{", "[]", '{"row": "adapted"}', '{"row": "x", "context": 3}'])
def test_a_line_of_another_kind_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"predictions\.jsonl:1: not what menura eval writes"):
        list(saved_samples.read(tmp_path / "predictions.jsonl"))
