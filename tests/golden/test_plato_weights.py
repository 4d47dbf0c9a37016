"""Acceptance checks P12 and P13 of PLATO: how many weights there are, and what those of a base compute."""

import json
from pathlib import Path

import pytest
import torch
from small_plato import bert, gpt2, states_of
from torch import Tensor

from menura.artefacts import pretrained_folder
from menura.batches.tokenizer import Tokenizer
from menura.cli.main import run
from menura.models.catalogue import build, counted
from menura.models.layers.attention_mask import AttentionMask
from menura.models.layers.transformer import Sizes
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato
from menura.registry import load_model
from menura.scorers.encoders import load_encoder

RECOGNITION = AttentionMask(recognition=True)
PAPERS = {  # by roles and latents
    (2, 0): 108_903_936,
    (3, 0): 108_904_704,
    (2, 20): 132_377_089,
    (3, 20): 132_377_857,
}
every_papers = pytest.mark.parametrize(("roles", "latents", "parameters"), [(*at, n) for at, n in PAPERS.items()])


@every_papers
def test_p12_plato_has_as_many_parameters_as_its_program(roles: int, latents: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build(None, PlatoConfig(preset="release", num_roles=roles, num_latents=latents), sizes=Sizes(30522))
        assert sum(part.parameters for part in counted(model)) == parameters
        paper = build(None, PlatoConfig(preset="paper", num_roles=roles, num_latents=latents), sizes=Sizes(30522))
    biases = 20 + 30522 if latents else 0  # b_1 and b_2
    assert sum(value.numel() for value in paper.parameters()) == parameters + biases


@every_papers
def test_p12_model_show_counts_them(
    roles: int, latents: int, parameters: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"base=bert-base,preset=release,num_roles={roles},num_latents={latents}"]
    given = [word for pair in words[0].split(",") for word in ("--set", pair)]
    assert run(["--json", "model", "show", "plato", *given]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == parameters
    assert run(["model", "show", "plato", *given]) == 0
    assert f"{parameters:,}" in capsys.readouterr().out


def without_extras(model: Plato) -> Plato:
    """Let turns add nothing; there is only one's own role."""
    with torch.no_grad():
        model.embeddings.turn.weight.zero_()
        model.embeddings.role.weight[2:].zero_()
    return model


@torch.no_grad()
def bert_states(network: torch.nn.Module, ids: list[int]) -> Tensor:
    """Return (N, D) as the library computes them."""
    found: Tensor = network(input_ids=torch.tensor([ids])).last_hidden_state[0]
    return found


@torch.no_grad()
@pytest.mark.parametrize("masked_words", [False, True])
def test_p13_a_bert_put_in_computes_what_it_did(tmp_path: Path, *, masked_words: bool) -> None:
    network = bert(tmp_path / "bert", masked_words=masked_words)
    model = load_model(PlatoConfig(base=str(tmp_path / "bert"), num_latents=0)).model
    assert isinstance(model, Plato)
    ids = [4, 7, 8, 9, 3, 12, 5, 0, 7]
    found = states_of(without_extras(model), ids, RECOGNITION)
    torch.testing.assert_close(found, bert_states(network.bert if masked_words else network, ids), rtol=0, atol=1e-5)


@torch.no_grad()
def test_p13_a_berts_head_for_masked_words_is_put_in_where_wanted(tmp_path: Path) -> None:
    network = bert(tmp_path / "bert", masked_words=True)
    model = load_model(PlatoConfig(base=str(tmp_path / "bert"), num_latents=0, lm_head="bert_mlm")).model
    assert isinstance(model, Plato)
    ids = [4, 7, 8, 9, 3]
    found = model.logits(states_of(without_extras(model), ids, RECOGNITION))
    torch.testing.assert_close(found, network(input_ids=torch.tensor([ids])).logits[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_p13_a_gpt2_put_in_computes_what_it_did(tmp_path: Path) -> None:
    network = gpt2(tmp_path / "gpt2")
    config = PlatoConfig(base=str(tmp_path / "gpt2"), num_latents=0, context="uni")
    model = load_model(config).model
    assert isinstance(model, Plato)
    without_extras(model).embeddings.role.weight.zero_()
    ids = list(b"a goat called fern")
    found = states_of(model, ids, AttentionMask(context="uni"))
    wanted = network.transformer(input_ids=torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    logits = network(input_ids=torch.tensor([ids])).logits[0]
    torch.testing.assert_close(model.logits(found)[:, : logits.shape[1]], logits, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.weights
def test_p13_minilm_put_in_computes_what_it_did() -> None:
    pytest.importorskip(pretrained_folder.MODULE)
    network, _ = load_encoder("minilm")
    loaded = load_model(PlatoConfig(base="minilm", num_latents=0))
    assert isinstance(loaded.model, Plato)
    tokenizer: Tokenizer = loaded.encoder.tokenizer
    ids = [
        tokenizer.control("[CLS]"),
        *tokenizer.encode("The goat called Fern eats string."),
        tokenizer.control("[SEP]"),
    ]
    found = states_of(without_extras(loaded.model), ids, RECOGNITION)
    torch.testing.assert_close(found, bert_states(network.eval(), ids), rtol=0, atol=1e-5)
