"""What a command printed is kept beside a page, and no cell of it can be typed."""

import json
from pathlib import Path

import pytest

from menura.api import report_page, verify
from menura.cli.main import run
from menura.errors import DataError
from menura.report import outputs, page

PRINTED = """$ python -m trial --wide
begun
| who | ppl ↓ | notes |
| --- | ----: | --- |
| adapted, K=5 | 25.0 [22, 28] | first |
| wrong | 28.1 [25, 32] | second |

| difference | ppl ↓ |
| --- | ---: |
| adapted, K=5 − wrong | −3.10 [−3.78, −2.49] |
| wrong | 28.1 [25, 32] |

done
base: tiny
inner epochs: as the recipe has them
"""
CELL = "<!-- cell trial / adapted, K=5 / ppl -->"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Keep what the trial printed; return the folder of the page."""
    source = tmp_path / "printed.txt"
    source.write_text(PRINTED, encoding="utf-8")
    outputs.keep(source, "trial", tmp_path / page.DATA)
    return tmp_path


@pytest.mark.parametrize(
    ("block", "made"),
    [
        (CELL, "25.0 [22, 28]"),
        ("<!-- cell trial / adapted, K=5 / 25.0 [22, 28] / notes -->", "first"),
        ("<!-- cell trial / adapted, K=5 − wrong / ppl -->", "−3.10 [−3.78, −2.49]"),
        ("<!-- cell trial / wrong / ppl -->", "28.1 [25, 32]"),  # in two tables, and the same
        ("<!-- change trial / adapted, K=5 / wrong / ppl -->", "−11.0 %"),
        ("<!-- change trial / wrong / adapted, K=5 / ppl -->", "+12.4 %"),
    ],
)
def test_a_cell_is_found_by_its_row_and_column(block: str, made: str, kept: Path) -> None:
    assert page.rendered(f"from {block}?<!-- end -->.", kept) == f"from {block}{made}<!-- end -->."


def test_a_table_is_shown_by_its_number_and_the_whole_without_one(kept: Path) -> None:
    second = page.rendered("<!-- output trial 2 --><!-- end -->", kept).splitlines()
    assert second[1:-1] == PRINTED.splitlines()[7:11]
    assert (
        page.rendered("<!-- output trial --><!-- end -->", kept).splitlines()[1:-1] == PRINTED.strip().splitlines()[1:]
    )
    conditions = page.rendered("<!-- output trial conditions --><!-- end -->", kept).splitlines()
    assert conditions[1:-1] == ["- base: tiny", "- inner epochs: as the recipe has them"]
    command = page.rendered("<!-- command trial --><!-- end -->", kept)
    assert command.startswith("<!-- command trial -->`python -m trial --wide` (commit ")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("cell trial / nobody / ppl", "0 cells of 'nobody', column 'ppl'"),
        ("cell trial / wrong / bleu", "0 cells"),
        ("cell trial / wrong", "cell NAME / ROW / COLUMN wanted"),
        ("output trial 3", "table 3 of 2"),
        ("change trial / wrong / ppl", "change NAME / ROW / OTHER ROW / COLUMN wanted"),
        ("change trial / wrong / adapted, K=5 / notes", "no numbers in column 'notes'"),
        ("output nothing", "no output is called 'nothing'"),
    ],
)
def test_what_is_not_there_is_an_error_with_its_line(block: str, message: str, kept: Path) -> None:
    with pytest.raises(DataError, match=message) as error:
        page.rendered(f"\n<!-- {block} --><!-- end -->", kept)
    assert error.value.problems[0].message.startswith(f"line 2, <!-- {block} -->: ")


def test_two_cells_that_differ_are_not_chosen_between(tmp_path: Path) -> None:
    source = tmp_path / "printed.txt"
    source.write_text(PRINTED.replace("| wrong | 28.1 [25, 32] |\n", "| wrong | 29 |\n"), encoding="utf-8")
    outputs.keep(source, "trial", tmp_path / page.DATA)
    with pytest.raises(DataError, match="2 cells of 'wrong'"):
        page.rendered("<!-- cell trial / wrong / ppl --><!-- end -->", tmp_path)


def test_an_edited_output_is_refused(kept: Path) -> None:
    path = kept / page.DATA / outputs.FOLDER / "trial.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "text": content["text"].replace("25.0", "24.0")}), encoding="utf-8")
    with pytest.raises(DataError, match="changed after it was written"):
        page.rendered(f"{CELL}<!-- end -->", kept)


def test_a_page_is_made_from_what_is_given_and_a_typed_cell_is_found(tmp_path: Path) -> None:
    (tmp_path / "printed.txt").write_text(PRINTED, encoding="utf-8")
    written = tmp_path / "page.md"
    written.write_text(f"It is {CELL}<!-- end -->.\n", encoding="utf-8")
    assert report_page(written, printed={"trial": tmp_path / "printed.txt"})
    assert verify([written]) == 1
    written.write_text(written.read_text(encoding="utf-8").replace("25.0", "24.0"), encoding="utf-8")
    with pytest.raises(DataError, match=r"24\.0"):
        verify([written])


def test_a_file_without_its_command_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "printed.txt"
    source.write_text("| a |\n", encoding="utf-8")
    with pytest.raises(DataError, match="no command in the first line"):
        outputs.keep(source, "trial", tmp_path)


def test_the_commit_of_other_code_is_named_beside_the_command(tmp_path: Path) -> None:
    source = tmp_path / "printed.txt"
    source.write_text("$ make bench (commit 84f1204)\n| a |\n", encoding="utf-8")
    outputs.keep(source, "bench", tmp_path)
    assert outputs.read("bench", tmp_path).origin == "`make bench` (commit 84f1204)"


def test_of_an_evaluation_the_command_and_commit_are_its_own(evaluation: Path) -> None:
    outputs.keep(evaluation, "eval", evaluation)
    kept = outputs.read("eval", evaluation)
    assert kept.origin == "`menura eval shipped --set 'data.corpus=my corpus'` (commit abc)"


def test_replies_that_an_evaluation_has_drawn_are_shown_by_line(evaluation: Path) -> None:
    outputs.keep(evaluation, "eval", evaluation / page.DATA)
    made = page.rendered("<!-- output eval replies --><!-- end -->", evaluation).splitlines()
    hidden = "- 1 more reply drawn, word for word a turn of the corpus: not shown"
    assert made[1:-1] == ["adapted, K=5:", "", "- “so what ?”", hidden]


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Write what an evaluation leaves; return its folder."""
    (tmp_path / outputs.TABLE).write_text("| a |\n| --- |\n| 1 |\n", encoding="utf-8")
    words = ["eval", "shipped", "--set", "data.corpus=my corpus", "--out", "/somewhere"]
    rows = [{"label": "prompt", "drawn_replies": []}, {"label": "adapted, K=5", "drawn_replies": ["so what ?", None]}]
    content = {"origin": {"words": words, "commit": "abc"}, "rows": rows}
    (tmp_path / outputs.SCORES).write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [(["folder", "--output", "a=b"], "--output without a page"), (["page.md", "--output", "a"], "NAME=FILE wanted")],
)
def test_an_output_that_cannot_be_kept_is_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", *words]) == 2
    assert told in capsys.readouterr().err
