import os
import subprocess
import sys
from pathlib import Path

import pytest

import menura
from menura.cli.main import run

HEAVY = ("torch", "transformers", "numpy", "pydantic", "sacrebleu", "yaml", "tokenizers", "fastapi", "uvicorn")
VERBS = (
    *("demo", "doctor", "train", "adapt", "chat", "eval"),
    *("base list", "base pull", "base show", "model list", "model show", "config list", "config show"),
    *("data check", "data stats", "data split", "data convert", "persona list", "persona show", "persona rm"),
    *("annotate new", "annotate score", "serve", "key new", "key list", "key revoke"),
)
FLAGS = ("-c FILE", "--set", "--dry-run", "--json", "--seed", "--device", "--offline", "--debug")


def python(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter that finds this package."""
    environment = os.environ | {"PYTHONPATH": str(Path(menura.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    "code",
    [
        "import menura; dir(menura); menura.__version__",
        "from menura.cli.main import run; run(['--help'])",
        "from menura.cli.main import run; run(['--version'])",
    ],
)
def test_help_and_import_wait_for_nothing_heavy(code: str) -> None:
    done = python("-c", f"{code}\nimport sys\nprint('LOADED', *sorted(sys.modules.keys() & set({HEAVY!r})))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize("words", [["adapt", "--help"], ["data", "--help"], ["train", "--nonsense"]])
def test_a_verb_s_help_waits_for_no_library_of_the_model(words: list[str]) -> None:
    heavy = set(HEAVY) - {"pydantic"}  # with which typer reads a verb's words
    code = f"from menura.cli.main import run; run({words!r})"
    done = python("-c", f"{code}\nimport sys\nprint('LOADED', *sorted(sys.modules.keys() & {heavy!r}))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_the_module_runs_as_the_program() -> None:
    done = python("-m", "menura", "--version")
    assert (done.returncode, done.stdout) == (0, f"menura {menura.__version__}\n")


def test_the_program_leaves_with_the_exit_code() -> None:
    done = python("-m", "menura", "trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error[usage]: ")


def test_the_name_alone_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    alone = capsys.readouterr().out
    assert run(["--help"]) == 0
    assert alone == capsys.readouterr().out
    for verb in VERBS:
        assert f"  {verb.split()[0]} " in alone


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_names_the_flags_of_all(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb.split(), "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"Usage: menura {verb} " in told
    for flag in FLAGS:
        assert flag in told, flag


def test_the_flags_of_all_verbs_stand_anywhere_on_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--json", "config", "list"], ["config", "--json", "list"], ["config", "list", "--json"]):
        assert run(words) == 0
        assert capsys.readouterr().out.startswith('{"event": "recipes"')


def test_a_verb_group_alone_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    run(["persona"])
    told = capsys.readouterr()
    assert "Usage: menura persona" in told.out + told.err


def test_an_unexpected_error_is_one_line_that_calls_itself_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("made up")

    monkeypatch.setattr("menura.artefacts.persona_store.current_versions", broken)
    assert run(["persona", "list"]) == 1
    assert capsys.readouterr().err == (
        "error[internal]: ZeroDivisionError: made up. This is a bug (hint: the same line with --debug)\n"
    )
    assert run(["persona", "list", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
