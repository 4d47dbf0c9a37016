"""Rows of an experiment are trained, scored, published on a page and verified, as one would type it."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from menura.api import report_page, verify
from menura.api.reproduction import Reproduction
from menura.cli.main import run
from menura.errors import DataError
from menura.experiments.reproduce import reproduce

ROWS = ("maml_seq2spg", "masks-change", "cmaml_seq2spg", "maml_seq2spg_more")
PAGE = """# Masks

Perplexity of CMAML, adapted: <!-- figure cmaml cmaml_seq2spg adapted ppl --><!-- end -->.

<!-- table cmaml/masks -->
<!-- end -->

<!-- table cmaml/decides -->
<!-- end -->
"""


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str]], int]:
    """Return what runs a command in this process, runs in a folder of the test's own."""
    monkeypatch.setenv("MENURA_RUNS", str(tmp_path / "runs"))

    def command(words: Sequence[str]) -> int:
        monkeypatch.setattr(sys, "argv", ["menura", *words])
        return run(list(words))

    return command


def test_rows_on_made_up_data_become_a_page_that_is_verified(
    typed: Callable[[Sequence[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    units = Reproduction(["cmaml"], "tiny", ROWS).units
    assert reproduce(units, run=typed) == []
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    report_page(page, "tiny")
    text = page.read_text(encoding="utf-8")
    (searched,) = [line for line in text.splitlines() if line.startswith("| what changed most, a quarter ")]
    kept, jaccard, correlation, p = [cell.strip() for cell in searched.split("|")[4:8]]
    assert kept.count("%") == 2
    assert 0 < float(jaccard) < 1
    assert 0 < float(p) <= 1
    assert correlation[0] in "+-"
    assert "| CMAML-Seq2SPG − MAML-Seq2SPG, 150 steps more |" in text
    assert verify([page]) == 3
    page.write_text(text.replace(f" {jaccard} |", " 0.123 |"), encoding="utf-8")
    with pytest.raises(DataError, match="table cmaml/masks: .*0.123"):
        verify([page])
    capsys.readouterr()
    assert typed(["model", "masks", str(units[ROWS.index("cmaml_seq2spg")].run)]) == 0
    assert "rank correlation" in capsys.readouterr().out, "of the training personas"
    assert reproduce(units, run=typed, say=print) == []
    assert capsys.readouterr().out.count("scored already") == len(ROWS), "the same command does nothing again"
