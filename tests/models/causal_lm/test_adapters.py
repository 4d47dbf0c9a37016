import copy
import math

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Variant, gpt2, in_double, llama, stir
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.adaptation.weights import adaptable_parameters, loss_with, swapped_weights
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError, DataError, MismatchError
from menura.models.causal_lm.adapter_hooks import check_can_learn, neutral_weights
from menura.models.causal_lm.base_checks import check_identity, check_reading
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.hf_modules import blocks_of
from menura.models.causal_lm.label_losses import LabelLosses
from menura.models.causal_lm.model import CausalLm, check_starts_as_base
from menura.models.causal_lm.prompt_vectors import PromptVectors
from menura.models.layers.adapters import Adapters, Houlsby, Ia3, Lora

KINDS = ("houlsby", "lora", "ia3", "prompt")
TEXT = torch.tensor([[5, 77, 130, 9, 9, 200, 41]])
every_kind = pytest.mark.parametrize("kind", KINDS)
every_network = pytest.mark.parametrize("network", ["tiny", "gpt2"])


def logits(model: CausalLm) -> Tensor:
    with torch.no_grad():
        return model.logits(TEXT)


def stirred(network: str, kind: str) -> CausalLm:
    """Return a model in float64 whose adapters have moved."""
    return Variant(network, kind=kind).toy(double=True).model


def small(model_type: str) -> nn.Module:
    """Return a random network of another family."""
    sizes = {"vocab_size": 259, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = AutoConfig.for_model(model_type, **sizes, **heads)
    torch.manual_seed(4)
    return AutoModelForCausalLM.from_config(config).eval()


def stirred_throughout(network: str, kind: str) -> CausalLm:
    """Return a model in float64, adapters and base, biases too, moved; in two families heads share key heads."""
    made = {"tiny": llama, "gpt2": gpt2}.get(network, lambda: small(network))()
    model = CausalLm(
        made, CausalLmConfig(adapters=Adapters(kind, bottleneck=4, rank=4, num_virtual_tokens=4), train_base=True)
    ).eval()  # type: ignore[arg-type]
    stir(model)
    return in_double(model)


# Each kind alone


def test_houlsby_adds_a_bottleneck_to_the_output() -> None:
    torch.manual_seed(0)
    adapter = Houlsby(6, 2)
    given, output = torch.randn(3, 6), torch.randn(3, 6)
    assert torch.equal(adapter(given, output), output)
    nn.init.normal_(adapter.up.weight)
    nn.init.normal_(adapter.up.bias)
    down = output @ adapter.down.weight.T + adapter.down.bias
    wanted = output + nn.functional.gelu(down) @ adapter.up.weight.T + adapter.up.bias
    assert torch.allclose(adapter(given, output), wanted, atol=1e-6)


def test_lora_adds_what_the_input_gives_at_low_rank() -> None:
    torch.manual_seed(0)
    adapter = Lora(6, 4, 2)
    given, output = torch.randn(3, 6), torch.randn(3, 4)
    assert torch.equal(adapter(given, output), output)
    nn.init.normal_(adapter.up.weight)
    wanted = output + given @ (adapter.up.weight @ adapter.down.weight).T
    assert torch.allclose(adapter(given, output), wanted, atol=1e-6)


def test_ia3_scales_the_last_numbers_and_lets_those_before_pass() -> None:
    adapter, given = Ia3(2), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert torch.equal(adapter(given), given)
    with torch.no_grad():
        adapter.scale.copy_(torch.tensor([10.0, -1.0]))
    assert adapter(given).tolist() == [[1, 2, 30, -4]]
    assert adapter(given[:, 2:]).tolist() == [[30, -4]]
    assert adapter(given.bfloat16()).dtype == torch.bfloat16


@every_network
def test_ia3_in_a_network_is_the_base_with_its_weights_scaled(network: str) -> None:
    model = stirred(network, "ia3")
    base = Variant(network, kind="none").toy(double=True, stirred=False).model
    assert not torch.allclose(logits(base), logits(model), rtol=1e-6)
    with torch.no_grad():
        blocks = blocks_of(base.network.base_model, len(model.adapters))
        for block, added in zip(blocks, model.adapters.values(), strict=True):
            fold(block, {name.rsplit(".", 1)[0]: p for name, p in added.named_parameters()})
    assert torch.allclose(logits(base), logits(model), rtol=1e-12, atol=1e-12)


def fold(block: nn.Module, scale: dict[str, Tensor]) -> None:
    """Multiply a layer's weights by factors of keys, values and inner activations."""
    if "c_attn" in scale:
        third = len(scale["c_attn"]) // 2
        block.attn.c_attn.weight[:, third:] *= scale["c_attn"]  # type: ignore[index, operator, union-attr]  # untyped by Module
        block.attn.c_attn.bias[third:] *= scale["c_attn"]  # type: ignore[index, operator, union-attr]  # untyped by Module
        block.mlp.c_proj.weight *= scale["mlp_c_proj"][:, None]  # type: ignore[operator, union-attr]  # untyped by Module
        return
    for name in ("k_proj", "v_proj"):
        block.get_submodule(f"self_attn.{name}").weight *= scale[name][:, None]  # type: ignore[operator]  # untyped by Module
    block.mlp.down_proj.weight *= scale["mlp_down_proj"]  # type: ignore[operator, union-attr]  # untyped by Module


@pytest.mark.parametrize("network", ["tiny", "gpt2", "mistral", "qwen2"])
def test_prompt_vectors_are_read_by_the_attentions_own_maps_through_the_gate(network: str) -> None:
    model = stirred_throughout(network, "prompt")
    blocks = blocks_of(model.network.base_model, len(model.adapters))
    attention = blocks[1].get_submodule("attn" if network == "gpt2" else "self_attn")
    added = model.adapters["1"]["attention"]  # type: ignore[index]  # untyped by ModuleDict
    assert isinstance(added, PromptVectors)
    hidden = torch.randn(2, 5, added.vectors.shape[1], dtype=torch.float64)
    output = torch.randn_like(hidden)
    hook = next(iter(attention._forward_hooks.values()))
    with torch.no_grad():
        changed = hook(attention, (hidden,), output)
        # As torch calls it where the layer gives its hidden states by keyword, and gets a tuple back.
        by_keyword, rest = hook(attention, (), {"hidden_states": hidden}, (output, "rest"))  # type: ignore[call-arg]  # with keywords
        wanted = output + added_by_hand(attention, added, hidden)
    assert rest == "rest"
    assert torch.equal(by_keyword, changed)
    assert torch.allclose(changed, wanted, rtol=1e-12, atol=1e-12)
    assert float((changed - output).abs().max()) > 1e-3


def added_by_hand(attention: nn.Module, added: PromptVectors, hidden: Tensor) -> Tensor:
    """Return what prompt vectors add, one head after the other."""
    weights = {name: p.detach() for name, p in attention.named_parameters()}
    if "c_attn.weight" in weights:
        query, key, value = weights["c_attn.weight"].T.chunk(3)
        biases = weights["c_attn.bias"].chunk(3)
        outward = weights["c_proj.weight"].T
    else:
        query, key, value, outward = (weights[f"{name}_proj.weight"] for name in "qkvo")
        biases = tuple(
            weights.get(f"{name}_proj.bias", torch.zeros(len(map_), dtype=torch.float64))
            for name, map_ in zip("qkv", (query, key, value), strict=True)
        )
    heads, width = len(added.gate), len(query) // len(added.gate)
    shared_by = heads * width // len(key)
    total = torch.zeros_like(hidden)
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        shared = slice(head // shared_by * width, (head // shared_by + 1) * width)
        asked = hidden @ query[own].T + biases[0][own]
        keys = added.vectors @ key[shared].T + biases[1][shared]
        values = added.vectors @ value[shared].T + biases[2][shared]
        read = (asked @ keys.T / math.sqrt(width)).softmax(-1) @ values
        total += added.gate[head] * (read @ outward[:, own].T)
    return total


# All kinds


@every_kind
@every_network
def test_adapting_lowers_support_loss_beside_the_model_and_inside_it_alike(network: str, kind: str) -> None:
    toy = Variant(network, kind=kind).toy(stirred=False)
    support, query = toy.batch(SUPPORT), toy.batch(QUERY)
    method = Finetune(InnerLoop(lr=0.02, epochs=6, batch_size=2, optimizer="adam"))
    weights = method.adapt(toy.model, toy.dialogues(SUPPORT))
    with torch.no_grad():
        before, after = (float(loss_with(toy.model, w, support).total) for w in ({}, weights))
        assert after < before - 0.01
        beside = loss_with(toy.model, weights, query).nll
        with swapped_weights(toy.model, weights):
            assert toy.model.loss(query).nll.tolist() == pytest.approx(beside.tolist(), rel=1e-6)


@every_kind
@every_network
def test_weights_of_the_base_itself_can_be_held_beside_the_model(network: str, kind: str) -> None:
    toy = Variant(network, kind=kind, train_base=True).toy()
    batch = toy.batch(SUPPORT)
    with torch.no_grad():
        others = {name: p + 0.01 for name, p in adaptable_parameters(toy.model).items()}
        beside = loss_with(toy.model, others, batch).nll
        assert not torch.allclose(beside, toy.model.loss(batch).nll)
        with swapped_weights(toy.model, others):
            assert toy.model.loss(batch).nll.tolist() == pytest.approx(beside.tolist(), rel=1e-6)


@pytest.mark.parametrize("name", ["gpt2-ia3", "gpt2-prompt"])
def test_the_exact_meta_gradient_is_the_central_difference(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    method = Maml(InnerLoop(lr=0.3, epochs=2, batch_size=2), order="exact")
    own = adaptable_parameters(toy.model)
    gradients = torch.autograd.grad(method.objective(toy.model, episode).total, list(own.values()))
    stream = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=stream, dtype=torch.float64) for p in own.values()]
    ours = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    ends = []
    for step in (1e-5, -1e-5):
        moved = {n: p.detach() + step * d for (n, p), d in zip(own.items(), direction, strict=True)}
        with swapped_weights(toy.model, moved):
            ends.append(float(method.objective(toy.model, episode).total.detach()))
    assert ours == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


@every_kind
def test_resting_adapters_leave_the_base_and_work_again_even_after_an_error(kind: str) -> None:
    model, base = stirred("tiny", kind), stirred("tiny", "none")
    base.load_state_dict({n: v for n, v in model.state_dict().items() if n.startswith("network.")})
    working = logits(model)
    with model._attachment.resting():
        assert torch.equal(logits(model), logits(base))
    assert torch.equal(logits(model), working)
    with pytest.raises(ZeroDivisionError), model._attachment.resting():
        _ = 1 / 0
    assert torch.equal(logits(model), working)
    assert not torch.allclose(working, logits(base))


@every_kind
def test_a_copy_of_a_model_has_adapters_of_its_own(kind: str) -> None:
    model = stirred("tiny", kind)
    before = logits(model)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied), before)
    stir(copied)
    changed = logits(copied)
    assert not torch.equal(changed, before)
    with copied._attachment.resting():
        assert torch.equal(logits(model), before)
        assert not torch.equal(logits(copied), changed)


@pytest.mark.parametrize(
    "adapter", [Houlsby(6, 2), Lora(6, 4, 2), PromptVectors(6, 2, 3)], ids=lambda a: type(a).__name__
)
def test_an_adapter_that_is_not_all_zero_can_learn(adapter: nn.Module) -> None:
    check_can_learn(nn.ModuleDict({"a": adapter}))
    fresh = {name: p.detach().clone() for name, p in adapter.named_parameters()}
    for name in fresh:
        for parameter in adapter.parameters():
            nn.init.zeros_(parameter)
        with pytest.raises(DataError, match="a: all weights of this"):
            check_can_learn(nn.ModuleDict({"a": adapter}))
        nn.init.ones_(adapter.get_parameter(name))
        if name == "up.bias":
            with pytest.raises(DataError, match="only a bias could ever learn"):
                check_can_learn(adapter)
            continue
        check_can_learn(adapter)


def test_bare_weights_are_named_as_the_parameters_they_stand_for() -> None:
    assert neutral_weights(Ia3(2))["scale"].tolist() == [1, 1]
    named = neutral_weights(nn.ModuleDict({"a": Houlsby(3, 2), "b": PromptVectors(3, 2, 1), "c": nn.Linear(2, 2)}))
    assert named.keys() == {"a.up.weight", "a.up.bias", "b.gate"}
    assert not any(torch.any(value) for value in named.values())


# The check at the start


@pytest.mark.parametrize(("init", "passes"), [("identity", {0.0}), ("near-zero", {0.0, 4e-4})])
def test_how_far_logits_may_move_depends_on_the_start(init: str, passes: set[float]) -> None:
    resting = torch.tensor([0.5, -0.2, 0.1])
    settings = Adapters(init=init)  # type: ignore[arg-type]
    for moved in (0.0, 4e-4, 6e-4, float("nan")):
        adapted = resting + torch.tensor([0.0, moved, 0.0])
        if moved in passes:
            check_identity(adapted, resting, settings)
            continue
        with pytest.raises(MismatchError, match="with fresh houlsby adapters the logits differ"):
            check_identity(adapted, resting, settings)


def test_logits_read_another_way_may_differ_by_rounding_only() -> None:
    network = torch.tensor([100.0, -3.0])
    check_reading(network + 0.009, network)
    for off in (0.011, float("nan")):
        with pytest.raises(MismatchError, match="differ from the base's own") as caught:
            check_reading(network + off, network)
        assert "not supported" in str(caught.value)


# What it is refused for


@pytest.mark.parametrize("kind", ["none", "lora", "ia3", "prompt"])
def test_a_near_zero_start_is_for_houlsby_only(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"adapters.init: near-zero is for houlsby, not for {kind}"):
        Adapters(kind, init="near-zero")  # type: ignore[arg-type]


@every_kind
@pytest.mark.parametrize("model_type", ["qwen2", "mistral"])
def test_other_families_carry_every_kind(model_type: str, kind: str) -> None:
    model = CausalLm(
        small(model_type), CausalLmConfig(adapters=Adapters(kind, bottleneck=3, rank=3, num_virtual_tokens=3))
    ).eval()  # type: ignore[arg-type]
    check_starts_as_base(model, TEXT[0].tolist())
    before = logits(model)
    stir(model)
    assert not torch.allclose(logits(model), before)


@pytest.mark.parametrize(
    ("model_type", "kind", "message"),
    [
        ("gpt_neox", "ia3", r"GPTNeoXLayer has no key and value maps that \(IA\)3 could scale"),
        ("gpt_neox", "prompt", "GPTNeoXAttention: prompt vectors do not know how it maps"),
        ("gpt_bigcode", "ia3", "GPTBigCodeBlock has no key and value maps"),
        ("gpt_bigcode", "prompt", "GPTBigCodeAttention: prompt vectors do not know how it maps"),
        ("qwen3", "prompt", "Qwen3Attention: prompt vectors do not know how it maps"),
        ("mixtral", "ia3", "MixtralDecoderLayer has no feed-forward map"),
    ],
)
def test_what_could_only_be_guessed_is_refused_with_what_to_do(model_type: str, kind: str, message: str) -> None:
    network = small(model_type)
    with pytest.raises(ConfigError, match=message) as caught:
        CausalLm(network, CausalLmConfig(adapters=Adapters(kind, bottleneck=3, rank=3, num_virtual_tokens=3)))  # type: ignore[arg-type]
    assert "model.adapters.kind=" in str(caught.value)


@pytest.mark.parametrize("kind", ["houlsby", "none"])
def test_soft_targets_are_the_present_distribution_and_stay_small_beside_a_frozen_output_layer(kind: str) -> None:
    toy = Variant(kind=kind).toy()
    batch = toy.batch(SUPPORT)
    softened = toy.model.with_soft_targets(batch, 0.5)
    (part,) = batch.packed.chunks(10_000)
    with torch.no_grad():
        wanted = toy.model.logits_of(toy.model._hidden(part, part.predict_index)).softmax(-1)
    targets = LabelLosses(toy.model.logits_of, softened.soft_targets)
    held = targets._target(0)
    assert held is not None
    assert torch.equal(targets._probabilities(held), wanted)
    assert bool(softened.soft_targets.states) == (kind == "houlsby")
    loss = toy.model.loss(softened)
    soft = -(wanted * wanted.log()).sum() / loss.tokens.sum()
    torch.testing.assert_close(loss.total, 0.5 * toy.model.loss(batch).total + 0.5 * soft)
