"""``menura data check`` tells everything once: equal faults merge, and a long list is cut unless all is asked for."""

import json
import re
from pathlib import Path

import pytest

from menura.cli.main import run

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder."""
    monkeypatch.chdir(tmp_path)


def checked(*words: str, exit_code: int = 0, capsys: Captured) -> list[str]:
    """Return the lines that the check tells."""
    assert run(["data", "check", *words]) == exit_code
    told = capsys.readouterr()
    assert told.err == ""
    return told.out.splitlines()


def names_alike(pairs: int) -> str:
    """Return a chat in which each of some people has two names."""
    names = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}q" for i in range(pairs)]
    return "".join(f"{name}: hi\n{name.upper()}: so\n{name}: yes\n{name.upper()}: well\n\n" for name in names)


def test_of_many_kinds_of_problems_twenty_are_shown_unless_all_are_asked_for(capsys: Captured) -> None:
    Path("chat.txt").write_text(names_alike(30), encoding="utf-8")
    problems = [line for line in checked("chat.txt", capsys=capsys) if line.startswith("  warn[")]
    assert len(problems) == 20
    lines = checked("chat.txt", capsys=capsys)
    assert re.fullmatch(r"  … and \d+ more: --all shows them", lines[-2])
    assert re.fullmatch(r"0 kinds of error, \d+ kinds? of warning. Nothing was written.", lines[-1])
    every = checked("chat.txt", "--all", capsys=capsys)
    assert sum("warn[alike]" in line for line in every) == 30
    assert not any("--all" in line for line in every)


def test_the_same_fault_in_other_entries_and_lines_is_one_line_with_a_count(capsys: Captured) -> None:
    rows = []
    for number in range(40):
        turns = [{"role": ("user", "assistant")[i % 2], "content": "hi"} for i in range(4)]
        turns[number % 4]["content"] = 5  # type: ignore[assignment]  # wrong
        rows.append(json.dumps({"messages": turns}))
    Path("train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    lines = [line for line in checked("train.jsonl", exit_code=3, capsys=capsys) if "error[" in line]
    assert len(lines) == 1
    assert re.fullmatch(
        r"  error\[schema\]: train.jsonl:1: messages\[0\].content: .*must be text \(40 places\)", lines[0]
    )


def test_of_many_files_twenty_are_shown_those_with_errors_among_them(capsys: Captured) -> None:
    for number in range(30):
        Path("chats").mkdir(exist_ok=True)
        good = "Ann: tea?\nBo: yes\nAnn: green?\nBo: yes\n"
        Path(f"chats/{number:02}.txt").write_text(good if number != 29 else "Ann: a\nAnn: b\n", encoding="utf-8")
    lines = checked("chats", exit_code=3, capsys=capsys)
    files = [line.split("  ")[0] for line in lines if line.startswith("chats/")]
    assert files == ["chats/29.txt", *(f"chats/{number:02}.txt" for number in range(19))]
    assert lines[-2] == "… and 10 more files: --all shows them"
    assert lines[-1].startswith("1 kind of error, 2")
    every = checked("chats", "--all", exit_code=3, capsys=capsys)
    assert sum(line.startswith("chats/") for line in every) == 30


def test_as_json_all_files_and_problems_are_given(capsys: Captured) -> None:
    Path("chat.txt").write_text(names_alike(30), encoding="utf-8")
    assert run(["--json", "data", "check", "chat.txt"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[0])
    assert sum(problem["code"] == "alike" for problem in found["problems"]) == 30


def test_one_kind_of_error_and_one_of_warning_are_singular(capsys: Captured) -> None:
    turns = [{"speaker": "Ann", "text": "hi"}, {"speaker": "Bob", "text": "so"}]
    Path("chat.jsonl").write_text(json.dumps({"turns": turns, "fact": {}}) + "\n[]\n", encoding="utf-8")
    lines = checked("chat.jsonl", exit_code=3, capsys=capsys)
    assert lines[-1] == "1 kind of error, 1 kind of warning. Nothing was written."
