"""Acceptance checks C1 to C6: pruning (specs, section 17)."""

import math

import pytest
import torch
from private_toys import EPISODES, PrivateNet, any_structure, through
from torch import Tensor, nn

from menura.adaptation.cmaml import Cmaml
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.masked_adam import moving_only
from menura.adaptation.masks import (
    LayerMask,
    PersonaMask,
    Threshold,
    full_mask,
    mask_statistics,
    masked_weights,
    pruned,
    without_pruned_nodes,
)
from menura.adaptation.weights import loss_with, trainable_parameters

E1 = [[0.3, 0.01], [0.02, -0.4], [0.2, 0.2]]
E2 = [[0.06, 0.01, -0.07], [0.04, 0.2, 0.03], [0.5, 0.5, 0.5]]
E3 = [[-0.3, 0.02, 0.01], [0.08, 0.04, -0.05]]
E4 = [[0.01, 0.9]]
SIZES = (2, 3, 3, 2, 1)


def printed() -> PrivateNet:
    """Return a model with the weights that the check prints."""
    model = PrivateNet(SIZES)
    with torch.no_grad():
        for layer, edges in zip(model.private, (E1, E2, E3, E4), strict=True):
            layer.weight.copy_(torch.tensor(edges, dtype=torch.float64))  # -0.05 is exactly -gamma
    return model


def edges_of(mask: PersonaMask) -> list[list[list[int]]]:
    return [layer.edges().int().tolist() for layer in mask.layers]


def pruned_at(gamma: float, model: nn.Module | None = None, **how: str) -> PersonaMask:
    model = model or printed()
    return pruned(full_mask(model), trainable_parameters(model), Threshold(gamma=gamma), **how)  # type: ignore[arg-type]


def test_c1_edges_go_by_magnitude_and_with_the_node_above() -> None:
    mask = pruned_at(0.05)
    assert edges_of(mask) == [
        [[1, 1], [1, 1], [1, 1]],
        [[1, 0, 1], [0, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [1, 0, 0]],
        [[1, 1]],
    ]
    kept = mask.kept()
    assert kept["private.1.bias"].int().tolist() == [1, 0, 0]  # kept N_3
    assert kept["private.0.bias"].int().tolist() == [1, 0, 1]  # kept N_2
    assert not {"private.2.bias", "private.3.bias", "private.0.weight", "private.3.weight"} & kept.keys()
    live = [edges.int().tolist() for edges in mask.live()]
    assert live == [[[1, 1], [0, 0], [1, 1]], *edges_of(mask)[1:]]


def test_c2_as_the_public_program_whole_nodes_go_in_every_layer() -> None:
    mask = pruned_at(0.05, unit="nodes")
    assert edges_of(mask) == [
        [[1, 1], [0, 0], [1, 1]],
        [[1, 0, 1], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [1, 0, 0]],
        [[0, 1]],
    ]
    kept = mask.kept()
    biases = [kept[f"private.{n}.bias"].int().tolist() for n in range(3)]
    assert biases == [[1, 0, 1], [1, 0, 0], [0, 1]]


def outputs(model: PrivateNet, weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """Return what the private part makes of inputs under some weights."""
    pairs = model.private_layers()
    return through([(weights[weight], weights[bias]) for weight, bias in pairs], inputs)


@pytest.mark.parametrize("gamma", [0.0, 0.05, 0.3, math.inf])
@pytest.mark.parametrize("seed", [0, 1])
def test_c3_the_structure_gives_the_outputs_of_zeroed_and_of_smaller_layers(gamma: float, seed: int) -> None:
    model = printed() if not seed else PrivateNet(seed=seed)
    mask, weights = pruned_at(gamma, model), {n: v.detach() for n, v in trainable_parameters(model).items()}
    inputs = torch.randn(9, model.shared.in_features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    zeroed = {name: value.clone() for name, value in weights.items()}
    for (weight, bias), edges, above in zip(
        model.private_layers(), edges_of(mask), [*edges_of(mask)[1:], None], strict=True
    ):
        zeroed[weight] *= torch.tensor(edges)
        if above is not None:
            zeroed[bias] *= torch.tensor(above).any(0)
    wanted = outputs(model, zeroed, inputs)
    assert torch.allclose(outputs(model, masked_weights(weights, mask), inputs), wanted, rtol=0, atol=1e-12)
    cut = without_pruned_nodes(weights, mask)
    assert torch.allclose(through(cut, inputs), wanted, rtol=0, atol=1e-12)
    nodes = [layer.edges().any(0).sum() for layer in mask.layers[1:]]
    assert [len(bias) for _, bias in cut[:-1]] == nodes
    assert [weight.shape[1] for weight, _ in cut[1:]] == nodes


@pytest.mark.parametrize("order", ["first", "exact"])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_c4_what_no_task_keeps_has_no_gradient_and_never_moves(order: str, optimizer: type) -> None:
    model, masks = PrivateNet(), [any_structure(PrivateNet(), seed, 0.4) for seed in range(3)]
    method = Cmaml(InnerLoop(lr=0.1, epochs=2, batch_size=2), order=order)  # type: ignore[arg-type]
    adam = optimizer(model.parameters(), lr=0.1, weight_decay=0.1)
    method.joint_objective(model, EPISODES, [full_mask(model)] * 3)[0].backward()
    adam.step()  # now every weight has a momentum
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    means = {name: adam.state[value]["exp_avg"].clone() for name, value in model.named_parameters()}
    moves = method.outer_step_masks(model, masks)
    for _ in range(2):
        adam.zero_grad()
        method.joint_objective(model, EPISODES, masks)[0].backward()
        for name, there in moves.items():
            gradient = dict(model.named_parameters())[name].grad
            assert gradient is not None
            assert not gradient[~there].any()
            assert gradient[there].any()
        with moving_only(adam, trainable_parameters(model), moves):
            adam.step()
    assert any((~there).any() for there in moves.values())
    for name, value in model.named_parameters():
        moved = moves.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value[~moved], before[name][~moved])
        assert torch.equal(adam.state[value]["exp_avg"][~moved], means[name][~moved])
        assert (value[moved] != before[name][moved]).all()


def test_c4_an_adapted_persona_is_zero_where_it_keeps_nothing() -> None:
    model = PrivateNet()
    method = Cmaml(InnerLoop(lr=0.1, epochs=3, batch_size=2), gamma=0.2)
    weights, mask = method.adapted(model, EPISODES[0].support)
    assert all(not weights[name][~there].any() for name, there in mask.kept().items())
    assert any((~there).any() for there in mask.kept().values())


def test_c5_no_threshold_keeps_every_edge_that_is_not_zero_and_an_endless_one_the_outer_layers() -> None:
    model = printed()
    with torch.no_grad():
        model.private[1].weight[1, 2] = 0.0
    assert edges_of(pruned_at(0.0, model))[1] == [[1, 1, 1], [1, 1, 0], [1, 1, 1]]
    nothing = pruned_at(math.inf, model)
    assert nothing.density() == {f"private.{n}.weight": float(n in (0, 3)) for n in range(4)}
    weights = masked_weights({n: v.detach() for n, v in trainable_parameters(model).items()}, nothing)
    batch = model.batch(EPISODES[0].support[0])
    assert torch.isfinite(loss_with(model, weights, batch).total)
    biases = [weights[f"private.{n}.bias"] for n in range(3)]
    assert not biases[0].any()
    assert not biases[1].any()
    assert biases[2].any()


def test_c6_a_network_as_it_is_initialised_draws_a_warning() -> None:
    torch.manual_seed(0)
    sizes = (600, 600, 500, 400, 300)
    layers = [nn.Linear(below, above) for below, above in zip(sizes, sizes[1:], strict=False)]
    weights = {f"{n}.weight": layer.weight for n, layer in enumerate(layers)}
    shape = PersonaMask(tuple(LayerMask(f"{n}.weight", f"{n}.bias", *v.weight.shape) for n, v in enumerate(layers)))
    found = mask_statistics([pruned(shape, weights, Threshold(gamma=0.05))] * 2)
    assert found.density["1.weight"] == 0.0
    (line,) = found.lines()
    assert line.startswith("persona masks of 2 personas: 1.weight keeps 0.0% of its edges (0.0% live); 2.weight keeps")
    assert line.endswith("mean Jaccard 1.000")
    warnings = found.warnings()
    assert [w for w in warnings if "1.weight keeps 0.0% of its edges, outside of 2% to 98%" in w]
    assert [w for w in warnings if "nearly the same for all personas" in w]
    half = pruned(shape, weights, Threshold("quantile", keep_share=0.5))
    other = pruned(shape, {n: v + 0.02 * torch.randn_like(v) for n, v in weights.items()}, Threshold("quantile"))
    fine = mask_statistics([half, other])
    assert fine.warnings() == []
    assert fine.density["2.weight"] == pytest.approx(0.5, abs=1e-3)
    assert 0.1 < fine.jaccard < 0.9
