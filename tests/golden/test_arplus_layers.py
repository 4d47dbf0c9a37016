"""Acceptance checks A2 to A5 of AR and AR+: routing, sharing, ReZero, factorised networks (Eq. 1, 2 and 5)."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from made_up import Toy
from small_routing import AR, began, exchanges_of, looked, normed, routing
from torch import Tensor, nn

from menura.models.attention_routing.decoder_state import RoutingState
from menura.models.attention_routing.layers import FactorFeedForward, FullFeedForward, Routed

EXACT = {"rtol": 0.0, "atol": 1e-10}
STREAMED = {"memory": False, "groups": 4}  # one layer, and a stream of the persona's


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attended(toy: Toy, strength: float, x: Tensor) -> tuple[Routed, tuple[Tensor, Tensor, Tensor]]:
    """Return what the model merges of (T, D), and O_prev, O_C and O_T written out."""
    model, row = toy.model, exchanges_of(toy)[2]
    attention: Any = model.layers[0].attention
    with torch.no_grad():
        state: RoutingState = model.prefill(model.batch([row]))
        state = replace(state, strength=torch.tensor([strength], dtype=torch.float64))
        found = model._attending(state, 0, state.said[0], [])(attention, x[None])
        context, persona = began(model, row)
        assert context is not None
        assert persona is not None
        streams = (looked(attention, x, x, causal=True), looked(attention, x, context), looked(attention, x, persona))
    return found, streams


# A2


@pytest.mark.parametrize("preset", ["fixed", "release", "paper"])
@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_a2_streams_are_merged_as_eq_1_has_it(preset: str, a: float) -> None:
    toy, x = routing(preset=preset, **STREAMED), numbers(5, 16)
    found, (previous, context, persona) = attended(toy, a, x)
    torch.testing.assert_close(found.merged[0], a * persona + (1 - a) * context + context + previous, **EXACT)
    assert found.fixed is not None
    torch.testing.assert_close(found.fixed[0], persona + context, **EXACT)


def test_a2_with_a_1_it_is_eq_2_and_with_a_0_the_context_counts_twice() -> None:
    toy, x = routing(**STREAMED), numbers(5, 16)
    whole, (previous, context, persona) = attended(toy, 1.0, x)
    torch.testing.assert_close(whole.merged[0], persona + context + previous, **EXACT)
    none, _ = attended(toy, 0.0, x)
    torch.testing.assert_close(none.merged[0], 2 * context + previous, **EXACT)


def test_a2_what_is_merged_is_affine_in_a() -> None:
    toy, x = routing(**STREAMED), numbers(5, 16)
    low, middle, high = (attended(toy, a, x)[0].merged for a in (0.2, 0.5, 0.8))
    torch.testing.assert_close(low - 2 * middle + high, torch.zeros_like(low), **EXACT)
    assert float((high - low).abs().max()) > 1e-3


# A3


@pytest.mark.parametrize(("groups", "different"), [(6, 1), (1, 6), (2, 3)])
def test_a3_a_stack_is_gone_through_as_often_as_there_are_groups(groups: int, different: int) -> None:
    toy = routing(num_layers=6, groups=groups)
    model, rows = toy.model, exchanges_of(toy)[:2]
    maps = [name for name, _ in model.named_parameters() if name.endswith("attention.qkv.weight")]
    assert len(maps) == different
    gone: list[int] = []
    for number, layer in enumerate(model.layers):
        layer.register_forward_hook(lambda *_, number=number: gone.append(number))
    with torch.no_grad():
        state = model.prefill(model.batch(rows))
        assert gone == list(range(different)) * groups
        model.step(state, torch.tensor([9, 9]))
    assert gone == list(range(different)) * groups * 2


def test_a3_encoder_and_decoder_and_all_three_attentions_are_the_same_weights() -> None:
    toy = routing(**STREAMED)
    model, row = toy.model, exchanges_of(toy)[2]
    names = {name.split(".", 2)[2] for name, _ in model.named_parameters() if name.startswith("layers.")}
    assert {name for name in names if name.startswith("attention.")} == {
        f"attention.{part}.{what}" for part in ("qkv", "out") for what in ("weight", "bias")
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model.loss(model.batch([row])).total.backward()
    optimizer.step()
    # Whatever moved, moved for all of them: written out, one attention still serves all streams.
    x = numbers(5, 16)
    found, (previous, context, persona) = attended(toy, 1.0, x)
    torch.testing.assert_close(found.merged[0], persona + context + previous, **EXACT)


# A4


def closed(**settings: Any) -> Toy:
    """Return a model whose gates are closed, as they begin; all else is stirred."""
    toy = routing(**settings)
    with torch.no_grad():
        toy.model.gates.zero_()
    return toy


def encoded(toy: Toy, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = toy.model._encoded(x, torch.ones(x.shape[:2], dtype=torch.bool))
    return found


def test_a4_all_gates_begin_closed() -> None:
    for preset in ("fixed", "release", "paper"):
        assert not routing(preset=preset, stirred=False).model.gates.any()


def test_a4_an_encoder_with_closed_gates_gives_back_what_it_was_given() -> None:
    x = numbers(2, 5, 16)
    for preset in ("fixed", "paper"):
        assert torch.equal(encoded(closed(preset=preset, num_layers=6, groups=6), x), x)


def test_a4_in_the_release_it_is_a_norm_of_it_and_six_are_as_one() -> None:
    x = numbers(2, 5, 16)
    toy = closed(preset="release", num_layers=1, groups=1)
    norm: Any = toy.model.layers[0].norm
    torch.testing.assert_close(encoded(toy, x), normed(norm, x).detach(), **EXACT)
    six = closed(preset="release", num_layers=6, groups=6, stirred=False)
    plain = normed(nn.LayerNorm(16).double(), x).detach()
    torch.testing.assert_close(encoded(six, x), plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("bias", [0.1, 0.0])
def test_a4_a_decoder_with_closed_gates_adds_the_b_terms_alone(bias: float) -> None:
    toy, x = closed(bias=bias, num_layers=1, **{**STREAMED, "groups": 1}), numbers(5, 16)
    layer: Any = toy.model.layers[0]
    row = exchanges_of(toy)[2]
    with torch.no_grad():
        state = toy.model.prefill(toy.model.batch([row]))
        attends = toy.model._attending(state, 0, state.said[0], [])
        found = layer(x[None], attends, toy.model.gates[1, 0])[0]
        context, persona = began(toy.model, row)
        assert context is not None
        assert persona is not None
        entered = normed(layer.norm, x)
        added = bias * (looked(layer.attention, entered, persona) + looked(layer.attention, entered, context))
    torch.testing.assert_close(found, x + added, **EXACT)
    assert torch.equal(found, x) == (bias == 0)


@pytest.mark.parametrize("preset", ["fixed", "release", "paper"])
def test_a4_a_closed_gate_learns(preset: str) -> None:
    toy = closed(preset=preset)
    model, batch = toy.model, toy.model.batch(exchanges_of(toy)[:3])
    (gradient,) = torch.autograd.grad(model.loss(batch).total, [model.gates])
    flat, step = model.gates.data.view(-1), 1e-5
    for place in range(len(flat)):
        around = []
        for moved in (step, -step):
            flat[place] = moved
            with torch.no_grad():
                around.append(model.loss(batch).total.item())
            flat[place] = 0.0
        slope = (around[0] - around[1]) / (2 * step)
        assert gradient.view(-1)[place].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)
        assert abs(slope) > 1e-7


@pytest.mark.parametrize(("bias", "learns"), [(0.1, True), (0.0, False)])
def test_a4_behind_closed_gates_nothing_learns_but_by_the_b_terms(bias: float, *, learns: bool) -> None:
    toy = closed(bias=bias)
    named = {name: value for name, value in toy.model.named_parameters() if name.startswith("layers.")}
    loss = toy.model.loss(toy.model.batch(exchanges_of(toy)[:3]))
    found = torch.autograd.grad(loss.total, list(named.values()), allow_unused=True, materialize_grads=True)
    for name, gradient in zip(named, found, strict=True):
        assert bool(gradient.any()) == (learns and "network" not in name), name


def test_a4_without_rezero_a_layer_goes_on_from_its_normed_input() -> None:
    toy, x = routing(**{**AR, "num_layers": 1}), numbers(1, 5, 16)
    layer: Any = toy.model.layers[0]
    with torch.no_grad():
        entered = normed(layer.norm, x[0])
        y = normed(layer.middle_norm, entered + looked(layer.attention, entered, entered))
        wide = (y @ layer.network.inner.weight.T + layer.network.inner.bias).relu()
        wanted = y + wide @ layer.network.outer.weight.T + layer.network.outer.bias
    torch.testing.assert_close(encoded(toy, x)[0], wanted, **EXACT)


# A5


def factorised(width: int, inner: int, rank: int, *, release: bool) -> FactorFeedForward:
    network = FactorFeedForward(width, inner, rank, 0.0, release=release).double().eval()
    with torch.no_grad():
        for seed, value in enumerate(network.parameters()):
            value.copy_(numbers(*value.shape, seed=seed))
    return network


@torch.no_grad()
def test_a5_around_its_wide_layer_the_release_is_one_map_of_r_to_r() -> None:
    network, x = factorised(8, 40, 3, release=True), numbers(6, 8)
    one = network.narrow_again.weight @ network.widen.weight
    bias = network.narrow_again.weight @ network.widen.bias + network.narrow_again.bias
    low = (x @ network.narrow.weight.T + network.narrow.bias).relu()
    wanted = (low @ one.T + bias).relu() @ network.widen_again.weight.T + network.widen_again.bias
    torch.testing.assert_close(network(x), wanted, **EXACT)
    fixed = factorised(8, 40, 3, release=False)
    assert fixed.narrow.bias is None
    assert fixed.narrow_again.bias is None
    assert not torch.allclose(fixed(x), wanted)


@torch.no_grad()
def test_a5_of_full_rank_the_fixed_one_is_the_full_network() -> None:
    width, inner = 8, 20
    full, network = FullFeedForward(width, inner, 0.0).double().eval(), factorised(width, inner, width, release=False)
    between, again = numbers(width, width, seed=11), numbers(width, width, seed=12)
    network.narrow.weight.copy_(between)
    network.widen.weight.copy_(full.inner.weight @ between.inverse())
    network.widen.bias.copy_(full.inner.bias)
    network.widen_again.weight.copy_(again)
    network.narrow_again.weight.copy_(again.inverse() @ full.outer.weight)
    network.widen_again.bias.copy_(full.outer.bias)
    x = numbers(6, width)
    torch.testing.assert_close(network(x), full(x), **EXACT)
