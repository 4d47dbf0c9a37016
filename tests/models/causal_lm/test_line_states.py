"""A line's state is the mean of what the base's own layers make of it, whoever's adapters are in use."""

import pytest
import torch
from made_up import VARIANTS, Variant, read_by_their_own_network

from menura.adaptation.weights import swapped_weights
from menura.errors import ConfigError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.dialogue_model import HasLineStates
from menura.personas.remembering import states_for
from menura.registry import load_model

LINES = ("my goat is called fern", "half past six", "x")


def test_it_is_the_mean_of_the_network_s_own_hidden_states_after_the_first_token() -> None:
    toy = Variant(layers="upper").toy(double=True)  # four layers, of which the upper two have adapters
    ids = [toy.encoder.tokenizer.encode(line) for line in LINES]
    states = toy.model.line_states(ids)
    for state, line in zip(states, ids, strict=True):
        with torch.no_grad():
            hidden = toy.model.network(input_ids=torch.tensor([line]), output_hidden_states=True).hidden_states[2][0]
        torch.testing.assert_close(state, hidden[min(1, len(line) - 1) :].mean(0))


@pytest.mark.parametrize("name", ["houlsby", "lora", "special"])
def test_no_persona_changes_it_and_no_neighbour(name: str) -> None:
    toy = VARIANTS[name].toy()
    ids = [toy.encoder.tokenizer.encode(line) for line in LINES]
    states = toy.model.line_states(ids)
    adapters = {key: value + 1 for key, value in toy.model.named_parameters() if key.startswith("adapters")}
    with swapped_weights(toy.model, adapters):
        assert torch.equal(toy.model.line_states(ids), states)
    for line, state in zip(ids, states, strict=True):
        assert torch.equal(toy.model.line_states([line])[0], state)


def test_a_network_known_by_its_own_forward_pass_alone_gives_the_same() -> None:
    fast = Variant(layers="upper").toy(double=True)
    with read_by_their_own_network():
        own = Variant(layers="upper").toy(double=True)
    assert not own.model.backbone.packed
    ids = [fast.encoder.tokenizer.encode(line) for line in LINES]
    torch.testing.assert_close(own.model.line_states(ids), fast.model.line_states(ids))


def test_a_model_without_such_states_says_so() -> None:
    toy = VARIANTS["houlsby"].toy()
    assert isinstance(toy.model, HasLineStates)
    assert states_for("bm25", toy.model, toy.encoder) is None
    recurrent = VARIANTS["seq2spg"].toy()
    with pytest.raises(ConfigError, match="no states to recall by"):
        states_for("states", recurrent.model, recurrent.encoder)


def test_lines_become_an_array_of_float32() -> None:
    loaded = load_model(CausalLmConfig("tiny"))
    states_of = states_for("states", loaded.model, loaded.encoder)
    assert states_of is not None
    states = states_of(LINES)
    assert states.dtype == "float32"
    assert states.shape[0] == len(LINES)
