"""A folder of weights becomes its network exactly, or nothing: each tensor that is wrong is named."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from counts import count
from safetensors.torch import load_file
from small_bases import change_json, change_weights, network, write_base
from torch import Tensor
from transformers import AutoModelForCausalLM

from menura.artefacts.bases import base as bases
from menura.errors import DataError, MenuraError

IDS = torch.tensor([[39, 68, 75, 75, 78, 3, 200]])
Weights = dict[str, Tensor]
pytestmark = pytest.mark.usefixtures("empty_workspace")


def problems_of(folder: Path) -> list[tuple[str, str]]:
    with pytest.raises(DataError) as caught:
        bases.load(str(folder), offline=True)
    return [(problem.code, problem.message) for problem in caught.value.problems]


def drop(held: Weights, name: str) -> str:
    del held[name]
    return "tensor_missing"


def rename(held: Weights, name: str) -> str:
    held[f"{name}.old"] = held.pop(name)
    return "tensor_missing"


def reshape(held: Weights, name: str) -> str:
    held[name] = torch.cat([held[name], held[name][:1]])
    return "tensor_shape"


def nan(held: Weights, name: str) -> str:
    held[name].view(-1)[-1] = float("nan")
    return "not_finite"


def infinite(held: Weights, name: str) -> str:
    held[name].view(-1)[0] = float("-inf")
    return "not_finite"


def test_no_folder_with_a_wrong_tensor_is_loaded_and_each_names_it(tmp_path: Path) -> None:
    for tied in (False, True):
        write_base(tmp_path / str(tied), tie_word_embeddings=tied)
    chance = random.Random(3)
    for number in range(count(full_count=300, quick_count=30)):
        whole, folder = tmp_path / str(number % 2 == 0), tmp_path / "broken"
        shutil.copytree(whole, folder)
        act = (drop, rename, reshape, nan, infinite)[number % 5]
        name = chance.choice(sorted(load_file(whole / "model.safetensors")))
        told: list[str] = []

        def change(held: Weights, act: Callable[..., str] = act, name: str = name, told: list[str] = told) -> None:
            told.append(act(held, name))

        change_weights(folder, change)
        found = problems_of(folder)
        assert any(code == told[0] and name in message for code, message in found), (act.__name__, name, found)
        if act is rename:
            assert ("tensor_unexpected", f"{name}.old has no place in the network") in found
        shutil.rmtree(folder)


def test_all_wrong_tensors_are_named_at_once_and_a_long_list_is_cut(tmp_path: Path) -> None:
    write_base(tmp_path)

    def change(held: Weights) -> None:
        drop(held, "model.layers.0.mlp.up_proj.weight")
        rename(held, "model.norm.weight")
        reshape(held, "model.layers.1.self_attn.q_proj.weight")
        nan(held, "model.layers.1.mlp.down_proj.weight")

    change_weights(tmp_path, change)
    assert sorted(problems_of(tmp_path)) == [
        ("not_finite", "model.layers.1.mlp.down_proj.weight: 1 values are not finite"),
        ("tensor_missing", "model.layers.0.mlp.up_proj.weight is missing"),
        ("tensor_missing", "model.norm.weight is missing"),
        ("tensor_shape", "model.layers.1.self_attn.q_proj.weight is (33, 32), wanted (32, 32)"),
        ("tensor_unexpected", "model.norm.weight.old has no place in the network"),
    ]
    change_json(tmp_path / "config.json", lambda config: config.update(num_hidden_layers=6))
    with pytest.raises(DataError, match=r"… and \d+ more"):
        bases.load(str(tmp_path))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mamba", "qwen3", "gpt_neox"])
def test_a_whole_folder_is_its_network_and_nothing_is_random(kind: str, tmp_path: Path) -> None:
    made = write_base(tmp_path, kind)
    before = torch.get_rng_state()
    loaded = bases.load(str(tmp_path), offline=True)
    assert not loaded.network.training
    with torch.no_grad():
        assert torch.equal(loaded.network(IDS).logits, made(IDS).logits)
    assert torch.equal(before, torch.get_rng_state())


def test_two_shards_are_one_file(tmp_path: Path) -> None:
    write_base(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two", max_shard_size="100KB")
    assert len(list((tmp_path / "two").glob("*.safetensors"))) == 2
    one, two = (bases.load(str(tmp_path / name)) for name in ("one", "two"))
    assert torch.equal(one.network(IDS).logits, two.network(IDS).logits)
    assert one.base.parameters == two.base.parameters
    assert len({one.base.weights_sha256, two.base.weights_sha256}) == 2
    assert one.base.tokens_sha256 == two.base.tokens_sha256
    shard = sorted((tmp_path / "two").glob("*.safetensors"))[1]
    shard.unlink()
    assert problems_of(tmp_path / "two") == [
        ("shard_missing", f"1 of 2 files of weights are missing: {shard.name}; copy or fetch them again")
    ]


def test_a_head_of_its_own_is_taken_and_a_tied_one_must_be_the_embedding(tmp_path: Path) -> None:
    write_base(tmp_path / "own", tie_word_embeddings=False)
    network = bases.load(str(tmp_path / "own")).network
    assert network.get_output_embeddings().weight is not network.get_input_embeddings().weight
    made = write_base(tmp_path / "tied", tie_word_embeddings=True)
    change_weights(
        tmp_path / "tied", lambda held: held.update({"lm_head.weight": made.lm_head.weight.detach().clone()})
    )
    network = bases.load(str(tmp_path / "tied")).network
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    change_weights(tmp_path / "tied", lambda held: held["lm_head.weight"].mul_(2))
    assert [code for code, _ in problems_of(tmp_path / "tied")] == ["tensor_tied"]
    change_json(tmp_path / "tied" / "config.json", lambda config: config.update(tie_word_embeddings=False))
    assert torch.equal(bases.load(str(tmp_path / "tied")).network.lm_head.weight, made.lm_head.weight * 2)


def test_buffers_of_old_checkpoints_are_left_out_and_nothing_else(tmp_path: Path) -> None:
    def with_old_buffers(held: Weights) -> None:
        held["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
        held["transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8)

    write_base(tmp_path / "gpt2", "gpt2")
    change_weights(tmp_path / "gpt2", with_old_buffers)
    bases.load(str(tmp_path / "gpt2"))
    write_base(tmp_path / "llama")
    change_weights(tmp_path / "llama", lambda held: held.update({"model.layers.0.self_attn.rotary_emb.inv_freq": IDS}))
    bases.load(str(tmp_path / "llama"))
    change_weights(tmp_path / "llama", lambda held: held.update({"model.layers.0.attention.bias": torch.ones(4)}))
    assert problems_of(tmp_path / "llama") == [
        ("tensor_unexpected", "model.layers.0.attention.bias has no place in the network")
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:5],
        lambda content: b"",
        lambda content: (1 << 60).to_bytes(8, "little") + content[8:],
        lambda content: content[:8] + content[8:].replace(b'"data_offsets":[0,', b'"data_offsets":[9,', 1),
        lambda content: content + b"more",
        lambda content: content.replace(b'"F32"', b'"F64"', 1),
    ],
    ids=["half", "five bytes", "empty", "long header", "hole", "tail", "wrong type"],
)
def test_a_truncated_file_and_a_header_that_lies_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    write_base(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert [code for code, _ in problems_of(tmp_path)] == ["weights_damaged"]


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": 0},
        {"hidden_size": -32},
        {"hidden_size": "wide"},
        {"num_attention_heads": 0},
        {"num_attention_heads": 5},
        {"num_hidden_layers": -1},
        {"vocab_size": None},
        {"hidden_act": "none of these"},
        {"rope_parameters": {"rope_type": "no such"}},
        {"num_hidden_layers": [2]},
    ],
    ids=str,
)
def test_settings_of_which_no_network_can_be_made_are_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    write_base(tmp_path)
    change_json(tmp_path / "config.json", lambda config: config.update(settings))
    with pytest.raises(MenuraError) as caught:
        bases.load(str(tmp_path), offline=True)
    assert {problem.code for problem in caught.value.problems} <= {
        "base_unreadable",
        "tensor_shape",
        "tensor_unexpected",
    }


def test_bfloat16_halves_the_weights_and_stored_halves_become_float32(tmp_path: Path) -> None:
    made = write_base(tmp_path)
    half = bases.load(str(tmp_path), dtype="bfloat16").network
    assert {value.dtype for value in half.parameters()} == {torch.bfloat16}
    assert torch.allclose(half(IDS).logits.float(), made(IDS).logits, atol=0.3)
    made.bfloat16().save_pretrained(tmp_path)
    again = bases.load(str(tmp_path)).network
    assert {value.dtype for value in again.parameters()} == {torch.float32}
    assert torch.equal(again.model.norm.weight, made.model.norm.weight.float())


MEASURE = """
import sys, threading, time
from menura.artefacts.bases.base import load
def memory():  # bytes of this process's own, without pages of files
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))
load("tiny")  # all that is imported
before, most, done = memory(), [0], threading.Event()
def watch():
    while not done.is_set():
        most[0] = max(most[0], memory())
        time.sleep(0.001)
watching = threading.Thread(target=watch)
watching.start()
network = load(sys.argv[1], dtype=sys.argv[2], say=lambda line: None).network
done.set()
watching.join()
print((most[0] - before) / sum(value.nbytes for value in network.parameters()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
@pytest.mark.parametrize("stored", ["float32", "float16"][-count(full_count=2, quick_count=1) :])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"][-count(full_count=2, quick_count=1) :])
def test_loading_takes_no_more_memory_than_the_weights(tmp_path: Path, stored: str, dtype: str) -> None:
    sizes = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 12, "vocab_size": 32_000}
    write_base(tmp_path, **sizes)
    network(**sizes).to(getattr(torch, stored)).save_pretrained(tmp_path)
    command = [sys.executable, "-c", MEASURE, str(tmp_path), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    share = float(done.stdout.splitlines()[-1])
    print(f"{stored} read as {dtype}: at most {share:.2f} of the weights")
    assert share <= 1.2
