"""Which adapters each family carries: LoRA on all linear maps as peft has it, the others where their place is known."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from counts import count
from families import (
    FAMILIES,
    SHAPES,
    chosen,
    exactly,
    exchanges,
    model,
    near,
    network,
    own_logits,
    own_nll,
)
from torch import nn
from transformers.pytorch_utils import Conv1D

from menura.adaptation.weights import adaptable_parameters, swapped_weights
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError, MismatchError
from menura.models.causal_lm.adapter_bank import AdapterBank
from menura.models.causal_lm.base_checks import check_starts_as_base
from menura.models.causal_lm.hf_modules import blocks_of, linear_maps, lora_maps
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters, Lora

ALL = [*FAMILIES, *SHAPES]
REFUSED = {
    "houlsby": {"lfm2", "opt", "opt-projected", "bloom", "mamba", "jamba", "qwen3-next"},
    "lora": {"mamba"},
    "ia3": {"phi3", "lfm2", "qwen3moe", "pythia", "opt", "opt-projected", "bloom", "falcon", "falcon-alibi", "mamba"}
    | {"rwkv", "jamba", "qwen3-next", "bigcode"},
    "prompt": {"qwen3", "gemma3", "phi3", "lfm2", "olmo2", "qwen3moe", "pythia", "opt", "opt-projected", "bloom"}
    | {"falcon", "falcon-alibi", "mamba", "rwkv", "jamba", "qwen3-next", "bigcode"},
}


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exactly():
        yield


# Each kind on each family; in a quick run in all layers alone: contracts/test_every_model.py has the upper ones.


@pytest.mark.parametrize("layers", ["all", "upper"][: count(full_count=2, quick_count=1)])
@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", chosen(ALL, ("bloom", "falcon", "mamba", "lfm2", "gemma2")))
def test_a_family_carries_a_kind_or_refuses_it_by_name(name: str, kind: str, layers: str) -> None:
    if name in REFUSED[kind]:
        with pytest.raises(ConfigError) as caught:
            model(name, kind, layers=layers)
        assert type(blocks_of((made := network(name)).base_model, made.config.num_hidden_layers)[0]).__name__[
            :3
        ] in str(caught.value)
        assert "use --set model.adapters." in str(caught.value)
        return
    check_starts_as_base(model(name, kind, moved=False, layers=layers), list(range(5, 25)))
    made = model(name, kind, layers=layers)
    rows = [row for row in exchanges() if row.reply]
    loss = made.loss(made.batch(rows))
    assert near(loss.nll.detach(), torch.tensor([own_nll(made, row) for row in rows]))
    gradients = torch.autograd.grad(loss.total, list(adaptable_parameters(made).values()))
    assert all(bool(gradient.any()) for gradient in gradients)
    with torch.no_grad():
        scores, state = made.prefill_logits(made.batch(rows))
        scores, _ = made.step_logits(state, torch.arange(len(rows)) + 90)
        wanted = torch.stack([own_logits(made, (*row.prefix, 90 + at))[-1] for at, row in enumerate(rows)])
    assert near(scores, wanted)


@pytest.mark.parametrize("name", chosen([*FAMILIES, "jamba", "rwkv"], ("mamba", "qwen3moe", "lfm2")))
def test_personas_in_one_batch_say_what_each_says_alone(name: str) -> None:
    made = model(name, "lora", target_modules="all-linear")
    stream = torch.Generator().manual_seed(11)
    spoken = [
        {n: p.detach() + 0.3 * torch.randn(p.shape, generator=stream) for n, p in adaptable_parameters(made).items()}
        for _ in range(3)
    ]
    batch, whose = made.batch(exchanges((40, 9, 40, 31))), (2, 0, 1, 1)
    with made.using_adapters(AdapterBank.of(spoken), whose):
        together = generate(made, batch, Greedy(), end=287, max_new_tokens=6, seeds=range(4))
    for exchange, persona, said in zip(batch.exchanges, whose, together, strict=True):
        with swapped_weights(made, spoken[persona]):
            alone = generate(made, made.batch([exchange]), Greedy(), end=287, max_new_tokens=6, seeds=[0])
        assert alone == [said]


def test_what_an_expert_sees_is_not_told_apart_by_persona() -> None:
    made = model("tinyllama", "lora", target_modules="all-linear")
    made.adapters["0"]["experts"] = nn.ModuleDict({"0": Lora(32, 64, 4)})
    weights = {name: value.detach() for name, value in adaptable_parameters(made).items()}
    with (
        pytest.raises(ConfigError, match="which tokens an expert sees"),
        made.using_adapters(AdapterBank.of([weights]), [0]),
    ):
        pass


# LoRA's maps


@pytest.mark.parametrize("name", ALL)
def test_all_linear_is_every_linear_map_of_a_block_by_a_name_of_its_own(name: str) -> None:
    made = model(name, "lora", double=False, target_modules="all-linear")
    blocks = blocks_of(made.network.base_model, made.network.config.num_hidden_layers)
    for index, block in enumerate(blocks):
        wanted = {n for n, p in block.named_modules() if isinstance(p, (nn.Linear, Conv1D)) and "dt_proj" not in n}
        held = {n.rsplit(".", 2)[0] for n, _ in made.adapters[str(index)].named_parameters()}
        assert held == wanted == set(linear_maps(block))
        assert len(wanted) >= 3


def test_query_and_value_maps_keep_the_names_that_personas_have() -> None:
    block = blocks_of(network("tinyllama").base_model, 4)[0]
    assert list(lora_maps(block, "query_value")) == ["q_proj", "v_proj"]
    block.cross_attn = nn.ModuleDict({"q_proj": nn.Linear(4, 4)})
    assert list(lora_maps(block, "query_value")) == ["self_attn.q_proj", "v_proj", "cross_attn.q_proj"]
    assert list(lora_maps(block, "q_proj, mlp.down_proj")) == ["self_attn.q_proj", "mlp.down_proj", "cross_attn.q_proj"]
    assert list(lora_maps(block, "proj")) == []


def test_layers_without_the_maps_asked_for_have_no_adapters() -> None:
    made = model("lfm2", "lora", double=False)
    assert list(made.adapters) == ["1", "3"]
    assert list(model("lfm2", "lora", double=False, target_modules="conv.out_proj").adapters) == ["0", "2"]
    with pytest.raises(ConfigError, match="MambaBlock has no attention query and value maps.*mixer.in_proj"):
        model("mamba", "lora")
    with pytest.raises(ConfigError, match="LlamaDecoderLayer has no linear maps k_map.*self_attn.k_proj"):
        model("tinyllama", "lora", target_modules="k_map")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "houlsby", "target_modules": "all-linear"}, "all-linear is for lora, not for houlsby"),
        ({"kind": "lora", "target_modules": "q_proj,"}, "a name is empty"),
        ({"kind": "lora", "target_modules": ""}, "a name is empty"),
    ],
)
def test_target_modules_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"adapters.target_modules: .*{message}|adapters.target_modules: {message}"):
        Adapters(**settings)


def test_an_adapter_that_the_base_never_calls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menura.models.causal_lm.hf_modules.NEVER_CALLED", ())
    made = model("mamba", "lora", moved=False, target_modules="all-linear")
    with pytest.raises(MismatchError, match="0.mixer.dt_proj is never used.*target_modules=mixer.in_proj"):
        check_starts_as_base(made, list(range(5, 25)))


# peft


@pytest.mark.filterwarnings("ignore")  # peft's own
@pytest.mark.parametrize("name", chosen([*FAMILIES], ("llama3", "gpt2", "falcon", "qwen3moe", "lfm2")))
def test_lora_on_all_linear_maps_is_what_peft_computes(name: str) -> None:
    peft = pytest.importorskip("peft", reason="peft is not here (the extra bench)")
    # peft refuses Mamba's out_proj, and stands on its map that is never called; and it has matrices for experts.
    named = {"mamba": "in_proj,x_proj", "qwen3moe": "q_proj,k_proj,v_proj,o_proj"}.get(name)
    made = model(name, "lora", target_modules=named or "all-linear")
    theirs = peft.get_peft_model(
        network(name).double(),
        peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=4,
            lora_alpha=4,
            target_modules=named.split(",") if named else "all-linear",
            fan_in_fan_out=name == "gpt2",
        ),
    ).eval()
    copied = copy_to_peft(made, theirs)
    rows = exchanges()
    for row in rows:
        with torch.no_grad():
            wanted_logits = theirs(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0]
            ours = made.logits(torch.tensor([row.ids]))[0]
        assert near(ours, wanted_logits)
    assert not near(ours, own_logits(model(name), rows[-1].ids), 1e-3)
    assert copied == {n for n, _ in theirs.named_parameters() if "lora_" in n}


def copy_to_peft(made: CausalLm, theirs: nn.Module) -> set[str]:
    """Write a model's LoRA weights into peft's; return the names of those written."""
    blocks = made.network.base_model.named_modules()
    first = next(n for n, part in blocks if isinstance(part, nn.ModuleList) and len(part) == len(made.adapters))
    prefix = f"base_model.model.{made.network.base_model_prefix}.{first}"
    written = set()
    parameters = dict(theirs.named_parameters())
    for name, value in made.adapters.named_parameters():
        path, which, _ = name.rsplit(".", 2)
        key = f"{prefix}.{path}.lora_{'A' if which == 'down' else 'B'}.default.weight"
        parameters[key].data.copy_(value)
        written.add(key)
    return written
