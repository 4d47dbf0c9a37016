"""Every kind of model folder that people bring becomes a persona that speaks, or a sentence that says why not."""

import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from conftest import SHARED
from counts import count
from hints import Walk

from menura.cli.main import run

pytestmark = pytest.mark.shared
CASES = SHARED / "cases" / "bases" / "make_bases.py"
FAMILIES = [
    *("llama3", "tinyllama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "granite", "ernie", "lfm2"),
    *("smollm3", "olmo2", "stablelm", "qwen3moe", "gpt2", "pythia", "opt", "bloom", "falcon", "mamba"),
]
UNTAUGHT = ("gpt2", "pythia", "opt", "bloom", "falcon", "mamba")  # no chat template
QUICK = ("gemma3", "gpt2", "lfm2")
# Folders that serve as they are, and what is said of them.
USABLE = {  # in quick runs the first four
    "odd-sharded": "",
    "odd-never-taught": "plain text",
    "odd-bad-template": "its chat template cannot be used (line 1",
    "odd-bfloat16": "",
    "odd-template-file": "",
    "odd-many-ends": "",
    "odd-few-rows": "",  # the tokens without a row are control tokens, which nobody can type
}


@dataclass(frozen=True)
class Refused:
    """How a folder is refused: the exit code, the error's code, and what is said."""

    exit: int
    code: str
    says: str


REFUSED = {
    "odd-adapter-as-base": Refused(3, "adapter_folder", "adapter for 'some/base', not a base"),
    "odd-gguf-only": Refused(3, "gguf_damaged", "model-q4_0.gguf"),
    "odd-gptq": Refused(3, "quantised", "GPTQ"),
    "odd-quantised": Refused(3, "quantised", "bitsandbytes"),
    "odd-missing-layer": Refused(3, "tensor_missing", "model.layers.3.mlp.down_proj.weight is missing"),
    "odd-nans": Refused(3, "not_finite", "down_proj.weight: 1 value"),
    "odd-no-tokenizer": Refused(3, "no_tokenizer", "tokenizer.json is missing"),
    "odd-own-code": Refused(4, "own_code", "needs code of its own"),
    "odd-pickled": Refused(4, "unsafe_format", "pickle files can run code"),
    "odd-sentencepiece-only": Refused(3, "package_missing", "pip install sentencepiece"),
    "odd-truncated": Refused(3, "weights_damaged", "not a whole safetensors file"),
    "other-bert": Refused(3, "masked_lm", "is a masked language model"),
    "other-classifier": Refused(3, "classifier", "is a classifier"),
    "other-t5": Refused(3, "encoder_decoder", "is an encoder-decoder"),
    "other-vision": Refused(3, "image_text", "reads images as well as text"),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes one of the folders."""
    if not CASES.exists():
        pytest.skip("the shared cases are not beside the project")
    made = tmp_path_factory.mktemp("bases")
    cases = _module(CASES)

    def folder(name: str) -> Path:
        if not (made / name).exists():
            cases.main(made, [name])
        return made / name

    return folder


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def typed(
    empty_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that types a line and returns exit code, answer and errors."""
    monkeypatch.chdir(tmp_path)
    Path("chat.jsonl").write_text("".join(_dialogue(number) + "\n" for number in range(5)), encoding="utf-8")

    def answer(*words: str, piped: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        capsys.readouterr()
        code = run(list(words))
        told = capsys.readouterr()
        assert "This is a bug" not in told.out + told.err
        return code, told.out, told.err

    return answer


def _dialogue(number: int) -> str:
    turns = [
        {"speaker": ("you", "anna")[place % 2], "text": text}
        for place, text in enumerate(("hi", f"hey {number}", "so?", "tea!"))
    ]
    return json.dumps({"id": f"d{number}", "turns": turns})


@pytest.mark.parametrize("name", FAMILIES if count(full_count=1, quick_count=0) else QUICK)
def test_a_persona_is_adapted_on_every_family_and_speaks(
    name: str, bases: Callable[[str], Path], typed: Callable[..., tuple[int, str, str]]
) -> None:
    folder = os.path.relpath(bases(name))
    code, out, err = typed("adapt", "anna", "chat.jsonl", "--base", folder, "-k", "2")
    assert code == 0, out + err
    assert "wrote  " in out
    assert ("plain text" in out) == (name in UNTAUGHT)
    code, out, err = typed("chat", "anna", "--greedy", piped="hello\nwhat?\n")
    assert code == 0, out + err
    assert out.count("anna> ") >= 2


@pytest.mark.parametrize("name", [*USABLE][: count(full_count=len(USABLE), quick_count=4)])
def test_an_odd_folder_that_serves_is_used_and_what_is_odd_said(
    name: str, bases: Callable[[str], Path], typed: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = typed("adapt", "anna", "chat.jsonl", "--base", str(bases(name)), "-k", "2")
    assert code == 0, out + err
    assert USABLE[name] in out
    assert typed("chat", "anna", "--greedy", piped="hello\n")[0] == 0


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_that_cannot_serve_is_refused_by_what_it_is_and_the_hint_works(
    name: str,
    bases: Callable[[str], Path],
    typed: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["adapt", "anna", "chat.jsonl", "--base", str(bases(name)), "-k", "2"]
    code, out, err = typed(*line)
    wanted = REFUSED[name]
    assert (code, wanted.code in err, wanted.says in err) == (wanted.exit, True, True), out + err
    assert not list(Path("home").rglob("*.persona"))
    Walk(monkeypatch, capsys).after(line, err)


def test_no_folder_of_the_cases_is_left_out() -> None:
    if not CASES.exists():
        pytest.skip("the shared cases are not beside the project")
    cases = _module(CASES)
    assert set(FAMILIES) == set(cases.FAMILIES)
    assert {*USABLE, *REFUSED} == {*cases.ODD, *cases.OTHERS}
