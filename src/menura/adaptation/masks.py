"""Persona masks, the private weights that a persona keeps: Algorithm 1 of CMAML (Song et al., 2020), similarity.

Layers are counted from the input, weights are (out_units, in_units): an edge joins an input node to an output node.
Shape letters: P personas, E edges of a layer, Y bytes of their bits.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from menura.adaptation.bitmask import packed, unpacked
from menura.adaptation.weights import PersonaWeights
from menura.errors import DataError, MismatchError
from menura.models.dialogue_model import DialogueModel, HasPrivatePart

Unit = Literal["edges", "nodes"]
PERSONAS = "personas"  # the tensor with the persona ids of the masks


@dataclass(frozen=True, eq=False)
class LayerMask:
    """One private layer, by the names of its parameters, and its kept edges; without bits, all are kept."""

    weight_name: str
    bias_name: str
    out_units: int
    in_units: int
    bits: Tensor | None = field(default=None, repr=False)  # (Y,) uint8 on the CPU, eight edges a byte

    def with_edges(self, kept: Tensor) -> "LayerMask":
        """Return the layer with these (out_units, in_units) edges."""
        return replace(self, bits=packed(kept))

    def edges(self, device: torch.device | str = "cpu") -> Tensor:
        """Return (out_units, in_units) bool, True where an edge is kept."""
        if self.bits is None:
            return torch.ones(self.out_units, self.in_units, dtype=torch.bool, device=device)
        flat = unpacked(self.bits.to(device))[: self.out_units * self.in_units]
        return flat.view(self.out_units, self.in_units)


@dataclass(frozen=True, eq=False)
class PersonaMask:
    """The weights of the private layers that one persona keeps, lowest layer first; stored as bits, unpacked on use.

    A node is kept if it has a kept edge to the layer above, or is in the last layer; its bias is kept with it.
    """

    layers: tuple[LayerMask, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all private weights and biases."""
        return tuple(name for layer in self.layers for name in (layer.weight_name, layer.bias_name))

    def kept(self, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """Return by name where private weights and biases are kept; other names are kept everywhere."""
        edges = {layer.weight_name: layer.edges(device) for layer in self.layers if layer.bits is not None}
        nodes = {
            below.bias_name: edges[above.weight_name].any(0)
            for below, above in pairwise(self.layers)
            if above.bits is not None
        }
        return edges | nodes

    def live(self) -> list[Tensor]:
        """Return by layer (out_units, in_units) bool: the edges from which a path of kept edges leads to an output."""
        found: list[Tensor] = []
        reached: Tensor | None = None
        for layer in reversed(self.layers):
            edges = layer.edges()
            found.append(edges if reached is None else edges & reached[:, None])
            reached = found[-1].any(0)
        return found[::-1]

    def density(self) -> dict[str, float]:
        """Return by layer the share of edges that are kept."""
        return {layer.weight_name: _share(layer.edges()) for layer in self.layers}


def full_mask(model: DialogueModel[Any]) -> PersonaMask:
    """Return the mask that keeps everything; it has no layers for a model without a private part."""
    if not isinstance(model, HasPrivatePart):
        return PersonaMask(())
    shapes = {name: value.shape for name, value in model.named_parameters()}
    named = model.private_layers()
    return PersonaMask(tuple(LayerMask(weight, bias, shapes[weight][0], shapes[weight][1]) for weight, bias in named))


def masked_weights(weights: PersonaWeights, mask: PersonaMask) -> dict[str, Tensor]:
    """Return the weights with 0 outside the mask, as a function of the rest."""
    return with_zeros(weights, mask.kept(_device(weights)))


def with_zeros(weights: PersonaWeights, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with 0 where they are not kept; no gradient, not even inf or NaN, comes from there."""
    zeros = {name: torch.where(there, weights[name], 0.0) for name, there in kept.items()}
    return {**weights, **zeros}


@dataclass(frozen=True)
class Threshold:
    """Which edges are strong: magnitude above ``gamma`` (absolute), or in the largest share ``keep_share`` (quantile).

    With ``scaled``, ``gamma`` counts bounds of the layer's initialisation, 1 / sqrt(in_units): at the paper's widths
    its 0.05 is 1.2 and 1.1 of them, so that no edge is above it before training. Shares are of a layer, 0 to 1.
    """

    kind: Literal["absolute", "scaled", "quantile"] = "absolute"
    gamma: float = 0.05
    keep_share: float = 0.5

    def strong(self, weight: Tensor) -> Tensor:
        """Return where a weight is strong; one equal to the threshold is not."""
        magnitude = weight.detach().abs()
        if self.kind == "absolute":
            return magnitude > self.gamma
        if self.kind == "scaled":
            return magnitude > self.gamma / math.sqrt(weight.shape[1])
        weak = round((1 - self.keep_share) * magnitude.numel())
        if not weak:
            return torch.ones_like(magnitude, dtype=torch.bool)
        return magnitude > magnitude.flatten().kthvalue(weak).values


def pruned(template: PersonaMask, weights: PersonaWeights, threshold: Threshold, unit: Unit = "edges") -> PersonaMask:
    """Return the mask of the template's layers after pruning (Algorithm 1); bits of the template are not read.

    ``weights``, by name, may be other scores of the edges.

    ``edges``: the lowest and the highest layer stay whole; between them, from the top, an edge is kept that is strong
    and leads to a kept node. A node without an edge to the layer above is dropped, one without an edge from below is
    not. ``nodes``, as in the public program: in all layers a node with a strong edge to a kept node is kept, with all
    its edges.
    """
    layers: list[LayerMask] = []
    top = len(template.layers) - 1
    alive: Tensor | None = None  # (out_units,) the kept nodes above this layer
    for index in range(top, -1, -1):
        layer = template.layers[index]
        if unit == "edges" and index in (0, top):
            layers.append(replace(layer, bits=None))
            alive = None
            continue
        kept = threshold.strong(weights[layer.weight_name])
        if alive is not None:
            kept = kept & alive[:, None]
        if unit == "nodes":
            ends = torch.ones_like(kept[:, 0]) if alive is None else alive
            kept = ends[:, None] & kept.any(0)[None]
        alive = kept.any(0)
        layers.append(layer.with_edges(kept))
    return PersonaMask(tuple(layers[::-1]))


def without_pruned_nodes(weights: PersonaWeights, mask: PersonaMask) -> list[tuple[Tensor, Tensor]]:
    """Return by layer weight and bias without the dropped nodes: fewer rows and columns, the same outputs."""
    masked, made = masked_weights(weights, mask), []
    below: Tensor | None = None  # kept nodes
    for layer, above in zip(mask.layers, [*mask.layers[1:], None], strict=True):
        weight, bias = masked[layer.weight_name].detach(), masked[layer.bias_name].detach()
        alive = above.edges(weight.device).any(0) if above else torch.ones_like(bias, dtype=torch.bool)
        made.append(((weight if below is None else weight[:, below])[alive], bias[alive]))
        below = alive
    return made


def zero_dead_edges(weights: PersonaWeights, mask: PersonaMask) -> dict[str, Tensor]:
    """Return the weights with 0 also at kept edges from which no path leads to an output: the same outputs."""
    live = zip(mask.layers, mask.live(), strict=True)
    edges = {layer.weight_name: there.to(_device(weights)) for layer, there in live}
    return with_zeros(masked_weights(weights, mask), edges)


# Similarity of masks


def jaccard(one: PersonaMask, other: PersonaMask) -> float:
    """Return shared edges over edges in either mask, of the pruned layers; 1 if neither has any."""
    return mean_jaccard([one, other])


CHUNK = 4096  # bytes of bits at once: 128 MiB as floats for a thousand personas


def mean_jaccard(masks: Sequence[PersonaMask]) -> float:
    """Return the mean over all pairs; 1 if there is no pair."""
    ratios, pairs = jaccards(masks), len(masks) * (len(masks) - 1)
    return float((ratios.sum() - ratios.diagonal().sum()) / pairs) if pairs else 1.0


def jaccards(masks: Sequence[PersonaMask]) -> Tensor:
    """Return (P, P) of all pairs, in one pass over the edges."""
    personas = len(masks)
    shared = torch.zeros(personas, personas, dtype=torch.float64)  # (P, P) edges
    for layer in range(len(masks[0].layers) if masks else 0):
        for bits in _columns([mask.layers[layer].bits for mask in masks]):
            edges = unpacked(bits).float()  # (P, 8 CHUNK): counts far below 2^24 are exact
            shared += edges @ edges.T
    sizes = shared.diagonal()
    either = sizes[:, None] + sizes[None] - shared
    return torch.where(either > 0, shared / either.clamp(min=1), 1.0)


def _columns(bits: Sequence[Tensor | None]) -> list[Tensor]:
    """Return the bits of all personas in chunks (P, some bytes), without layers that are whole."""
    there = [each for each in bits if each is not None]
    if not there:
        return []
    assert len(there) == len(bits), "a layer is pruned for all personas or for none"
    starts = range(0, len(there[0]), CHUNK)
    return [torch.stack([each[start : start + CHUNK] for each in there]) for start in starts]


# Shares of edges, and a Jaccard index, beyond which masks carry no information.
MIN_DENSITY, MAX_DENSITY, MAX_JACCARD = 0.02, 0.98, 0.99


@dataclass(frozen=True)
class MaskStatistics:
    """Statistics of some persona masks: mean shares of kept and of live edges by layer, and mean Jaccard similarity."""

    personas: int
    density: Mapping[str, float]  # of pruned layers
    live: Mapping[str, float]  # of all layers
    jaccard: float

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        layers = [
            f"{name} keeps {share:.1%} of its edges ({self.live[name]:.1%} live)"
            for name, share in self.density.items()
        ]
        told = "; ".join(layers) or "no layer was pruned"
        return [f"persona masks of {self.personas} personas: {told}; mean Jaccard {self.jaccard:.3f}"]

    def warnings(self) -> list[str]:
        """Return the reasons why these masks carry little information about personas."""
        found = [
            f"warning: {name} keeps {share:.1%} of its edges, outside of {MIN_DENSITY:.0%} to {MAX_DENSITY:.0%}: "
            "method.gamma does not fit these weights (try method.threshold=quantile)"
            for name, share in self.density.items()
            if not MIN_DENSITY < share < MAX_DENSITY
        ]
        if not self.density:
            found.append("warning: no private layer was pruned: that takes three or more")
        if self.personas > 1 and self.jaccard > MAX_JACCARD:
            told = f"warning: persona masks are nearly the same for all personas (mean Jaccard {self.jaccard:.4f})"
            found.append(f"{told}: try method.l1_step=proximal and a larger method.l1_weight or method.inner.lr")
        return found


def mask_statistics(masks: Sequence[PersonaMask]) -> MaskStatistics:
    """Return the statistics of at least one mask."""
    size = len(masks)
    density: dict[str, float] = {}
    live: dict[str, float] = {}
    for mask in masks:
        for layer, lively in zip(mask.layers, mask.live(), strict=True):
            live[layer.weight_name] = live.get(layer.weight_name, 0.0) + _share(lively) / size
            if layer.bits is not None:
                density[layer.weight_name] = density.get(layer.weight_name, 0.0) + _share(layer.edges()) / size
    return MaskStatistics(size, density, live, mean_jaccard(masks))


# As tensors for a file


def to_tensors(masks: Mapping[str, PersonaMask]) -> dict[str, Tensor]:
    """Return one (P, Y) uint8 tensor per pruned layer, and the persona ids, in order, as the bytes of JSON."""
    ids = torch.tensor(list(json.dumps(list(masks)).encode()), dtype=torch.uint8)
    made = {PERSONAS: ids}
    for layer in range(len(next(iter(masks.values())).layers)):
        columns = [mask.layers[layer] for mask in masks.values()]
        bits = [each.bits for each in columns if each.bits is not None]
        if bits:
            made[columns[0].weight_name] = torch.stack(bits)
    return made


def from_tensors(found: Mapping[str, Tensor], template: PersonaMask, source: Path | str) -> dict[str, PersonaMask]:
    """Return masks by persona, of the template's layers; ``source`` is the file that an error names.

    Raises DataError for damaged ids, MismatchError for the layers of another model.
    """
    try:
        ids = json.loads(bytes(found[PERSONAS].tolist()))
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            "persona masks without whole personas' ids",
            place=str(source),
            hint="menura train RECIPE --fresh finds them anew",
        ) from error
    if unknown := sorted(found.keys() - {PERSONAS, *(layer.weight_name for layer in template.layers)}):
        raise MismatchError(f"persona masks of a layer that the model has not: {unknown[0]}", place=str(source))
    for layer in template.layers:
        wanted = (len(ids), -(-layer.out_units * layer.in_units // 8))
        bits = found.get(layer.weight_name)
        if bits is not None and (bits.shape != wanted or bits.dtype != torch.uint8):
            raise MismatchError(
                f"{layer.weight_name}: bits {tuple(bits.shape)} {bits.dtype}, wanted {wanted}", place=str(source)
            )
    return {
        name: PersonaMask(tuple(_row(layer, found, row) for layer in template.layers)) for row, name in enumerate(ids)
    }


def _row(layer: LayerMask, found: Mapping[str, Tensor], row: int) -> LayerMask:
    return replace(layer, bits=found[layer.weight_name][row].clone() if layer.weight_name in found else None)


def _share(edges: Tensor) -> float:
    return float(edges.float().mean()) if edges.numel() else 1.0


def _device(weights: PersonaWeights) -> torch.device:
    return next(iter(weights.values())).device if weights else torch.device("cpu")
