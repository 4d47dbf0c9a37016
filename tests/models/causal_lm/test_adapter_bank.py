from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy, part, read_by_their_own_network
from torch import Tensor

from menura.adaptation.weights import adaptable_parameters, swapped_weights
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError, MismatchError
from menura.models.causal_lm.adapter_bank import AdapterBank

KINDS = ["houlsby", "houlsby-upper", "lora", "ia3", "gpt2-houlsby", "gpt2-lora", "gpt2-ia3"]
PARTS = (*SUPPORT, *QUERY, part("x", "a very long thing to say about goats", "no", "why?", "because"))
WHOSE = (2, 0, 0, 1, 2, 1, 1)  # of the seven exchanges in PARTS

Personas = list[dict[str, Tensor]]


def personas(toy: Toy, count: int = 3) -> Personas:
    """Make weights far enough apart that each persona says something else."""
    stream = torch.Generator().manual_seed(11)
    return [
        {
            n: v.detach() + 0.5 * torch.randn(v.shape, generator=stream).to(v.dtype)
            for n, v in adaptable_parameters(toy.model).items()
        }
        for _ in range(count)
    ]


def apart(toy: Toy, spoken: Personas, whose: Sequence[int]) -> list[list[int]]:
    """Let one row after the other speak, its persona held in the model."""
    replies = []
    for exchange, persona in zip(toy.batch(PARTS).exchanges, whose, strict=True):
        with swapped_weights(toy.model, spoken[persona]):
            one = toy.model.batch([exchange])
            replies += generate(toy.model, one, Greedy(), end=toy.end, max_new_tokens=10, seeds=[0])
    return replies


def together(toy: Toy, bank: AdapterBank, whose: Sequence[int]) -> list[list[int]]:
    batch = toy.batch(PARTS)
    with toy.model.using_adapters(bank, whose):
        return generate(toy.model, batch, Greedy(), end=toy.end, max_new_tokens=10, seeds=range(len(batch)))


@pytest.mark.parametrize("own_network", [False, True], ids=["lean", "fallback"])
@pytest.mark.parametrize("name", KINDS)
def test_personas_in_one_batch_say_what_each_says_alone(name: str, *, own_network: bool) -> None:
    with read_by_their_own_network() if own_network else nullcontext():
        toy = VARIANTS[name].toy(double=True)
    spoken = personas(toy)
    wanted = apart(toy, spoken, WHOSE)
    assert together(toy, AdapterBank.of(spoken), WHOSE) == wanted
    assert apart(toy, spoken, (0,) * len(WHOSE)) != wanted, "personas that say the same would show nothing"


@pytest.mark.parametrize("name", KINDS)
def test_personas_in_one_batch_have_the_log_probabilities_they_have_alone(name: str) -> None:
    toy = VARIANTS[name].toy()
    spoken, batch = personas(toy), toy.batch(PARTS)
    chosen = torch.tensor([5, 1, 1, 0])
    with torch.no_grad(), toy.model.using_adapters(AdapterBank.of(spoken), WHOSE):
        log_probs, state = toy.model.step(toy.model.prefill(batch), batch.prefix.ids[:, -1])
        later, _ = toy.model.step(toy.model.reorder_cache(state, chosen), torch.tensor([70, 71, 72, 73]))
    for row, persona in enumerate(WHOSE):
        with torch.no_grad(), swapped_weights(toy.model, spoken[persona]):
            one = toy.model.batch([batch.exchanges[row]])
            wanted, state = toy.model.step(toy.model.prefill(one), one.prefix.ids[:, -1])
            assert torch.allclose(log_probs[row], wanted[0], atol=1e-5)
            for place in (chosen == row).nonzero()[:, 0].tolist():
                one_state = toy.model.reorder_cache(state, torch.tensor([0]))
                wanted, _ = toy.model.step(one_state, torch.tensor([70 + place]))
                assert torch.allclose(later[place], wanted[0], atol=1e-5)


def test_a_parameter_in_which_personas_do_not_differ_is_the_models_own() -> None:
    toy = VARIANTS["houlsby"].toy(double=True)
    spoken = [{n: v for n, v in weights.items() if n.endswith("up.bias")} for weights in personas(toy)]
    assert together(toy, AdapterBank.of(spoken), WHOSE) == apart(toy, spoken, WHOSE)


@pytest.mark.parametrize("whose", [range(7), (6, 5, 4, 3, 2, 1, 0), (0, 1, 2, 3, 4, 5, 5)], ids=["all", "back", "most"])
def test_a_bank_is_copied_only_where_its_personas_do_not_speak_in_its_order(whose: Sequence[int]) -> None:
    toy = VARIANTS["gpt2-lora"].toy(double=True)
    spoken, batch = personas(toy, 7), toy.batch(PARTS)
    bank = AdapterBank.of(spoken)
    assert together(toy, bank, whose) == apart(toy, spoken, whose)
    with torch.no_grad(), toy.model.using_adapters(bank, whose):
        toy.model.prefill(batch)
        held = toy.model._adapters_in_use._gathered
        shared = [held[name].data_ptr() == bank.stacked[name].data_ptr() for name in held]
    assert set(shared) == {list(whose) == list(range(7))}


@pytest.mark.parametrize("name", KINDS)
def test_personas_begin_to_scores_as_they_begin_and_step(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    bank, whole = AdapterBank.of(personas(toy)), toy.batch(PARTS)
    even = toy.model.batch([whole.exchanges[2]] * len(whole))
    for batch in (whole, even):
        with torch.no_grad(), toy.model.using_adapters(bank, WHOSE):
            wanted, _ = toy.model.step(toy.model.prefill(batch), batch.prefix.ids[:, -1])
            scores, _ = toy.model.prefill_logits(batch)
        assert torch.allclose(scores.log_softmax(-1), wanted, rtol=0, atol=1e-12)


def test_the_model_is_itself_again_after_a_bank_spoke() -> None:
    toy = VARIANTS["houlsby"].toy()
    before = {name: value.clone() for name, value in toy.model.state_dict().items()}
    wanted = toy.model.loss(toy.batch(PARTS)).nll
    bank = AdapterBank.of(personas(toy))
    together(toy, bank, WHOSE)
    with pytest.raises(ZeroDivisionError), toy.model.using_adapters(bank, WHOSE):
        _ = 1 / 0
    assert torch.equal(toy.model.loss(toy.batch(PARTS)).nll, wanted)
    assert all(torch.equal(value, before[name]) for name, value in toy.model.state_dict().items())


def test_a_bank_that_does_not_fit_is_refused() -> None:
    toy = VARIANTS["houlsby"].toy()
    spoken = personas(toy)
    with pytest.raises(MismatchError, match="persona 1 and persona 0 do not have the same weights: adapters"):
        AdapterBank.of([spoken[0], dict(list(spoken[1].items())[1:])])
    for name, value in {"adapters.0.attention.up.bias": torch.zeros(3), "network.x": torch.zeros(3)}.items():
        with pytest.raises(MismatchError, match=name), toy.model.using_adapters(AdapterBank.of([{name: value}]), [0]):
            pass
    prompt = VARIANTS["prompt"].toy()
    with pytest.raises(ConfigError, match="PromptVectors: cannot speak as several"):
        together(prompt, AdapterBank.of(personas(prompt)), WHOSE)
    assert len(AdapterBank.of(spoken)) == 3


def test_what_cannot_be_done_as_several_personas_is_not_done_as_none() -> None:
    toy = VARIANTS["houlsby"].toy()
    bank, batch = AdapterBank.of(personas(toy)), toy.batch(PARTS)
    with toy.model.using_adapters(bank, WHOSE):
        state = toy.model.prefill(batch)
        with pytest.raises(AssertionError, match="only prefill and step"):
            toy.model.loss(batch)
        with pytest.raises(AssertionError, match="1 rows are read, personas given for 7"):
            toy.model.prefill(toy.model.batch(batch.exchanges[:1]))
    with pytest.raises(AssertionError, match="prefilled as several personas"):
        toy.model.step(state, batch.prefix.ids[:, -1])
