"""Typed transcripts."""

from pathlib import Path

import pytest

from menura.corpus import transcript
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import DataError

TEXT = """Ann: see http://x.example: it is good
Bob Lee: will do
\tlater: maybe

Ann: back?
Bob Lee:
  yes
"""


def read(folder: Path, text: str) -> list[Dialogue]:
    path = folder / "chat.txt"
    path.write_text(text, encoding="utf-8")
    return list(transcript.read(path))


def test_names_texts_and_continued_lines_are_told_apart(tmp_path: Path) -> None:
    first, second = read(tmp_path, TEXT)
    assert first.turns == (
        Turn("Ann", "see http://x.example: it is good"),
        Turn("Bob Lee", "will do\nlater: maybe"),
    )
    assert second.turns == (Turn("Ann", "back?"), Turn("Bob Lee", "yes"))


def test_blank_lines_part_dialogues_also_with_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert [dialogue.dialogue_id for dialogue in transcript.read(path)] == ["chat-1", "chat-2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ann: hi\nno name here\nBob: so\n", 'no "Name: " before the text'),
        ("  Ann: hi\nBob: so\n", "there is none before it"),
        ("Ann: hi\nBob:\n", "no text after the name 'Bob'"),
        ("12.03.21, 20:11 - Ann: hi\n12.03.21, 20:12 - Bob: so\n", "date or time before the name"),
        ("[20:11] Ann: hi\n[20:12] Bob: so\n", "date or time before the name"),
        (f"{'x' * 41}: hi\n", 'no "Name: " before the text'),
    ],
)
def test_a_line_that_is_no_turn_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_prose_with_a_colon_is_not_taken_for_a_transcript() -> None:
    assert not transcript.looks_like("# Notes: a title\nSome line\nand another\n")
    assert transcript.looks_like(TEXT)
