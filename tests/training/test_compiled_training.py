"""Training with ``outer.compile``, by what a user writes; what the graph computes is tested beside it."""

import signal
from pathlib import Path

import pytest
from made_up_chat import write
from not_compiled import as_it_is
from small_training import AfterStep, config_for, ended, train

from menura.adaptation import compile_graph, compiled_maml
from menura.errors import ConfigError, Stopped
from menura.training.overrides import with_settings

COMPILED = ("outer.compile=yes", "outer.steps=3", "method.order=exact", "method.inner.batch_size=0")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


@pytest.fixture
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_maml, "compiled", as_it_is)
    monkeypatch.setattr(compile_graph, "compiled", as_it_is)


def stopping(at: int) -> AfterStep:
    """Send this process a signal after a step."""
    return lambda step, training: signal.raise_signal(signal.SIGTERM) if step == at else None


@pytest.mark.usefixtures("_uncompiled")
def test_a_compiled_training_takes_the_steps_of_a_plain_one(corpus: Path, tmp_path: Path) -> None:
    said = train(config_for(corpus, *COMPILED), tmp_path / "compiled")
    train(config_for(corpus, *COMPILED, "outer.compile=no"), tmp_path / "plain")
    made, plain = (ended(tmp_path / name)["trace"] for name in ("compiled", "plain"))
    assert [entry.keys() for entry in made] == [entry.keys() for entry in plain]
    for ours, wanted in zip(made, plain, strict=True):
        assert all(ours[name] == pytest.approx(wanted[name], rel=1e-4) for name in wanted if name != "loss_hex")
    assert sum(line.startswith("compiling the exact gradient through 1 inner step:") for line in said) == 1


@pytest.mark.usefixtures("_uncompiled")
def test_a_stopped_compiled_training_goes_on_to_the_same_bits(corpus: Path, tmp_path: Path) -> None:
    config = config_for(corpus, *COMPILED)
    train(config, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", stopping(2))
    train(config, tmp_path / "run")
    assert ended(tmp_path / "run") == ended(tmp_path / "whole")


@pytest.mark.parametrize("assignment", ["method=finetune", "model=transfer_transfo", "method.order=reptile"])
def test_what_cannot_be_compiled_ends_a_training_before_it_begins(
    corpus: Path, tmp_path: Path, assignment: str
) -> None:
    with pytest.raises(ConfigError, match=r"outer\.compile"):
        train(with_settings(config_for(corpus, "outer.compile=yes"), [assignment]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_machine_without_a_compiler_ends_a_training_before_it_begins(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="needs a C"):
        train(config_for(corpus, *COMPILED), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_compiling_and_bfloat16_rule_each_other_out(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"outer\.compile: not with dtype bfloat16"):
        config_for(corpus, "outer.compile=yes", "dtype=bfloat16")
