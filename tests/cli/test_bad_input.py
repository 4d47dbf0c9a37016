import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bad_inputs
import pytest
import torch
from bad_exchange import EXPORTS, IMPORT, IMPORTS, lora_folder
from bad_inputs import TRAIN, Bad
from hints import Walk
from made_up_chat import settings, write

import menura
from menura.cli.main import run
from menura.training.run_folder import Run

ROWS = [*bad_inputs.ROWS, *IMPORTS, *EXPORTS]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder that each row gets a copy of: a corpus, a finished run, a base and a persona."""
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.chdir(folder)
        patch.setenv("MENURA_HOME", "home")
        write(Path("chat.jsonl"), people=12)
        assert run(["train", "tiny/maml", *settings(Path("chat.jsonl"), "outer.steps=2")]) == 0
        assert run(["adapt", "mira", "chat.jsonl", "--speaker", "person-01", "-k", "3", "--base", "tiny"]) == 0
    return folder


@pytest.fixture
def here(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a copy of the good folder."""
    folder = tmp_path / "here"
    shutil.copytree(good, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MENURA_HOME", "home")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    return folder


def everything(folder: Path) -> dict[str, str]:
    """Return a hash of every file, and the names of folders; a run's log may grow."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if path.name != "log.txt"
    }


def first_line_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command line; return its exit code, the first line it told and all that it told."""
    capsys.readouterr()
    code = run(words)
    told = capsys.readouterr()
    return code, (told.err or told.out).split("\n", 1)[0], told.out + told.err


@pytest.mark.parametrize("row", ROWS, ids=[row.case.replace(" ", "-") for row in ROWS])
def test_bad_input_is_told_and_changes_nothing_and_its_hint_works(
    row: Bad, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row.give()
    before = everything(here)
    code, first, told = first_line_of(row.line.split(), capsys)
    assert code == row.exit, told
    assert "Traceback" not in told
    if row.code:
        assert first.startswith(f"error[{row.code}]: "), told
        assert re.search(row.says, first), first
    else:  # a verb whose result is what is wrong
        assert re.search(row.says, told), told
    assert everything(here) == before
    Walk(monkeypatch, capsys).after(row.line.split(), told)


def test_every_row_is_another_case() -> None:
    assert len({row.case for row in ROWS}) == len(ROWS)


def test_the_lora_that_the_rows_make_worse_is_good(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora_folder()()
    assert first_line_of(IMPORT.split(), capsys)[0] == 0


def test_as_json_an_error_is_one_object_a_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.jsonl").write_text('{"turns": [{"speaker": "a"}]}\n{"turns"', encoding="utf-8")
    assert run(["--json", "adapt", "noa", "bad.jsonl"]) == 3
    told = capsys.readouterr()
    found = [json.loads(line) for line in told.out.splitlines()]
    assert len(found) >= 2
    assert told.err == ""
    for line in found:
        assert line["event"] == "error"
        assert line["exit"] == 3
        assert line["place"].startswith("bad.jsonl:")
    assert {line["code"] for line in found} == {"schema", "jsonl_syntax"}


def test_as_json_a_usage_error_is_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--json", "--nope"]) == 2
    assert json.loads(capsys.readouterr().out)["code"] == "usage"


def test_all_wrong_settings_are_told_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*TRAIN.split(), "--set", "outer.stepz=1", "--set", "data.turn=x", "--set", "method=nope"]) == 2
    assert capsys.readouterr().err.count("error[") == 3


def test_every_changed_setting_of_a_run_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = settings(Path("chat.jsonl"), "outer.steps=2", "outer.lr=0.5", "data.seed=7", "method=finetune")
    before = everything(here)
    assert run(["train", "tiny/maml", *changed]) == 3
    told = capsys.readouterr().err
    for path in (
        "settings.outer.lr: 0.01 -> 0.5",
        "settings.data.seed: 0 -> 7",
        "settings.method.name",
        "split_sha256",
    ):
        assert path in told
    assert "--allow-config-change" in told
    assert everything(here) == before


def test_a_run_in_use_is_told_with_who_uses_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Run(Path("runs/tiny-maml")).locked():
        before = everything(here)
        code, first, _ = first_line_of(["train", "tiny/maml", *settings(Path("chat.jsonl"), "outer.steps=2")], capsys)
        assert everything(here) == before
    assert code == 8
    assert re.match(rf"error\[locked\]: runs/tiny-maml: .*pid {os.getpid()} on .* since .*choose another --out", first)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, first, _ = first_line_of(["chat", "mira", "--device", "cuda"], capsys)
    assert code == 2
    assert re.match(r"error\[config\]: --device cuda: .*--device cpu", first)


def test_a_hub_that_does_not_answer_is_told(here: Path) -> None:
    before = everything(here)
    environment = (
        os.environ
        | {"PYTHONPATH": str(Path(menura.__file__).parents[1])}
        | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(here.parent / "hub")}
    )
    words = [sys.executable, "-m", "menura", "base", "pull", "someone/some-model"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 5, done.stderr
    assert re.match(r"error\[unreachable\]: base 'someone/some-model': .*hint: menura base list", done.stderr)
    assert "Traceback" not in done.stderr
    assert everything(here) == before


@pytest.fixture
def small_disk(here: Path) -> Iterator[Path]:
    """Move the workspace to a disk of one MiB that is nearly full."""
    disk = here / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        shutil.copytree(here / "home", disk / "home")
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - 20_480)
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_old_persona(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MENURA_HOME", str(small_disk / "home"))
    before = everything(small_disk)
    words = ["adapt", "mira", "chat.jsonl", "--speaker", "person-02", "-k", "2", "--base", "tiny"]
    code = run(words)
    told = capsys.readouterr()
    assert code == 5, told
    assert re.search(r"error\[storage_full\]: .*mira@1.persona: .*MiB free.*free some space", told.err)
    assert everything(small_disk) == before


def test_the_input_is_shown_cut_and_escaped(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["chat", "\x1b[31m" + "x" * 500])
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "x" * 81 not in told
