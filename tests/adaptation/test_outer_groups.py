"""Which weights decay in the outer loop."""

from typing import Any

import pytest
import torch
from torch import nn

from menura.adaptation.weights import RATES, Decaying, outer_groups


class Gated(nn.Module):
    """A matrix with its bias, a norm, gates, and a learnt rate."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 2), nn.LayerNorm(2)
        self.gate = nn.Parameter(torch.tensor(0.5))
        self.gates = nn.Parameter(torch.zeros(2, 4, 2))  # as attention routing has them
        self.register_module(RATES.rstrip("."), nn.Linear(2, 2, bias=False))


def decaying(model: Any, of: Decaying) -> set[str]:
    groups = outer_groups(model, 0.1, of)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    moved = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in moved}


def test_of_matrices_alone_no_norm_no_bias_and_no_gate_decays() -> None:
    model = Gated()
    assert decaying(model, "matrices") == {"linear.weight"}
    assert decaying(model, "all") == {"linear.weight", "linear.bias", "norm.weight", "norm.bias", "gate", "gates"}


@pytest.mark.parametrize(("of", "wanted"), [("all", 0.45), ("matrices", 0.5)])
def test_a_step_without_a_gradient_shrinks_a_gate_only_if_it_decays(of: Decaying, wanted: float) -> None:
    model: Any = Gated()
    optimizer = torch.optim.AdamW(outer_groups(model, 0.1, of), lr=1.0)
    (model.linear(torch.ones(3)).sum() * 0 + model.gate * 0).backward()
    optimizer.step()
    assert float(model.gate.detach()) == pytest.approx(wanted)
