"""CPED's table: rows become dialogues of characters with gender and age."""

import csv
from pathlib import Path

import pytest

from menura.corpus import inputs
from menura.corpus.check import check
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import DataError
from menura.tasks.persona_groups import by_speaker

SHARED = Path(__file__).parents[2] / "../shared/data/cped"
COLUMNS = "TV_ID,Dialogue_ID,Utterance_ID,Speaker,Gender,Age,Scene,Emotion,Utterance"


def row(talk: str, speaker: str, said: str, gender: str = "female", age: str = "young", show: str = "81") -> list[str]:
    return [show, talk, f"{talk}_000", speaker, gender, age, "home", "neutral", said]


ROWS = [
    row("81_000", "青禾", "山羊又跑了"),
    row("81_000", "青禾", "快来, 帮我"),
    row("81_000", "石磊", '它说"咩"', "male", "elderly"),
    row("81_001", "石磊", "表修好了", "male", "elderly"),
    row("81_001", "其他", "谢谢", "unknown", "unknown"),
]


def written(folder: Path, rows: list[list[str]], columns: str = COLUMNS, ending: str = "\r\n") -> Path:
    path = folder / "talk.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator=ending).writerows([columns.split(","), *rows])
    return path


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_rows_of_one_dialogue_are_its_turns_with_gender_and_age_of_each_speaker(
    tmp_path: Path, ending: str
) -> None:
    first, second = inputs.read(written(tmp_path, ROWS, ending=ending))
    profiles = {
        "青禾": {"gender": ("female",), "age": ("young",)},
        "石磊": {"gender": ("male",), "age": ("elderly",)},
    }
    said = (Turn("青禾", "山羊又跑了\n快来, 帮我"), Turn("石磊", '它说"咩"'))
    assert first == Dialogue("81_000", said, profiles=profiles)
    assert second.profiles == {"石磊": profiles["石磊"]}
    assert list(first.profiles) == ["青禾", "石磊"]


def test_others_are_partners_and_never_a_persona(tmp_path: Path) -> None:
    tasks = by_speaker(inputs.read(written(tmp_path, ROWS)))
    assert {task.persona_id: len(task.dialogues) for task in tasks} == {"青禾": 1, "石磊": 2}


def test_rows_of_one_dialogue_need_not_stand_together(tmp_path: Path) -> None:
    first, second = inputs.read(written(tmp_path, [ROWS[0], ROWS[3], ROWS[2], ROWS[4]]))
    assert [turn.text for turn in first.turns] == ["山羊又跑了", '它说"咩"']
    assert second.dialogue_id == "81_001"


def test_ids_begin_with_the_show_whether_the_file_says_so_or_not(tmp_path: Path) -> None:
    rows = [row("7", speaker, "好", show="9") for speaker in ("青禾", "石磊")]
    assert [dialogue.dialogue_id for dialogue in inputs.read(written(tmp_path, rows))] == ["9_7"]


def test_what_most_rows_say_of_a_speaker_holds_everywhere_and_is_told(tmp_path: Path) -> None:
    rows = [*ROWS, row("81_002", "石磊", "咦", "female", "unknown"), row("81_002", "青禾", "啊", "", "")]
    path = written(tmp_path, rows)
    last = inputs.read(path)[-1]
    assert last.profiles["石磊"] == {"gender": ("male",), "age": ("elderly",)}
    assert last.profiles["青禾"] == {"gender": ("female",), "age": ("young",)}
    (warning,) = check(path)[0].warnings
    assert warning.code == "contradictory"
    assert "gender of '石磊' is male and female; male taken" in warning.message


def test_a_row_in_which_nothing_is_said_is_left_out_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, [*ROWS, row("81_001", "石磊", " ")])
    assert inputs.read(path) == inputs.read(written(tmp_path, ROWS))
    (warning,) = check(written(tmp_path, [*ROWS, row("81_001", "石磊", " ")]))[0].warnings
    assert (warning.code, warning.place.rsplit(":", 1)[1]) == ("empty_turn", "7")


def test_an_utterance_of_two_lines_is_one(tmp_path: Path) -> None:
    path = written(tmp_path, [*ROWS[:1], row("81_000", "石磊", "一\n二"), row("81_000", "青禾", "三")])
    (dialogue,) = inputs.read(path)
    assert [turn.text for turn in dialogue.turns] == ["山羊又跑了", "一\n二", "三"]


def test_all_missing_columns_are_named(tmp_path: Path) -> None:
    rows = [line[:3] + line[6:] for line in ROWS]
    path = written(tmp_path, rows, "TV_ID,Dialogue_ID,Utterance_ID,Scene,Emotion,Utterance")
    with pytest.raises(DataError, match="no column Speaker, Gender, Age"):
        inputs.read(path, "cped")
    path = written(tmp_path, [line[:4] + line[5:] for line in ROWS], COLUMNS.replace("Gender,", ""))
    assert [problem.message for problem in check(path)[0].errors] == ["no column Gender"]


def test_rows_that_lack_something_are_told_by_their_line(tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[0][:-1], row("", "", "咦")]
    with pytest.raises(DataError) as caught:
        inputs.read(written(tmp_path, rows))
    assert [(problem.message, problem.place.rsplit(":", 1)[1]) for problem in caught.value.problems] == [
        ("8 cells, the first line names 9", "7"),
        ("Dialogue_ID, Speaker: is empty", "8"),
    ]


@pytest.mark.parametrize("cell", ['"open', '"a"b'])
def test_a_broken_table_is_refused(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "talk.csv"
    path.write_text(f"{COLUMNS}\n81,81_000,x,青禾,female,young,home,neutral,{cell}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"talk\.csv:2: not a readable table"):
        inputs.read(path)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("split", "dialogues", "lines", "characters"),
    [("valid", 934, 11_137 + 1, 24), ("test", 2_815, 27_438, 28)],  # one utterance has two lines
)
def test_the_published_splits_are_read_whole(split: str, dialogues: int, lines: int, characters: int) -> None:
    if not SHARED.exists():
        pytest.skip("the measuring data cped are not beside the project")
    found = inputs.read(SHARED / f"{split}_split.csv.xz")
    assert len(found) == dialogues
    assert sum(len(turn.text.split("\n")) for talk in found for turn in talk.turns) == lines
    tasks = by_speaker(found)
    assert len(tasks) == 33  # 34 names, one of them nobody's
    assert sum(len(task.dialogues) >= 20 for task in tasks) == characters
    assert all(talk.dialogue_id.split("_")[0].isdigit() for talk in found)
