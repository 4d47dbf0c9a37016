"""Persona-Chat's numbered lines, each trap of the published readers once."""

from pathlib import Path

import pytest

from menura.corpus import personachat
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import DataError

TWO = """1 your persona: i like: tea.
2 your persona: i mend clocks
3 hello there .\thi , busy day ?
4 always .\tsame here .
1 your persona: i keep bees.
2 what is that noise ?\tmy bees .
"""


def read(folder: Path, text: str, name: str = "pc.txt") -> list[Dialogue]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return list(personachat.read(path))


def test_the_last_dialogue_of_a_file_is_kept(tmp_path: Path) -> None:
    assert [dialogue.dialogue_id for dialogue in read(tmp_path, TWO)] == ["pc-1", "pc-2"]


def test_a_fact_with_a_colon_survives_and_one_without_full_stop_keeps_its_last_letter(tmp_path: Path) -> None:
    assert read(tmp_path, TWO)[0].facts == {"self": ("i like: tea", "i mend clocks")}


def test_partner_and_self_alternate(tmp_path: Path) -> None:
    first = read(tmp_path, TWO)[0]
    assert first.turns[:2] == (Turn("partner", "hello there ."), Turn("self", "hi , busy day ?"))
    assert len(first.turns) == 4


def test_both_personas_are_kept_apart(tmp_path: Path) -> None:
    text = "1 your persona: i sail.\n2 partner's persona: i cook.\n3 hi\thello\n"
    assert read(tmp_path, text)[0].facts == {"self": ("i sail",), "partner": ("i cook",)}


def test_candidates_stand_by_the_index_of_the_reply_with_the_true_one_last(tmp_path: Path) -> None:
    text = "1 hi\thello\t\tno|maybe|hello\n2 ok\tfine\t\tred|fine\n"
    assert read(tmp_path, text)[0].candidates == {1: ("no", "maybe", "hello"), 3: ("red", "fine")}


def test_silence_means_that_self_speaks_first(tmp_path: Path) -> None:
    dialogue = read(tmp_path, "1 __SILENCE__\thello\t\tno|hello\n2 hi\tfine\n")[0]
    assert dialogue.turns == (Turn("self", "hello"), Turn("partner", "hi"), Turn("self", "fine"))
    assert dialogue.candidates == {0: ("no", "hello")}


def test_a_last_line_without_reply_is_the_partners(tmp_path: Path) -> None:
    assert read(tmp_path, "1 hi\thello\n2 bye\n")[0].turns[-1] == Turn("partner", "bye")


def test_more_lines_than_a_user_may_send_are_read(tmp_path: Path) -> None:
    assert len(read(tmp_path, "1 hi\thello\n" * 100_001)) == 100_001


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("1 hi\thello\n3 so\tyes\n", "line number 3 follows 1", 2),
        ("2 hi\thello\n", "line number 2 follows 0", 1),
        ("1 hi\thello\nno number\tx\n", "no number and space", 2),
        ("1 hi\thello\n2 \tyes\n", "empty text of 'partner'", 2),
        ("1 hi\t\n", "empty text of 'self'", 1),
        ("1 your persona: .\n2 hi\thello\n", "persona line without text", 1),
        ("1 a\tb\tc\td\te\n", "5 fields between tabs", 1),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str, message: str, line: int) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    problem = caught.value.problems[0]
    assert message in problem.message
    assert problem.place.endswith(f"pc.txt:{line}")


def test_all_broken_lines_come_in_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, "1 hi\t\n1 hi\thello\n1 \t\n1 so\t\n")
    assert [problem.place.rsplit(":", 1)[1] for problem in caught.value.problems] == ["1", "3", "4"]
