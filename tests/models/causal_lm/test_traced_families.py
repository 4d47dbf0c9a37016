"""The gradient of a whole task, traced with sizes left open, of families that the plain functions have learnt."""

import pytest
import torch
from counts import count
from families import exchanges, network
from made_up import stir

from menura.adaptation import compile_graph
from menura.adaptation.compiled_maml import CompiledMaml
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.adaptation.weights import trainable_parameters
from menura.batches.encode import EncodedEpisode
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters

TWO_LAYERS = {"gemma3": {"layer_types": ["sliding_attention", "full_attention"]}, "granite": {}}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TWO_LAYERS][: count(full_count=2, quick_count=1)])
def test_a_traced_gradient_is_the_plain_one_for_other_sizes_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_graph, "machine_code", lambda noted, given, mode: noted)
    base = network(name, num_hidden_layers=2, **TWO_LAYERS[name])
    adapters = Adapters("lora", rank=4, target_modules="all-linear")
    made = CausalLm(base, CausalLmConfig("x", adapters=adapters)).eval().double()
    stir(made, size=0.2)
    method = Maml(InnerLoop(lr=0.02, batch_size=0), "exact")
    said: list[str] = []
    traced = CompiledMaml(method, made, said.append)
    for lengths in ((40, 9, 31, 20), (33, 47, 12, 18, 50)):
        rows = exchanges(lengths)
        episode = EncodedEpisode("p", tuple((row,) for row in rows[:2]), tuple((row,) for row in rows[2:]))
        found = []
        for each in (method, traced):
            loss = each.objective(made, episode).total
            slopes = torch.autograd.grad(loss, list(trainable_parameters(made).values()))
            found.append(torch.cat([slope.flatten() for slope in slopes]))
        assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-12
    assert len(said) == 2, "one graph for both sizes"
