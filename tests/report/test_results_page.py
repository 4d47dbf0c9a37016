"""Blocks of a page are made from published scores, and what was typed over them is found."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trial_experiment import TRIAL, scored

from menura.errors import DataError
from menura.experiments import catalogue
from menura.experiments.commands import Unit
from menura.report import page
from menura.report.experiment_tables import ExperimentTables
from menura.report.published import PublishedUnit, publish, read
from menura.report.published_commands import outdated

PAGE = """# A trial

Before <!-- figure trial first adapted ppl -->?<!-- end -->, and
<!-- difference trial later adapted first adapted ppl --><!-- end -->.

<!-- conditions trial -->
<!-- end -->

<!-- table trial/scores -->
typed
<!-- end -->

<!-- table trial/decides -->
<!-- end -->

After.
"""


@pytest.fixture(autouse=True)
def trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make the trial one of the experiments, with two seeds of a row and one of another; return the page's folder."""
    monkeypatch.setenv("MENURA_RUNS", str(tmp_path / "runs"))
    monkeypatch.setitem(catalogue.EXPERIMENTS, "trial", TRIAL)
    for name, seed, shift in (("first", 0, 0.0), ("first", 1, 0.1), ("later", 0, -0.3)):
        publish(scored(name, seed, shift), tmp_path / page.DATA / "trial")
    return tmp_path


def test_blocks_are_made_and_what_is_typed_around_them_is_kept(trial: Path) -> None:
    made = page.rendered(PAGE, trial)
    assert made.startswith("# A trial\n\nBefore <!-- figure trial first adapted ppl -->2.")
    assert made.endswith("<!-- end -->\n\nAfter.\n")
    assert "typed" not in made
    assert "| First: un-adapted   |" in made
    assert "| Later − First |" in made
    assert "| 4 s | 1.2 MB | 2.5 GB | 25.0 % | 0.812 | +0.310 | 0.004 | 6.145 | 12 |" in " ".join(made.split())
    assert "- Not run: again (seed 0), bare (seed 0)" in made
    assert "first 2 steps, 42 tokens" in made
    assert page.rendered(made, trial) == made


def test_a_unit_whose_row_was_changed_since_is_named_with_what_to_type(
    trial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (TRIAL.rows[0], replace(TRIAL.rows[1], settings=("outer.steps=10",)), *TRIAL.rows[2:])
    monkeypatch.setitem(catalogue.EXPERIMENTS, "trial", replace(TRIAL, rows=rows))
    with pytest.raises(DataError) as caught:
        page.rendered("<!-- conditions trial --><!-- end -->", trial)
    (problem,) = caught.value.problems
    assert "later seed 0 was made by: menura train tiny/maml" in problem.message
    assert problem.hint == "menura reproduce trial --row later"
    shorter = replace(TRIAL, scored_with=("-k", "3"))
    monkeypatch.setitem(catalogue.EXPERIMENTS, "trial", shorter)
    with pytest.raises(DataError) as caught:
        page.rendered("<!-- conditions trial --><!-- end -->", trial)
    assert len(caught.value.problems) == 3


def test_the_rate_that_was_best_is_any_of_those_that_are_tried(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (replace(TRIAL.rows[0], name="rated", rates=(0.01, 0.001)), *TRIAL.rows)
    rated = replace(TRIAL, rows=rows)
    monkeypatch.setitem(catalogue.EXPERIMENTS, "trial", rated)
    best = Unit(rated, rows[0], 0, "cpu")._training(0.001)
    unit = next(unit for unit in read(trial / page.DATA / "trial") if unit.row == "first")
    words = [word.replace("first-0", "rated-0") for word in unit.origin["words"]]
    words[1] = str(best.folder)
    content = {**unit.content, "row": "rated", "run": {**unit.content["run"], "words": list(best.words)}}
    content["evaluation"] = {**content["evaluation"], "origin": {**unit.origin, "words": words}}
    assert outdated(rated, [replace(unit, row="rated", content=content)]) == []
    words[2] = "--seeds"
    assert [problem.code for problem in outdated(rated, [replace(unit, row="rated", content=content)])] == ["outdated"]


def test_a_unit_of_a_row_that_there_is_no_more_is_named(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.EXPERIMENTS, "trial", replace(TRIAL, rows=TRIAL.rows[:1], tables=()))
    with pytest.raises(DataError, match="no row of trial is called 'later'"):
        page.rendered("<!-- conditions trial --><!-- end -->", trial)


def test_rows_scored_with_other_defaults_are_refused(trial: Path) -> None:
    def warmer(content: dict[str, Any]) -> None:
        content["origin"]["evaluation"]["decoding"] = "nucleus(p=0.9)"

    (trial / page.DATA / "trial" / "later-0.json.gz").unlink()
    shutil.rmtree(trial / "runs" / "trial@cpu")
    publish(scored("later", change=warmer), trial / page.DATA / "trial")
    tables = ExperimentTables(TRIAL, read(trial / page.DATA / "trial"))
    with pytest.raises(DataError, match="first against later: decoding: 'greedy' -> 'nucleus"):
        tables.check_alike(["first", "later"])


def test_the_highest_peaks_of_memory_are_among_the_conditions(trial: Path) -> None:
    made = page.rendered("<!-- conditions trial --><!-- end -->", trial)
    assert "- Memory: scoring at most 2.5 GB, training at most 3.1 GB" in made


def test_what_the_paper_printed_is_shown_of_a_row_that_was_not_run(trial: Path) -> None:
    for path in (trial / page.DATA / "trial").glob("first-*"):
        path.unlink()
    made = page.rendered("<!-- table trial/scores --><!-- end -->", trial)
    (row,) = [" ".join(line.split()) for line in made.splitlines() if line.startswith("| First")]
    assert row.startswith("| First | – | – | – |")
    assert row.endswith("| – | 37.9 |")
    assert "| Later: adapted, K=5 |" in made
    (trial / page.DATA / "trial" / "later-0.json.gz").unlink()
    assert "37.9" in page.rendered("<!-- table trial/scores --><!-- end -->", trial), "nothing was run"


def test_drawn_replies_are_shown_but_those_of_the_corpus(trial: Path) -> None:
    made = page.rendered("<!-- replies trial first adapted --><!-- end -->", trial)
    assert made.splitlines()[1:-1] == [
        *("First:", "", "- “it rains .”", "- “so what ?”", "- (empty)"),
        "- 1 more reply drawn, word for word a turn of the corpus: not shown",
    ]


def test_learning_rates_that_were_tried_are_among_the_conditions(trial: Path) -> None:
    path = trial / page.DATA / "trial" / "first-0.json.gz"
    (unit,) = [unit for unit in read(path.parent) if unit.path == path]
    made = page.conditions(ExperimentTables(TRIAL, [with_rates(unit, {"0.001": 2.34567, "0.1": None})]))
    assert "- Learning rates tried, with the loss of validation personas: first 0.001 2.346, 0.1 diverged" in made
    assert "rates" not in page.conditions(ExperimentTables(TRIAL, [unit]))


def with_rates(unit: PublishedUnit, rates: dict[str, float | None]) -> PublishedUnit:
    return replace(unit, content={**unit.content, "rates": rates})


def test_a_typed_figure_is_found_with_its_line(trial: Path) -> None:
    path = trial / "page.md"
    made = page.rendered(PAGE, trial)
    path.write_text(made)
    assert page.verified(path.read_text(encoding="utf-8"), path.parent) == []
    first = made.split("ppl -->")[1].split(" ")[0]
    path.write_text(made.replace(f"ppl -->{first}", "ppl -->1.23", 1))
    (differing,) = page.verified(path.read_text(encoding="utf-8"), path.parent)
    assert (differing.line, differing.block) == (3, "figure trial first adapted ppl")
    assert differing.written.startswith("1.23")
    assert differing.made.startswith(first)


def test_a_cell_typed_over_is_found(trial: Path) -> None:
    path = trial / "page.md"
    made = page.rendered(PAGE, trial)
    row = next(line for line in made.splitlines() if line.startswith("| Later: adapted"))
    path.write_text(made.replace(row, row.replace("|     1 |", "|     3 |")))
    assert [one.block for one in page.verified(path.read_text(encoding="utf-8"), path.parent)] == ["table trial/scores"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("<!-- table trail/scores --><!-- end -->", "no experiment is called 'trail' (hint: did you mean trial?)"),
        (
            "<!-- table trial/socres --><!-- end -->",
            "no table of trial is called 'socres' (hint: did you mean scores?)",
        ),
        ("<!-- figure trial first adapted --><!-- end -->", "4 words wanted, not 3"),
        ("<!-- figure trial first prompt ppl --><!-- end -->", "first has no line 'prompt' in trial"),
        ("<!-- figure trial bear adapted ppl --><!-- end -->", "did you mean bare?"),
        ("<!-- figure trial first adapted f1 --><!-- end -->", "no f1 of 'adapted, K=5'"),
    ],
)
def test_a_block_that_cannot_be_made_is_named_with_its_line(trial: Path, block: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        page.rendered(f"one\ntwo\n{block}\n{block}\n", trial)
    assert len(caught.value.problems) == 2
    assert "line 3, <!--" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ("later adapted first adapted", "reproduced: −"),
        ("first adapted later adapted", "the opposite: +"),
        ("first adapted first adapted", "not reproduced: "),
        ("bare adapted first adapted", "not run yet"),
    ],
)
def test_a_claim_has_a_verdict_by_its_direction_and_interval(trial: Path, words: str, verdict: str) -> None:
    made = page.rendered(f"<!-- verdict trial {words} ppl --><!-- end -->", trial)
    assert made.removeprefix(f"<!-- verdict trial {words} ppl -->").startswith(verdict)
    assert ("would have shown" in made) == (verdict == "not reproduced: ")


def test_a_figure_waits_for_its_row(trial: Path) -> None:
    assert "-->not run yet<!--" in page.rendered("<!-- figure trial bare adapted ppl --><!-- end -->", trial)


@pytest.mark.parametrize("row", ["first", "later"])
def test_differences_wait_for_both_rows(trial: Path, row: str) -> None:
    for path in (trial / page.DATA / "trial").glob(f"{row}*"):
        path.unlink()
    made = page.rendered("<!-- table trial/decides --><!-- end -->", trial)
    assert f"Not run yet: {row}." in made
