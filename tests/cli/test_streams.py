"""What is typed, and where it is printed, may be in any encoding; nothing printed moves the terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import menura
from menura.cli.chat import _streamed
from menura.cli.main import run
from menura.cli.terminal import Screen
from menura.errors import Problem, printable


@pytest.mark.slow
def test_bytes_that_are_no_text_and_a_terminal_that_shows_ascii_alone_stop_no_chat(workspace: Path) -> None:
    source = str(Path(menura.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": source, "PYTHONIOENCODING": "ascii", "MENURA_HOME": str(workspace)}
    words = [sys.executable, "-m", "menura", "chat", "tiny", "--greedy", "--offline"]
    done = subprocess.run(words, env=environment, input=b"h\xff\xfei\nfine\n", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert done.stdout.count(b"tiny> ") >= 2


def test_an_escape_in_a_files_name_is_printed_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a\x1b[31mb.txt"
    path.write_text("Ann: hi\nBob: so\n", encoding="utf-8")
    assert run(["data", "check", str(path)]) == 0
    assert run(["data", "check", str(tmp_path / "no\x1b[31mne.txt")]) == 5
    told = capsys.readouterr()
    for text in (told.out, told.err):
        assert "\x1b" not in text
        assert "\\x1b[31m" in text


def test_line_breaks_stay_and_every_other_control_character_is_escaped() -> None:
    assert printable("a\nb\x07\x1b\u202e\u0301é") == "a\nb\\x07\\x1b\\u202e\u0301é"
    assert "\x1b" not in str(Problem("x", "y", place="\x1b[2J"))


def test_a_reply_of_several_lines_is_shown_as_several_messages(capsys: pytest.CaptureFixture[str]) -> None:
    assert _streamed(Screen(as_json=False), "mira", iter(["one", "\ntw", "o"])) == "one\ntwo"
    assert capsys.readouterr().out == "mira> one\nmira> two\n"
