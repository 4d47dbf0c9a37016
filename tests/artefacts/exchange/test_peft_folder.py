"""LoRA leaves as a folder of peft, and comes back bit for bit; what is more than A and B is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import stir
from safetensors.torch import load_file, save_file
from small_bases import change_json, network, write_base
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from menura.adaptation.weights import adaptable_parameters
from menura.artefacts.exchange.lora import PortableLora, checkpoint_lora, in_network, places
from menura.artefacts.exchange.merged import merge
from menura.artefacts.exchange.peft_folder import CONFIG, FILES, WEIGHTS, read_peft, write_peft
from menura.artefacts.loaders.causal_lm import write_adapters
from menura.artefacts.loading import LoadedModel
from menura.errors import ConfigError, DataError, MenuraError, UnsafeError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.registry import load_model

LORA = Adapters("lora", rank=3, target_modules="all-linear", layers="upper")
Q = "model.layers.1.self_attn.q_proj"


def loaded_on(folder: Path, adapters: Adapters = LORA) -> LoadedModel:
    """Return a model on a base, every adapter moved away from its start."""
    made = load_model(CausalLmConfig(str(folder), "chat", 64, adapters))
    stir(made.model, size=0.1)
    return made


def lora_of(loaded: LoadedModel) -> PortableLora:
    """Return a model's LoRA by the names of its network."""
    settings: Any = loaded.config
    return in_network(adaptable_parameters(loaded.model), settings, loaded.model.network, "this")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_base(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    write_peft(tmp_path / "anna", lora_of(loaded_on(base)), "a base")
    return tmp_path / "anna"


def changed(folder: Path, **settings: Any) -> None:
    change_json(folder / CONFIG, lambda there: there.update(settings))


def with_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    held = load_file(folder / WEIGHTS)
    change(held)
    save_file(held, folder / WEIGHTS)


# What is written


def test_the_folder_has_two_files_and_the_settings_that_every_engine_takes(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES == {"adapter_config.json", "adapter_model.safetensors"}
    settings = json.loads((folder / CONFIG).read_text())
    wanted = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "a base",
        "r": 3,
        "lora_alpha": 3,
        "bias": "none",
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
        "init_lora_weights": True,
        "rank_pattern": {},
        "alpha_pattern": {},
    }
    assert {name: settings[name] for name in wanted} == wanted
    maps = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert settings["target_modules"] == maps
    tensors = load_file(folder / WEIGHTS)
    assert len(tensors) == 2 * len(maps)
    prefix = f"base_model.model.{Q}"
    assert tensors[f"{prefix}.lora_A.weight"].shape == (3, 32)
    assert tensors[f"{prefix}.lora_B.weight"].shape == (32, 3)
    assert tensors["base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"].shape == (3, 64)


def test_a_folder_of_something_else_is_never_replaced(base: Path, tmp_path: Path) -> None:
    lora = lora_of(loaded_on(base))
    other = tmp_path / "other"
    other.mkdir()
    (other / "letters.txt").write_text("dear anna", encoding="utf-8")
    with pytest.raises(ConfigError, match="other things in it.*letters.txt"):
        write_peft(other, lora, "a base")
    assert [path.name for path in other.iterdir()] == ["letters.txt"]
    (other / "letters.txt").unlink()
    write_peft(other, lora, "a base")
    write_peft(other, lora, "another base")
    assert json.loads((other / CONFIG).read_text())["base_model_name_or_path"] == "another base"


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:fan_in_fan_out:UserWarning")  # peft's own
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_peft_computes_our_logits_from_the_folder(kind: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    write_base(tmp_path / "base", kind)
    ours = loaded_on(tmp_path / "base")
    write_peft(tmp_path / "anna", lora_of(ours), "a base")
    theirs = peft.PeftModel.from_pretrained(own_network(tmp_path / "base"), tmp_path / "anna")
    assert_same_logits(ours, theirs)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3"])
def test_a_base_with_the_lora_added_to_its_weights_computes_our_logits(kind: str, tmp_path: Path) -> None:
    write_base(tmp_path / "base", kind)
    ours = loaded_on(tmp_path / "base")
    merged = own_network(tmp_path / "base")
    merge(merged, lora_of(ours))
    assert_same_logits(ours, merged)


def own_network(folder: Path) -> PreTrainedModel:
    made: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return made.eval()


def assert_same_logits(ours: LoadedModel, theirs: Any) -> None:
    ids = torch.arange(40)[None] + 60
    with torch.no_grad():
        mine, other = ours.model.logits(ids), theirs(input_ids=ids).logits
        with ours.model._attachment.resting():
            base = ours.model.logits(ids)
    assert torch.allclose(mine, other, atol=2e-5)
    assert not torch.allclose(mine, base, atol=1e-2)


# What comes back


@pytest.mark.parametrize(
    "adapters",
    [
        LORA,
        replace(LORA, layers="all", rank=1),
        Adapters("lora", rank=4),
        Adapters("lora", rank=2, target_modules="mlp.down_proj", layers=1),
    ],
)
def test_what_was_written_comes_back_bit_for_bit(base: Path, tmp_path: Path, adapters: Adapters) -> None:
    lora = lora_of(loaded_on(base, adapters))
    write_peft(tmp_path / "anna", lora, "a base")
    read, settings = read_peft(tmp_path / "anna", network())
    assert read.maps.keys() == lora.maps.keys()
    assert all(torch.equal(a, b) for name in lora.maps for a, b in zip(read.maps[name], lora.maps[name], strict=True))
    assert settings["base_model_name_or_path"] == "a base"


def test_a_checkpoint_is_the_lora_that_was_written(base: Path, tmp_path: Path) -> None:
    made = loaded_on(base)
    write_adapters(tmp_path / "start.safetensors", adaptable_parameters(made.model), made, {})
    settings: Any = replace(made.config, init_from=str(tmp_path / "start.safetensors"))  # type: ignore[type-var]
    held = checkpoint_lora(settings, made.base, made.model.network)
    wanted = lora_of(made)
    assert all(torch.equal(held.maps[name][1], wanted.maps[name][1].half().float()) for name in wanted.maps)


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({"lora_alpha": 6}, 2.0),
        ({"lora_alpha": 5}, 5 / 3),
        ({"lora_alpha": 6, "use_rslora": True}, 6 / sqrt(3)),
        ({"alpha_pattern": {"q_proj": 12}}, 4.0),
        ({"alpha_pattern": {r"^model\.layers\.1\.self_attn\..*": 9}}, 3.0),
        ({"alpha_pattern": {"k_proj": 12}}, 1.0),
    ],
)
def test_scales_are_folded_into_b(folder: Path, settings: dict[str, Any], factor: float) -> None:
    plain = load_file(folder / WEIGHTS)
    changed(folder, **settings)
    read, _ = read_peft(folder, network())
    down, up = read.maps[Q]
    assert torch.equal(down, plain[f"base_model.model.{Q}.lora_A.weight"])
    assert torch.equal(up, (plain[f"base_model.model.{Q}.lora_B.weight"].double() * factor).float())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's own
def test_peft_scales_as_we_do(base: Path, folder: Path) -> None:
    peft = pytest.importorskip("peft")
    changed(folder, lora_alpha=7, use_rslora=True, alpha_pattern={"q_proj": 2, "layers.1.mlp.up_proj": 11})
    merged = own_network(base)
    merge(merged, read_peft(folder, merged)[0])
    theirs = peft.PeftModel.from_pretrained(own_network(base), folder)
    ids = torch.arange(40)[None] + 60
    with torch.no_grad():
        assert torch.allclose(merged(input_ids=ids).logits, theirs(input_ids=ids).logits, atol=2e-5)


def test_smaller_ranks_are_filled_with_zeros(folder: Path) -> None:
    def smaller(held: dict[str, Tensor]) -> None:
        for which, cut in (("A", slice(0, 1)), ("B", (slice(None), slice(0, 1)))):
            held[f"base_model.model.{Q}.lora_{which}.weight"] = held[f"base_model.model.{Q}.lora_{which}.weight"][
                cut
            ].contiguous()

    with_tensors(folder, smaller)
    changed(folder, rank_pattern={"q_proj": 1}, lora_alpha=2)
    plain = load_file(folder / WEIGHTS)
    down, up = read_peft(folder, network())[0].maps[Q]
    assert (down.shape, up.shape) == ((3, 32), (32, 3))
    a, b = (plain[f"base_model.model.{Q}.lora_{which}.weight"] for which in "AB")
    assert torch.equal(up @ down, 2 * (b @ a))  # alpha 2 of rank 1; the others have 2 / 3


# What is refused


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora": True}, "use_dora: it has DoRA"),
        ({"bias": "lora_only"}, "bias 'lora_only': it has biases"),
        ({"lora_bias": True}, "lora_bias: it has biases of its own"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save: it has whole modules"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights 'pissa_niter_4': it is relative to weights"),
        ({"peft_type": "IA3"}, "peft_type 'IA3': LORA is read"),
        ({"layer_replication": [[0, 2]]}, "layer_replication: "),
        ({"of_next_year": 1}, "'of_next_year': a setting that is not known"),
        ({"r": 0}, "r: '0', a number above 0"),
        ({"lora_alpha": None}, "lora_alpha: 'None', a number above 0"),
        ({"alpha_pattern": [1]}, "alpha_pattern: an object is wanted"),
    ],
)
def test_what_is_more_than_a_and_b_is_refused_by_name(folder: Path, settings: dict[str, Any], said: str) -> None:
    changed(folder, **settings)
    with pytest.raises(DataError) as caught:
        read_peft(folder, network())
    assert [problem.code for problem in caught.value.problems] == ["not_plain_lora"]
    assert said in str(caught.value)


def test_everything_that_is_wrong_is_told_at_once(folder: Path) -> None:
    def worse(held: dict[str, Tensor]) -> None:
        held["base_model.model.lm_head.weight"] = torch.zeros(2, 2)
        held[f"base_model.model.{Q}.lora_magnitude_vector"] = torch.zeros(2)
        held.pop("base_model.model.model.layers.1.mlp.up_proj.lora_B.weight")
        for which, shape in (("A", (3, 32)), ("B", (32, 3))):
            held[f"base_model.model.model.layers.7.self_attn.q_proj.lora_{which}.weight"] = torch.zeros(shape)
        held[f"base_model.model.{Q}.lora_A.weight"][0, 0] = torch.nan
        held["base_model.model.model.layers.1.self_attn.k_proj.lora_A.weight"] = torch.zeros(3, 31)

    with_tensors(folder, worse)
    changed(folder, use_dora=True, bias="all")
    with pytest.raises(DataError) as caught:
        read_peft(folder, network())
    told = str(caught.value)
    codes = [problem.code for problem in caught.value.problems]
    assert codes == [*["not_plain_lora"] * 3, "layers_missing", "tensor_shape", "not_finite"]
    assert "3 tensors are no A with its B: base_model.model.lm_head.weight, " in told
    assert "the base has no linear map model.layers.7.self_attn.q_proj" in told
    assert "k_proj: it maps 31 to 16 numbers, the base's 32 to 16" in told


def test_lora_for_another_network_names_the_maps_that_are_missing(folder: Path) -> None:
    with pytest.raises(DataError, match="the base has no linear map model.layers.1.mlp.down_proj.* and 2 more"):
        read_peft(folder, network("gpt2"))


def test_a_pattern_that_takes_for_ever_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menura.artefacts.exchange.peft_folder.SECONDS", 0.5)
    changed(folder, alpha_pattern={"(([a-z_.0-9]+)*)*!": 3})
    with pytest.raises(DataError, match="alpha_pattern: a pattern cannot be read, or takes too long"):
        read_peft(folder, network())


@pytest.mark.parametrize("missing", sorted(FILES))
def test_a_folder_that_lacks_a_file_is_told(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(MenuraError, match=missing):
        read_peft(folder, network())


def test_pickled_weights_are_not_read(folder: Path) -> None:
    shutil.move(folder / WEIGHTS, folder / "adapter_model.bin")
    with pytest.raises(UnsafeError, match="pickle files can run code"):
        read_peft(folder, network())


def test_each_map_of_ours_is_one_of_the_network(base: Path) -> None:
    settings = CausalLmConfig(str(base), adapters=Adapters("lora", rank=2))
    found = dict(places(network(), settings))
    assert found == {
        f"{layer}.{name}": f"model.layers.{layer}.self_attn.{name}"
        for layer in range(2)
        for name in ("q_proj", "v_proj")
    }
