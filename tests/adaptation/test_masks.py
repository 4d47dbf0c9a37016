"""Structures: how they are held, told apart, and taken to a file and back."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from private_toys import PrivateNet, any_structure, of_edges
from toys import TanhNet, points

from menura.adaptation.masks import (
    PERSONAS,
    PersonaMask,
    Threshold,
    from_tensors,
    full_mask,
    jaccard,
    mask_statistics,
    masked_weights,
    mean_jaccard,
    pruned,
    to_tensors,
    without_pruned_nodes,
    zero_dead_edges,
)
from menura.adaptation.weights import adaptable_parameters, loss_with
from menura.artefacts import tensors
from menura.errors import DataError, MismatchError

WIDE = (3, 20, 31, 17, 2)  # no layer's edges fill whole bytes


def drawn(personas: int = 5, sizes: tuple[int, ...] = WIDE) -> list[PersonaMask]:
    model = PrivateNet(sizes)
    return [any_structure(model, seed, 0.2 + 0.1 * seed) for seed in range(personas)]


def test_edges_are_held_eight_a_byte_and_come_back_as_they_were() -> None:
    shape = full_mask(PrivateNet(WIDE))
    for layer in shape.layers:
        edges = torch.rand(layer.out_units, layer.in_units, generator=torch.Generator().manual_seed(3)) < 0.4
        made = layer.with_edges(edges)
        assert made.bits is not None
        assert made.bits.dtype == torch.uint8
        assert len(made.bits) == math.ceil(edges.numel() / 8)
        assert torch.equal(made.edges(), edges)
        assert layer.edges().all()


def test_a_model_without_a_private_part_has_nothing_to_keep() -> None:
    model = TanhNet()
    assert full_mask(model).layers == ()
    assert masked_weights(adaptable_parameters(model), full_mask(model)).keys() == adaptable_parameters(model).keys()


def test_a_node_whose_edges_from_below_all_went_lives_and_its_bias_speaks() -> None:
    shape = full_mask(PrivateNet((2, 2, 2, 2, 1)))
    weights = {name: torch.full((2, 2), 0.5) for name in ("private.1.weight", "private.2.weight")}
    weights["private.1.weight"] = torch.tensor([[0.0, 0.0], [0.5, 0.5]])
    mask = pruned(shape, weights, Threshold(gamma=0.1))
    assert mask.layers[1].edges().tolist() == [[False, False], [True, True]]
    assert mask.layers[2].edges().all()
    assert mask.kept()["private.1.bias"].all()


def test_a_quantile_keeps_its_share_of_each_layer_whatever_the_scale() -> None:
    model = PrivateNet((30, 40, 50, 40, 30))
    with torch.no_grad():
        model.private[1].weight *= 1e-3
    small = pruned(full_mask(model), adaptable_parameters(model), Threshold("quantile", keep_share=0.3)).density()
    assert small["private.0.weight"] == small["private.3.weight"] == 1
    assert small["private.1.weight"] == pytest.approx(0.3, abs=0.001)
    assert small["private.2.weight"] == pytest.approx(0.3, abs=0.001)
    assert set(
        pruned(full_mask(model), adaptable_parameters(model), Threshold("quantile", keep_share=1.0)).density().values()
    ) == {1.0}


def test_a_scaled_threshold_counts_bounds_of_the_layer_s_initialisation() -> None:
    weight = torch.linspace(-1, 1, 400).view(4, 100)
    assert torch.equal(Threshold("scaled", gamma=1.2).strong(weight), weight.abs() > 0.12)
    fresh = torch.nn.Linear(300, 300).weight
    assert not Threshold("scaled", gamma=1.0).strong(fresh).any()
    assert Threshold("absolute", gamma=0.05).strong(fresh).float().mean() > 0.1


def test_the_mean_jaccard_is_that_of_all_pairs_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = drawn()

    def counted(one: PersonaMask, other: PersonaMask) -> float:
        pairs = [(a.edges(), b.edges()) for a, b in zip(one.layers, other.layers, strict=True) if a.bits is not None]
        return sum(int((a & b).sum()) for a, b in pairs) / sum(int((a | b).sum()) for a, b in pairs)

    wanted = [counted(one, other) for one, other in itertools.combinations(masks, 2)]
    assert len({round(value, 6) for value in wanted}) > 5
    monkeypatch.setattr("menura.adaptation.masks.CHUNK", 7)
    assert mean_jaccard(masks) == pytest.approx(sum(wanted) / len(wanted), abs=1e-12)
    assert jaccard(masks[0], masks[3]) == pytest.approx(wanted[2], abs=1e-12)


def test_structures_without_any_edge_are_alike() -> None:
    shape = full_mask(PrivateNet())
    nothing = pruned(shape, adaptable_parameters(PrivateNet()), Threshold(gamma=math.inf))
    everything = pruned(shape, adaptable_parameters(PrivateNet()), Threshold(gamma=0.0))
    assert jaccard(nothing, nothing) == 1
    assert jaccard(nothing, everything) == 0
    assert mean_jaccard([everything]) == 1


def test_a_census_counts_kept_and_live_edges_in_the_mean() -> None:
    shape = full_mask(PrivateNet((2, 2, 2, 1)))
    one = of_edges(shape, None, [[1, 0], [1, 0]], None)
    other = of_edges(shape, None, [[1, 1], [1, 0]], None)
    found = mask_statistics([one, other])
    assert found.density == {"private.1.weight": 0.625}
    assert found.live == {"private.0.weight": 0.75, "private.1.weight": 0.625, "private.2.weight": 1.0}
    assert found.jaccard == pytest.approx(2 / 3)
    told = "persona masks of 2 personas: private.1.weight keeps 62.5% of its edges (62.5% live); mean Jaccard 0.667"
    assert found.lines() == [told]
    assert found.warnings() == []
    assert len(mask_statistics([full_mask(PrivateNet((2, 2, 1)))]).warnings()) == 1


def test_structures_come_back_from_a_file_with_their_personas(tmp_path: Path) -> None:
    model, names = PrivateNet(WIDE), ["anna", "bö:1/2", "d", "e", "f"]
    masks = dict(zip(names, drawn(), strict=True))
    tensors.save(tmp_path / "s.safetensors", to_tensors(masks))
    again = from_tensors(tensors.load(tmp_path / "s.safetensors"), full_mask(model), "here")
    assert list(again) == names
    for name in names:
        for ours, theirs in zip(masks[name].layers, again[name].layers, strict=True):
            assert torch.equal(ours.edges(), theirs.edges())
            assert (ours.bits is None) == (theirs.bits is None)
    edges = sum(layer.out_units * layer.in_units for layer in full_mask(model).layers[1:3])
    assert (tmp_path / "s.safetensors").stat().st_size < len(names) * (edges / 8 + 2) + 600


def test_structures_of_another_model_or_without_personas_are_refused() -> None:
    written = to_tensors(dict(zip("abcde", drawn(), strict=True)))
    with pytest.raises(MismatchError, match=r"private.1.weight: bits \(5, 78\) torch.uint8, wanted \(5, 4\)"):
        from_tensors(written, full_mask(PrivateNet()), "here")
    with pytest.raises(MismatchError, match=r"a layer that the model has not: private.2.weight"):
        from_tensors(
            {n: v for n, v in written.items() if n != "private.1.weight"}, full_mask(PrivateNet(WIDE[:3])), "here"
        )
    for damaged in ({}, {**written, PERSONAS: written[PERSONAS][:-2]}):
        with pytest.raises(DataError, match="without whole personas' ids"):
            from_tensors(damaged, full_mask(PrivateNet(WIDE)), "here")


@pytest.mark.parametrize("seed", range(3))
def test_edges_into_dead_nodes_can_go_and_outputs_stay(seed: int) -> None:
    model = PrivateNet(WIDE)
    mask = any_structure(model, seed, 0.05)
    weights = masked_weights({n: v.detach() for n, v in adaptable_parameters(model).items()}, mask)
    lively = zero_dead_edges(weights, mask)
    left = [int((lively[layer.weight_name] != 0).sum()) for layer in mask.layers]
    assert left == [int(edges.sum()) for edges in mask.live()]
    assert left[0] < mask.layers[0].edges().numel()
    batch = model.batch(points("s", 6, 4))
    assert torch.equal(loss_with(model, lively, batch).nll, loss_with(model, weights, batch).nll)


def test_smaller_layers_of_a_whole_structure_are_the_layers() -> None:
    model = PrivateNet()
    cut = without_pruned_nodes(adaptable_parameters(model), full_mask(model))
    assert [weight.shape for weight, _ in cut] == [layer.weight.shape for layer in model.private]
