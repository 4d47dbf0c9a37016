import json
from collections.abc import Callable
from typing import Any

import pytest

from menura.cli.main import run

Show = Callable[..., Any]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Return the act of showing a model that can be shown: its words; the answer is what it is made of."""

    def answer(*words: str) -> Any:
        capsys.readouterr()
        assert run(["model", "show", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return answer


def parts(shown: Any) -> set[str]:
    """Return the parts of which anything is there."""
    return {part["part"] for part in shown["parts"] if part["parameters"]}


def test_a_recipe_s_model_is_that_of_the_catalogue_with_its_settings(show: Show) -> None:
    words = ["vocab_size=9489", "profile_vocab_size=10004"]
    of_catalogue = show("attention_routing", *(word for each in words for word in ("--set", each)))
    of_recipe = show("arplus/arplus", "--size", "paper", *(w for each in words for w in ("--set", f"model.{each}")))
    assert of_recipe["parts"] == of_catalogue["parts"]
    assert (of_recipe["model"], of_catalogue["model"]) == ("arplus/arplus", "attention_routing")


def test_a_size_stands_beside_the_name_or_in_it(show: Show) -> None:
    words = ["--set", "model.vocab_size=50"]
    small = show("arplus/no-memn2n@tiny", *words)
    assert show("arplus/no-memn2n", "--size", "tiny", *words)["total"] == small["total"]
    assert show("arplus/no-memn2n", *words)["total"] > small["total"]
    assert "memory" not in parts(small)


def test_a_recipe_over_a_base_is_shown_too(show: Show) -> None:
    assert parts(show("tiny/maml")) == {"network", "adapters"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["arplus/arplus@paper"], "--set model.vocab_size=18600 --set model.profile_vocab_size=10004"),
        (["attention_routing"], "--set vocab_size=18600 --set profile_vocab_size=10004"),
        (["arplus/no-memn2n@paper"], "error[config]: model.vocab_size: how many words?"),
        (["seq2seq", "--size", "tiny"], "model 'seq2seq' comes in no sizes"),
        (["tiny/maml", "--size", "tiny"], "recipe 'tiny/maml' comes in one size only"),
        (["arplus/arplus@huge"], "unknown size 'huge'"),
        (["atention_routing"], "unknown model 'atention_routing' (hint: did you mean attention_routing?)"),
        (["arplus/no-memnet"], "unknown model 'arplus/no-memnet' (hint: did you mean arplus/no-memn2n?)"),
    ],
)
def test_what_cannot_be_shown_is_told_with_what_to_type(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["model", "show", *words]) == 2
    assert told in capsys.readouterr().err
