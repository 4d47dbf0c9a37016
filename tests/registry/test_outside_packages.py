"""A package outside of Menura adds a model and a method, which every command then knows."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from counts import count
from made_up_chat import QUICK, write

import menura
from menura import registry
from menura.errors import ConfigError
from menura.models.catalogue import MODELS, ModelEntry
from menura.models.dialogue_model import DialogueModel

PACKAGE = Path(__file__).parent / "toy_package"
SETTINGS = tuple(setting for setting in QUICK if not setting.startswith("model."))


# Each line prints between two marks, and ends the process if it fails.
TYPED = """import json, sys
from menura.cli.main import run
for words in json.loads(sys.argv[1]):
    code = run(words)
    if code:
        sys.exit(code)
    print(sys.argv[2], end="", flush=True)
"""
MARK = "\x1e"


def typed(folder: Path, *commands: Sequence[str], lines: str) -> list[str]:
    """Type commands where the package is on the path, each in a process of its own in a full run.

    A quick run has two processes, so that what the first one wrote is read by another. Returns what each printed.
    """
    size = count(full_count=1, quick_count=4)
    parts = [commands[start : start + size] for start in range(0, len(commands), size)]
    return [printed for part in parts for printed in process(folder, part, lines)]


def process(folder: Path, commands: Sequence[Sequence[str]], lines: str) -> list[str]:
    """Type commands in one new process; return what each printed."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "MENURA_HOME": str(folder / "home")}
    command = [sys.executable, "-c", TYPED, json.dumps(commands), MARK]
    done = subprocess.run(command, input=lines, text=True, capture_output=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split(MARK)[:-1]


@pytest.mark.slow
def test_a_model_and_a_method_of_another_package_are_trained_adapted_evaluated_and_chatted_with(tmp_path: Path) -> None:
    corpus = write(tmp_path / "chat.jsonl")
    run = ["--set", "model=toy-bigram", "--set", "method=toy-step", "--set", f"data.corpus={corpus}"]
    run += [word for setting in (*SETTINGS, "outer.steps=4", "outer.lr=0.5") for word in ("--set", setting)]
    adapt = ["adapt", "person", str(corpus), "--speaker", "person-00", "-k", "2", "--base", "runs/toy"]
    listed, trained, table, adapted, talk, adapted_by_it = typed(
        tmp_path,
        ["model", "list"],
        ["train", "tiny/finetune", "--out", "runs/toy", *run],
        ["eval", "runs/toy", "-k", "1", "--personas", "2", "--metrics", "ppl", "--replies", "0"],
        adapt,
        ["chat", "person", "--greedy"],
        [*adapt, "--method", "toy-step"],
        lines="what do you do?\n/quit\n",
    )
    assert "toy-bigram" in listed
    assert "done: runs/toy" in trained
    for label in ("model: toy-bigram", "method: toy-step", "adapted, K=1"):
        assert label in table
    assert "held-out replies became" in adapted
    assert "person>" in talk
    assert "held-out replies became" in adapted_by_it


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(PACKAGE))
    import menura_toy  # noqa: PLC0415  # it is on the path for this test alone

    yield menura_toy
    for name in ("toy-bigram", "toy-step"):
        registry.unregister(name)


def test_what_is_registered_is_found_by_name(toy: Any) -> None:
    registry.register_model(toy.TOY_BIGRAM)
    registry.register_method(toy.ToyStep)
    assert registry.model("toy-bigram").entry.model is toy.ToyBigram
    assert registry.method("toy-step") is toy.ToyStep
    assert "toy-bigram" in MODELS


def test_two_of_one_name_are_refused(toy: Any) -> None:
    registry.register_model(toy.TOY_BIGRAM)
    with pytest.raises(ConfigError, match="two models are called 'toy-bigram'"):
        registry.register_model(toy.TOY_BIGRAM)
    registry.register_method(toy.ToyStep)
    with pytest.raises(ConfigError, match="two methods are called 'toy-step'"):
        registry.register_method(toy.ToyStep)


def test_a_model_that_lacks_an_ability_is_named_with_it(toy: Any) -> None:
    class Half(DialogueModel[None]):
        """Cannot decode."""

        loss = toy.ToyBigram.loss

    entry = replace(toy.ENTRY, model=Half)
    with pytest.raises(ConfigError, match="model 'toy-bigram' lacks prefill, reorder_cache, step"):
        registry.register_model(replace(toy.TOY_BIGRAM, entry=entry))
    with pytest.raises(ConfigError, match="model 'toy-bigram' lacks DialogueModel"):
        registry.register_model(replace(toy.TOY_BIGRAM, entry=replace(toy.ENTRY, model=int)))
    assert "toy-bigram" not in MODELS


def test_settings_that_lack_what_all_have_are_named_with_it(toy: Any) -> None:
    @dataclass(frozen=True)
    class Bare:
        name: ClassVar[str] = "bare"
        max_length: int = 64

    entry: Any = ModelEntry
    with pytest.raises(ConfigError, match="model 'bare' lacks init_from"):
        registry.register_model(replace(toy.TOY_BIGRAM, entry=entry(Bare, toy.ToyBigram, toy.ENTRY.build)))

    class Nameless:
        """No settings at all."""

    with pytest.raises(ConfigError, match="Nameless: settings of a model are a frozen dataclass with its name"):
        registry.register_model(replace(toy.TOY_BIGRAM, entry=entry(Nameless, toy.ToyBigram, toy.ENTRY.build)))


def test_a_method_that_lacks_an_ability_is_named_with_it() -> None:
    class Idle:
        name = "idle"

    broken: Any = Idle
    with pytest.raises(ConfigError, match="method 'idle' lacks attach, objective, adapt, second_order, has_inner_loop"):
        registry.register_method(broken)


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown model 'seq2sq'.*did you mean seq2seq"):
        registry.model("seq2sq")
    with pytest.raises(ConfigError, match="unknown method 'mmaml'.*did you mean maml"):
        registry.method("mmaml")


def test_the_registry_is_reached_from_the_package_itself() -> None:
    for name in ("register_model", "register_method", "RegisteredModel"):
        assert getattr(menura, name) is getattr(registry, name)
