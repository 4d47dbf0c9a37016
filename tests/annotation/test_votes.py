import json
from pathlib import Path

import pytest
from made_up_study import filled, random_votes, rows_in, write_results, write_rows

from menura import api
from menura.annotation import votes
from menura.annotation.study import Key, read_key
from menura.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study by CMAML's protocol: 12 items, two questions."""
    api.new_study([write_results(tmp_path / "results")], "cmaml").save(tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def sheet(folder: Path) -> Path:
    return folder / "for-raters" / "sheet.csv"


@pytest.fixture
def key(folder: Path) -> Key:
    return read_key(folder / "key.json")


def two(item: str, question: str) -> str:
    """Give every item the best mark."""
    return "2"


def problems_of(files: list[Path], key: Key) -> list[str]:
    """Return what is wrong with files."""
    with pytest.raises(DataError) as caught:
        votes.read(files, key)
    return [str(problem) for problem in caught.value.problems]


def test_the_rater_of_a_sheet_is_named_in_one_row_or_by_the_file(sheet: Path, key: Key) -> None:
    named = filled(sheet, "Ann", two)
    unnamed = filled(sheet, "", two, sheet.with_name("bo.csv"))
    found = votes.read([named, unnamed], key)
    assert found.raters == ["Ann", "bo"]
    assert len(found.by_ballot) == 48
    assert found.of("01", "quality") == ["2", "2"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_sheets_are_read_as_spreadsheets_save_them(sheet: Path, key: Key, delimiter: str) -> None:
    path = filled(sheet, "Ann", random_votes(1, ("0", " 1 ", "2.0", "2,0")))
    expected = votes.read([path], key)
    rows = rows_in(path)
    text = "".join(delimiter.join(f'"{cell}"' for cell in reversed(row)) + "\n" for row in rows)
    path.write_bytes(text.encode("utf-8-sig") + (delimiter * 6 + "\n").encode())
    assert votes.read([path], key).by_ballot == expected.by_ballot
    assert set(expected.by_ballot.values()) == {"0", "1", "2"}


def test_everything_that_is_wrong_is_told_at_once_with_row_and_rater(sheet: Path, key: Key) -> None:
    ann = filled(sheet, "Ann", two)
    rows = rows_in(ann)
    quality = rows[0].index("quality")
    rows[1][quality], rows[2][quality] = "", "3"
    write_rows(ann, rows)
    found = problems_of([ann, filled(sheet, "Bo", two), filled(sheet, "Bo", two, sheet.with_name("again.csv"))], key)
    assert sum("error[missing_vote]" in one and "row 2: item" in one and "rater Ann, quality" in one for one in found)
    assert sum(
        "error[unknown_vote]" in one and "row 3: item" in one and "'3' is none of 0, 1, 2" in one for one in found
    )
    twice = [one for one in found if "error[double_vote]" in one]
    assert len(twice) == 24
    assert all("rater Bo" in one and "the first is in" in one for one in twice)
    assert len(found) == 26


def test_an_item_that_stands_twice_in_one_sheet_is_told_even_with_the_same_vote(sheet: Path, key: Key) -> None:
    path = filled(sheet, "Ann", two)
    rows = rows_in(path)
    write_rows(path, [*rows, rows[1]])
    assert [one.split(":")[0] for one in problems_of([path], key)] == ["error[double_vote]"] * 2


def test_items_without_a_row_are_told_by_rater_and_question(sheet: Path, key: Key) -> None:
    path = filled(sheet, "Ann", two)
    rows = rows_in(path)
    write_rows(path, rows[:-2])
    missing = ", ".join(sorted(row[1] for row in rows[-2:]))
    found = problems_of([path], key)
    assert found[0].startswith(f"error[missing_vote]: rater Ann, quality: no row for 2 items, {missing}")
    assert len(found) == 2


def test_with_partial_what_is_missing_is_counted(sheet: Path, key: Key) -> None:
    path = filled(sheet, "Ann", lambda item, question: "" if item in ("01", "05") else "1")
    found = votes.read([path], key, partial=True)
    assert found.missing == 4
    assert len(found.by_ballot) == 20


def test_a_sheet_of_another_study_is_told(sheet: Path, key: Key, tmp_path: Path) -> None:
    other = api.new_study([tmp_path / "results"], "cmaml", seed=9)
    other.save(tmp_path / "other")
    path = filled(tmp_path / "other" / "for-raters" / "sheet.csv", "Ann", two)
    (found,) = problems_of([path, filled(sheet, "Bo", two)], key)
    assert found.startswith("error[other_study]: ")
    assert other.study in found
    assert key.study in found


def test_a_rater_name_for_every_row_is_wanted_where_a_file_has_several(sheet: Path, key: Key) -> None:
    path = filled(sheet, "Ann", two)
    rows = rows_in(path)
    rows[2][2] = "Bo"
    write_rows(path, rows)
    assert "error[no_rater]" in problems_of([path], key)[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no_sheet"),
        ("a,b\n1,2\n", "no_sheet"),
        ("study,item,rater\nx,1,a\n", "no_sheet"),
        ("study,item,rater,quality\n", "no row in it"),
        ("study,item,rater,quality\nX,1,a,2\n", "other_study"),
        ("study,item,rater,quality\nSTUDY,99,a,2\n", "no such item"),
        ('study,item,rater,quality\nSTUDY,01,a,"2\n', "unknown_vote|missing_vote"),
        ("\x00\xff", "no_sheet"),
    ],
)
def test_what_is_no_sheet_of_the_study_is_told(tmp_path: Path, key: Key, text: str, says: str) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(text.replace("STUDY", key.study), encoding="latin-1")
    with pytest.raises(DataError, match=says):
        votes.read([path], key)


def test_what_potato_keeps_of_a_rater_is_read(tmp_path: Path, key: Key) -> None:
    labels = {
        f"{key.study}.{item}": [[{"schema": name, "name": "1"}, "true"] for name in ("quality", "consistency")]
        for item in key.items
    }
    path = tmp_path / "ann" / "user_state.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"user_id": "ann", "instance_id_to_label_to_value": labels}), encoding="utf-8")
    found = votes.read([path], key)
    assert found.raters == ["ann"]
    assert set(found.by_ballot.values()) == {"1"}
    assert len(found.by_ballot) == 24
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="not what Potato keeps"):
        votes.read([path], key)
