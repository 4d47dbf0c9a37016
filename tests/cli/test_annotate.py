import contextlib
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hints import Walk
from made_up_study import filled, random_votes, rows_in, without_context, write_results, write_rows

from menura.cli.main import run

Captured = pytest.CaptureFixture[str]
SHEET = Path("study/for-raters/sheet.csv")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with results of two systems, a study, and the sheets of two raters."""
    folder = tmp_path_factory.mktemp("good")
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        for name in ("maml", "plain"):
            write_results(Path("results", name), reply=lambda row, p, n, who=name: f"{who[::-1]} {len(row)} {p} {n}")
        write_results(Path("results/other"))
        path = Path("results/other/predictions.jsonl")
        path.write_text(path.read_text(encoding="utf-8").replace('"dialogue-', '"other-'), encoding="utf-8")
        assert run(["annotate", "new", "results/maml", "--protocol", "cmaml"]) == 0
        assert run(["annotate", "new", "results/maml", "--protocol", "cmaml", "--seed", "1", "--out", "second"]) == 0
        for seed, name in enumerate(("ann", "bo")):
            filled(SHEET, name, random_votes(seed, "012"), Path(f"{name}.csv"))
    return folder


@pytest.fixture
def here(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a copy of the good folder."""
    folder = tmp_path / "here"
    shutil.copytree(good, folder)
    monkeypatch.chdir(folder)
    return folder


def everything(folder: Path) -> dict[str, str]:
    """Return a hash of every file."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def nothing() -> None:
    """Spoil nothing."""


def spoilt_sheet(change: Callable[[list[list[str]]], None]) -> Callable[[], None]:
    """Return the act of changing the rows of ann's sheet."""

    def act() -> None:
        rows = rows_in(Path("ann.csv"))
        change(rows)
        write_rows(Path("ann.csv"), rows)

    return act


def emptied(path: str) -> Callable[[], None]:
    """Return the act of emptying a file."""
    return lambda: Path(path).write_text("", encoding="utf-8") and None


def no_vote(rows: list[list[str]]) -> None:
    rows[1][-1] = ""


def wrong_vote(rows: list[list[str]]) -> None:
    rows[1][-1] = "3"


def second_row(rows: list[list[str]]) -> None:
    rows.append(rows[1])


def gone_row(rows: list[list[str]]) -> None:
    del rows[-1]


def no_facts() -> None:
    shutil.rmtree("results/maml")
    write_results(Path("results/maml"), facts=False, dialogues=1)


@dataclass(frozen=True)
class Bad:
    """One bad input: what is typed, what is answered."""

    case: str
    line: str
    exit: int
    code: str
    says: str
    give: Callable[[], None] = nothing


NEW, SCORE = "annotate new results/maml --protocol", "annotate score ann.csv bo.csv"
ROWS = (
    Bad("unknown protocol", f"{NEW} likert", 2, "unknown_protocol", "'likert': no such .*--protocol cmaml"),
    Bad("ties of ratings", f"{NEW} plato --ties --out new", 2, "config", "nothing is compared by plato"),
    Bad("unknown row", f"{NEW} cmaml --row adopted", 2, "unknown_row", "'adopted'.*there are un-adapted; adapted"),
    Bad("one system", f"{NEW} pairwise --row adapted --out new", 2, "config", "two or more are compared"),
    Bad("no results", "annotate new results/gone --protocol cmaml", 3, "data", "no predictions.jsonl here"),
    Bad(
        "results without replies",
        f"{NEW} cmaml --out new",
        3,
        "data",
        "no replies here .hint: menura eval RUN",
        emptied("results/maml/predictions.jsonl"),
    ),
    Bad(
        "earlier results",
        f"{NEW} cmaml --out new",
        3,
        "data",
        "earlier version.*evaluate it again",
        lambda: without_context(Path("results/maml")),
    ),
    Bad(
        "no shared items",
        "annotate new results/maml results/other --protocol cmaml --out new",
        3,
        "no_shared_items",
        "maml: un-adapted: 6 replies to 3 personas, and no context that all systems replied to",
    ),
    Bad("nobody is known", f"{NEW} cmaml --out new", 3, "unknown_person", "nothing is known.*--queries 2", no_facts),
    Bad("another study there", f"{NEW} plato", 2, "exists", "another study lies there.*another --out"),
    Bad("fewer than none", f"{NEW} cmaml --items -1", 2, "usage", "--items"),
    Bad("no protocol", "annotate new results/maml", 2, "usage", "--protocol"),
    Bad("no key", f"{SCORE} --key gone.json", 5, "missing", "gone.json"),
    Bad("another key", f"{SCORE} --key second/key.json", 3, "other_study", "ann.csv: a sheet of study .*--key FILE"),
    Bad("what is no key", f"{SCORE} --key ann.csv", 3, "damaged", "ann.csv"),
    Bad("no such sheet", "annotate score gone.csv", 5, "missing", "gone.csv: No such file"),
    Bad("what is no sheet", "annotate score results/maml/scores.csv", 5, "missing", "scores.csv"),
    Bad("a page for a sheet", "annotate score study/for-raters/page.html", 3, "no_sheet", "no sheet of a cmaml study"),
    Bad("empty sheet", "annotate score study/for-raters/sheet.csv", 3, "missing_vote", "row 2: item .*rater sheet"),
    Bad(
        "missing vote",
        SCORE,
        3,
        "missing_vote",
        "ann.csv, row 2: item .*, rater ann, .*--partial",
        spoilt_sheet(no_vote),
    ),
    Bad("missing row", SCORE, 3, "missing_vote", "rater ann, quality: no row for 1 item", spoilt_sheet(gone_row)),
    Bad(
        "wrong vote",
        SCORE,
        3,
        "unknown_vote",
        "row 2: item .*rater ann.*'3' is none of 0, 1, 2",
        spoilt_sheet(wrong_vote),
    ),
    Bad("double row", SCORE, 3, "double_vote", "row 14: item .*rater ann.*a second vote", spoilt_sheet(second_row)),
    Bad("a sheet twice", f"{SCORE} ann.csv", 3, "double_vote", "rater ann.*a second vote"),
    Bad("no rounds", f"{SCORE} --rounds 0", 2, "usage", "--rounds"),
)


@pytest.mark.parametrize("row", ROWS, ids=[row.case.replace(" ", "-") for row in ROWS])
def test_bad_input_is_told_and_changes_nothing_and_its_hint_works(
    row: Bad, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    row.give()
    before = everything(here)
    code = run(row.line.split())
    told = capsys.readouterr().err
    assert code == row.exit, told
    assert "Traceback" not in told
    assert told.startswith(f"error[{row.code}]: "), told
    assert re.search(row.says, told), told
    assert everything(here) == before
    Walk(monkeypatch, capsys).after(row.line.split(), told)


def test_sheets_are_made_and_scored_with_the_folder_of_the_study_as_default(here: Path, capsys: Captured) -> None:
    assert run(SCORE.split()) == 0
    told = capsys.readouterr().out
    assert "| adapted, K=2 | quality " in told
    assert "wrote study/scores/table.md, study/scores/scores.json" in told
    assert Path("study/scores/table.md").read_text(encoding="utf-8").rstrip() in told
    assert json.loads(Path("study/scores/scores.json").read_text(encoding="utf-8"))["about"]["raters"] == ["ann", "bo"]


def test_as_json_a_study_and_its_scores_are_objects(here: Path, capsys: Captured) -> None:
    assert run(["--json", *NEW.split(), "pairwise", "--out", "third"]) == 0
    study = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (study["event"], study["items"], study["contexts"]) == ("study", 6, 6)
    assert run(["--json", *SCORE.split()]) == 0
    scores = json.loads(capsys.readouterr().out.splitlines()[0])
    assert scores["event"] == "scores"
    assert {rating["system"] for rating in scores["ratings"]} == {"un-adapted", "adapted, K=2"}


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(here: Path, capsys: Captured) -> None:
    before = everything(here)
    assert run([*NEW.split(), "plato", "--out", "new", "--potato", "--dry-run"]) == 0
    assert "would write new/key.json, new/for-raters/page.html, " in capsys.readouterr().out
    assert run([*SCORE.split(), "--dry-run"]) == 0
    assert everything(here) == before
