"""A start and a vocabulary must fit the model they are put into."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import stir

from menura.adaptation.weights import adaptable_parameters
from menura.artefacts import tensors
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.base import LoadedBase
from menura.artefacts.loaders.causal_lm import write_adapters
from menura.batches.tokenizer import byte_tokenizer
from menura.errors import MismatchError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.registry import load_model

KINDS = ("houlsby", "lora", "ia3", "prompt")


def config(kind: str) -> CausalLmConfig:
    return CausalLmConfig("tiny", adapters=Adapters(kind, bottleneck=3, rank=3, num_virtual_tokens=3))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_of_every_kind_is_put_in_place_and_says_its_kind(kind: str, tmp_path: Path) -> None:
    trained, path = load_model(config(kind)), tmp_path / "start.safetensors"
    stir(trained.model)
    write_adapters(path, adaptable_parameters(trained.model), trained, {})
    assert tensors.metadata(path)["kind"] == kind
    started = load_model(replace(config(kind), init_from=str(path)))
    wanted = {name: p.detach().half().float() for name, p in adaptable_parameters(trained.model).items()}
    assert all(torch.equal(p, wanted[name]) for name, p in adaptable_parameters(started.model).items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_of_another_kind_is_refused_with_what_to_type(kind: str, tmp_path: Path) -> None:
    trained, path = load_model(config(kind)), tmp_path / "start.safetensors"
    write_adapters(path, adaptable_parameters(trained.model), trained, {})
    other = KINDS[KINDS.index(kind) - 1]
    with pytest.raises(MismatchError, match=f"are for adapters {kind}, wanted {other}") as caught:
        load_model(replace(config(other), init_from=str(path)))
    assert f"model.adapters.kind={kind}" in str(caught.value)


def test_a_start_of_another_chat_format_is_refused(tmp_path: Path) -> None:
    trained, path = load_model(config("lora")), tmp_path / "start.safetensors"
    stir(trained.model)
    write_adapters(path, adaptable_parameters(trained.model), trained, {})
    with pytest.raises(MismatchError, match="trained in another chat format than plain") as caught:
        load_model(replace(config("lora"), chat_format="plain", init_from=str(path)))
    assert caught.value.problems[0].code == "chat_format"


def test_layout_special_is_refused_where_its_tokens_would_hit_unused_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    given = bases.load

    def with_fewer_tokens(name: str, **more: object) -> LoadedBase:
        return replace(given(name), tokenizer=byte_tokenizer(("<|endoftext|>",)))

    monkeypatch.setattr(bases, "load", with_fewer_tokens)
    load_model(replace(config("houlsby"), chat_format="plain"))
    with pytest.raises(MismatchError, match="here 2 unused rows stand between"):
        load_model(replace(config("houlsby"), chat_format="special"))
