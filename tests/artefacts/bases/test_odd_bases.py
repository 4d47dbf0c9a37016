"""The folders that people really have: each is read, or refused by name (../shared/cases/bases)."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from menura.artefacts.bases import base as bases
from menura.errors import MenuraError

SCRIPT = Path(__file__).parents[4] / "shared" / "cases" / "bases" / "make_bases.py"
IDS = torch.tensor([[40, 41, 42, 43]])
READ = ("odd-sharded", "odd-bfloat16", "odd-few-rows", "odd-template-file", "odd-bad-template", "odd-many-ends")
READ = (*READ, "odd-never-taught")
REFUSED = {
    "odd-pickled": ("unsafe_format", "pytorch_model.bin"),
    "odd-no-tokenizer": ("no_tokenizer", "tokenizer.json is missing"),
    "odd-sentencepiece-only": ("package_missing", "sentencepiece"),
    "odd-quantised": ("quantised", "bitsandbytes"),
    "odd-gptq": ("quantised", "GPTQ"),
    "odd-own-code": ("own_code", "my_model"),
    "odd-adapter-as-base": ("adapter_folder", "some/base"),
    "odd-gguf-only": ("gguf_damaged", "model-q4_0.gguf"),
    "odd-truncated": ("weights_damaged", "model.safetensors"),
    "odd-missing-layer": ("tensor_missing", "model.layers.3.self_attn.q_proj.weight is missing"),
    "odd-nans": ("not_finite", "down_proj.weight: 1 values"),
    "other-t5": ("encoder_decoder", "T5ForConditionalGeneration"),
    "other-bert": ("masked_lm", "BertForMaskedLM"),
    "other-classifier": ("classifier", "Qwen2ForSequenceClassification"),
    "other-vision": ("image_text", "Gemma3ForConditionalGeneration"),
}
pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("empty_workspace")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModuleType, Path]:
    """Return the script, and the folder with all that it makes."""
    if not SCRIPT.exists():
        pytest.skip(f"{SCRIPT} is not here")
    specification = importlib.util.spec_from_file_location("make_bases", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    folder = tmp_path_factory.mktemp("bases")
    script.main(folder, [])
    return script, folder


def test_every_folder_has_its_outcome_here(made: tuple[ModuleType, Path]) -> None:
    script, _ = made
    assert {*READ, *REFUSED} == {*script.ODD, *script.OTHERS}


def test_each_family_is_read_and_is_its_network(made: tuple[ModuleType, Path]) -> None:
    script, folder = made
    for name in script.FAMILIES:
        loaded = bases.load(str(folder / name), offline=True)
        wanted = script.AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32).eval()
        with torch.no_grad():
            assert torch.equal(loaded.network(IDS).logits, wanted(IDS).logits), name
        assert bool(loaded.hf_tokenizer.chat_template) == bool(script.FAMILIES[name][5]), name
        assert loaded.hf_tokenizer.eos_token_id in loaded.end_ids, name


@pytest.mark.parametrize("name", READ)
def test_an_odd_folder_that_is_whole_is_the_network_of_its_family(name: str, made: tuple[ModuleType, Path]) -> None:
    script, folder = made
    loaded = bases.load(str(folder / name), offline=True)
    wanted = bases.load(str(folder / script.ODD[name][0]), offline=True)
    near = {"atol": 0.05, "rtol": 0.05} if name == "odd-bfloat16" else {"atol": 0.0, "rtol": 0.0}
    with torch.no_grad():
        assert torch.allclose(loaded.network(IDS).logits, wanted.network(IDS).logits, **near)
    if name == "odd-many-ends":
        assert loaded.end_ids == (257, 260)
    if name == "odd-template-file":
        assert loaded.hf_tokenizer.chat_template == wanted.hf_tokenizer.chat_template


@pytest.mark.parametrize(("name", "outcome"), REFUSED.items(), ids=REFUSED)
def test_an_odd_folder_is_refused_by_name(
    name: str, outcome: tuple[str, str], made: tuple[ModuleType, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = made
    monkeypatch.chdir(folder / name)
    with pytest.raises(MenuraError) as caught:
        bases.load(str(folder / name), offline=True)
    assert {problem.code for problem in caught.value.problems} == {outcome[0]}
    assert any(outcome[1] in f"{problem.place} {problem.message}" for problem in caught.value.problems)
    assert all(problem.hint for problem in caught.value.problems)
    assert not list(folder.rglob("ran_it"))
