"""Rows that enter and leave a running batch at any time say what they say alone."""

from collections.abc import Mapping

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy, part, read_by_their_own_network
from torch import Tensor

from menura.adaptation.weights import adaptable_parameters, swapped_weights
from menura.batches.encode import EncodedExchange
from menura.models.causal_lm.slot_cache import CachedPrefix
from menura.models.causal_lm.slots import CausalSlots, PendingPrompt, slots_of
from menura.models.layers.neural_cache import NeuralCache

KINDS = ["houlsby", "houlsby-upper", "lora", "ia3", "gpt2-houlsby", "gpt2-lora"]
PARTS = (*SUPPORT, *QUERY, part("x", "a very long thing to say about goats", "no", "why?", "because"))
TOKENS = 6

Weights = Mapping[str, Tensor]


def personas(toy: Toy, count: int = 3) -> list[Weights]:
    """Make weights far enough apart that each persona says something else."""
    stream = torch.Generator().manual_seed(11)
    own = {f"adapters.{name}": value.detach() for name, value in toy.model.adapters.named_parameters()}
    return [
        {name: value + 0.5 * torch.randn(value.shape, generator=stream).to(value.dtype) for name, value in own.items()}
        for _ in range(count)
    ]


def slots(toy: Toy) -> CausalSlots:
    made = slots_of(toy.model)
    assert made is not None, "a causal language model with known layers has slots"
    return made


def alone(toy: Toy, exchange: EncodedExchange, weights: Weights, cache: NeuralCache | None = None) -> list[Tensor]:
    """Return the logits of each greedy step of one row, its persona held in the model."""
    scored = []
    with torch.no_grad(), swapped_weights(toy.model, weights), toy.model.using_cache(cache):
        logits, state = toy.model.prefill_logits(toy.model.batch([exchange]))
        for _ in range(TOKENS):
            scored.append(logits[0].clone())
            logits, state = toy.model.step_logits(state, logits.argmax(-1))
    return scored


class Running:
    """A running batch, and the logits that each of its rows has had."""

    def __init__(self, toy: Toy) -> None:
        self.slots = slots(toy)
        self.whose: list[int] = []
        self.scored: dict[int, list[Tensor]] = {}
        self.read: dict[int, list[int]] = {}

    def enter(
        self,
        name: int,
        exchange: EncodedExchange,
        weights: Weights,
        cache: NeuralCache | None = None,
        prefix: CachedPrefix | None = None,
    ) -> None:
        ((logits, read),) = self.slots.read([PendingPrompt(exchange.prefix, weights, cache, prefix)])
        assert self.slots.put(read, weights, cache) == len(self.whose)
        self.whose.append(name)
        self.scored[name], self.read[name] = [logits.clone()], list(exchange.prefix)

    def step(self) -> None:
        last = torch.stack([self.scored[name][-1].argmax() for name in self.whose])
        for name, token, logits in zip(self.whose, last.tolist(), self.slots.step(last), strict=True):
            self.read[name].append(token)
            self.scored[name].append(logits.clone())
        for name in [name for name in self.whose if len(self.scored[name]) == TOKENS]:
            self.leave(name)

    def leave(self, name: int) -> None:
        row = self.whose.index(name)
        last = self.slots.remove(row)
        assert last == len(self.whose) - 1
        self.whose[row] = self.whose[last]
        self.whose.pop()


def same(ours: list[Tensor], wanted: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, wanted, strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_rows_that_enter_and_leave_at_any_time_have_the_logits_they_have_alone(name: str) -> None:
    toy = VARIANTS[name].toy()
    spoken, exchanges, running = personas(toy), toy.batch(PARTS).exchanges, Running(toy)
    for place, exchange in enumerate(exchanges):  # one enters after each step, and leaves five steps later
        running.enter(place, exchange, spoken[place % 3])
        running.step()
    while running.whose:
        running.step()
    for place, exchange in enumerate(exchanges):
        assert same(running.scored[place], alone(toy, exchange, spoken[place % 3]))
    assert not same(running.scored[0], alone(toy, exchanges[0], spoken[1])), "personas alike would show nothing"


def test_prompts_read_in_one_pass_are_read_as_each_alone() -> None:
    toy = VARIANTS["lora"].toy()
    spoken, exchanges = personas(toy), toy.batch(PARTS).exchanges
    states = torch.randn((3, toy.model.network.config.hidden_size), generator=torch.Generator().manual_seed(3))
    cache = NeuralCache.of(states, torch.tensor([70, 71, 72])).weighing(0.5)
    known = slots(toy).read([PendingPrompt(exchanges[-1].prefix[:9], spoken[0])])[0][1]
    asked = [PendingPrompt(one.prefix, spoken[place % 3]) for place, one in enumerate(exchanges)]
    asked += [
        PendingPrompt(exchanges[-1].prefix, spoken[0], prefix=known),
        PendingPrompt(exchanges[0].prefix, spoken[1], cache),
    ]
    for one, (logits, prefix) in zip(asked, slots(toy).read(asked), strict=True):
        ((wanted, whole),) = slots(toy).read([PendingPrompt(one.ids, one.weights, one.cache)])
        assert torch.allclose(logits.log_softmax(-1), wanted.log_softmax(-1), atol=1e-4)
        assert prefix.ids == whole.ids == one.ids
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(prefix.layers[-1], whole.layers[-1], strict=True))


def test_a_row_without_a_persona_beside_others_is_the_model_itself() -> None:
    toy = VARIANTS["lora"].toy()
    running, exchanges = Running(toy), toy.batch(PARTS).exchanges
    running.enter(0, exchanges[0], personas(toy)[0])
    running.enter(1, exchanges[1], {})
    while running.whose:
        running.step()
    assert same(running.scored[1], alone(toy, exchanges[1], {}))


def test_a_conversation_that_goes_on_reads_only_what_is_new() -> None:
    toy = VARIANTS["lora"].toy()
    spoken, exchange = personas(toy)[0], toy.batch(PARTS).exchanges[-1]
    first = Running(toy)
    first.enter(0, exchange, spoken)
    first.step()
    known = first.slots.prefix(0, first.read[0])
    assert len(known.ids) == len(exchange.prefix) + 1
    longer = EncodedExchange("", "", (), (*known.ids, 70, 71, 72), ())
    again = Running(toy)
    again.enter(0, longer, spoken, prefix=known)
    again.enter(1, longer, spoken, prefix=known.shortened(3))
    while again.whose:
        again.step()
    wanted = alone(toy, longer, spoken)
    assert same(again.scored[0], wanted)
    assert same(again.scored[1], wanted)
    other = Running(toy)
    other.enter(0, longer, personas(toy)[1], prefix=known)
    assert not same(other.scored[0], alone(toy, longer, personas(toy)[1])[:1]), "another persona's keys are not its own"


def test_each_row_has_its_own_cache_of_words() -> None:
    toy = VARIANTS["lora"].toy()
    exchanges, width = toy.batch(PARTS).exchanges, toy.model.network.config.hidden_size
    states = torch.randn((3, width), generator=torch.Generator().manual_seed(3))
    cache = NeuralCache.of(states, torch.tensor([70, 71, 72])).weighing(0.5)
    running = Running(toy)
    running.enter(0, exchanges[0], {}, cache)
    running.enter(1, exchanges[1], {})
    while running.whose:
        running.step()
    mixed = [scores.log_softmax(-1) for scores in alone(toy, exchanges[0], {}, cache)]
    assert same([scores.log_softmax(-1) for scores in running.scored[0]], mixed)
    assert same(running.scored[1], alone(toy, exchanges[1], {}))


def test_a_persona_of_other_weights_than_adapters_fits_no_row() -> None:
    toy = VARIANTS["lora"].toy()
    assert slots(toy).fits(personas(toy)[0])
    assert slots(toy).fits({})
    assert not slots(toy).fits(dict(adaptable_parameters(toy.model)) | {"network.lm_head.weight": torch.zeros(1)})


def test_a_network_that_only_its_own_forward_pass_computes_has_no_slots() -> None:
    with read_by_their_own_network():
        assert slots_of(VARIANTS["lora"].toy().model) is None
