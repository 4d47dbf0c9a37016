import warnings
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy, part, read_by_their_own_network

from menura.adaptation.weights import adaptable_parameters, swapped_weights
from menura.decoding.generate import decoding, generate, stream
from menura.decoding.sampling import Choice, Greedy, MinP, Nucleus, Penalised, TopK
from menura.errors import ConfigError
from menura.models.causal_lm.model import CausalLm

PARTS = (*SUPPORT, *QUERY, part("x", "a very long thing to say about goats", "no", "why?", "because"))
CHOICES = [Greedy(), Nucleus(0.9), TopK(5, 1.3), MinP(0.1), Penalised(Greedy(), 1.5), Penalised(Nucleus(0.9), 1.2)]


def written(toy: Toy, choice: Choice, limit: int = 15, end: int | None = None) -> list[list[int]]:
    batch = toy.batch(PARTS)
    end = toy.end if end is None else end
    return generate(toy.model, batch, choice, end=end, max_new_tokens=limit, seeds=range(len(batch)))


@pytest.mark.parametrize("name", ["in-place", "gpt2-in-place", "houlsby", "gpt2-lora"])
def test_greedy_writes_what_the_library_writes(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    batch = toy.batch(PARTS)
    ours = generate(toy.model, batch, Greedy(), end=toy.end, max_new_tokens=15, seeds=range(len(batch)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's notes on its own defaults
        theirs = toy.model.network.generate(
            input_ids=batch.prefix.ids,
            attention_mask=batch.prefix.mask.long(),
            do_sample=False,
            max_new_tokens=15,
            eos_token_id=toy.end,
            pad_token_id=toy.end,
        )[:, batch.prefix.ids.shape[1] :]
    cut = [row[: row.index(toy.end)] if toy.end in row else row for row in theirs.tolist()]
    assert ours == cut
    assert len({tuple(row) for row in ours}) > 1


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: c.signature)
@pytest.mark.parametrize("name", ["houlsby", "special", "gpt2-lora", "houlsby-upper"])
def test_a_stream_yields_what_generate_returns(name: str, choice: Choice) -> None:
    toy = VARIANTS[name].toy(double=True)
    found = []
    for seed, exchange in enumerate(toy.batch(PARTS).exchanges):
        one = toy.model.batch([exchange])
        found.append(list(stream(toy.model, one, choice, end=toy.end, max_new_tokens=15, seed=seed)))
    assert found == written(toy, choice)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: c.signature)
def test_rows_that_end_early_leave_the_others_as_they_are(choice: Choice) -> None:
    toy = VARIANTS["houlsby"].toy(double=True)
    never = written(toy, choice, limit=40, end=-1)
    end = next(t for row in never for t in row[3:20] if sum(t in other for other in never) < len(never))
    found = written(toy, choice, limit=40, end=end)
    assert found == [row[: row.index(end)] if end in row else row for row in never]
    assert len({len(row) for row in found}) > 1


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: c.signature)
def test_a_shorter_limit_gives_the_beginning(choice: Choice) -> None:
    toy = VARIANTS["gpt2-houlsby"].toy(double=True)
    long = written(toy, choice, limit=12)
    for limit in (0, 1, 5):
        assert written(toy, choice, limit=limit) == [row[:limit] for row in long]


def test_no_reply_holds_the_end_token() -> None:
    toy = VARIANTS["houlsby"].toy()
    for row in written(toy, Nucleus(1.0, 3.0), limit=60):
        assert toy.end not in row
        assert len(row) <= 60


def test_seeds_make_the_difference_between_samples_and_the_same_seed_makes_none() -> None:
    toy = VARIANTS["houlsby"].toy()
    one = toy.batch(QUERY).exchanges[0]
    batch = toy.model.batch([one, one, one])
    first, other, again = generate(toy.model, batch, Nucleus(1.0, 2.0), end=toy.end, max_new_tokens=20, seeds=[4, 5, 4])
    assert first == again != other


@pytest.mark.parametrize("own_network", [False, True], ids=["lean", "fallback"])
@pytest.mark.parametrize("name", ["houlsby-upper", "special", "prompt", "gpt2-lora", "transfer-transfo", "p2-bot"])
def test_beginning_to_scores_is_beginning_and_a_step(name: str, *, own_network: bool) -> None:
    with read_by_their_own_network() if own_network else nullcontext():
        toy = VARIANTS[name].toy(double=True)
    chosen, later = torch.tensor([5, 0, 0, 3]), torch.tensor([70, 71, 72, 73])
    for batch in (toy.batch(PARTS), toy.model.batch(toy.batch(PARTS).exchanges[1:2] * 6)):
        with torch.no_grad():
            wanted, state = toy.model.step(toy.model.prefill(batch), batch.prefix.ids[:, -1])
            wanted_later, _ = toy.model.step(toy.model.reorder_cache(state, chosen), later)
            scores, state = toy.model.prefill_logits(batch)
            scores_later, _ = toy.model.step_logits(toy.model.reorder_cache(state, chosen), later)
        assert torch.allclose(scores.log_softmax(-1), wanted, rtol=0, atol=1e-12)
        assert torch.allclose(scores_later.log_softmax(-1), wanted_later, rtol=0, atol=1e-12)


def test_a_state_that_was_begun_elsewhere_is_gone_on_with_and_nothing_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy = VARIANTS["houlsby"].toy()
    batch = toy.batch(PARTS)
    with torch.no_grad():
        begun = toy.model.prefill(batch)
    wanted, seeds = written(toy, Greedy()), range(len(batch))
    monkeypatch.delattr(CausalLm, "prefill")
    monkeypatch.delattr(CausalLm, "prefill_logits")
    assert generate(toy.model, batch, Greedy(), end=toy.end, max_new_tokens=15, seeds=seeds, prefilled=begun) == wanted


@pytest.mark.parametrize("name", ["houlsby", "gpt2-in-place", "special", "transfer-transfo", "ar", "ar+"])
def test_what_spoke_can_learn_from_the_same_batch_afterwards(name: str) -> None:
    toy = VARIANTS[name].toy()
    fresh, batch = toy.batch(PARTS), toy.batch(PARTS)
    generate(
        toy.model, batch, Nucleus(0.9), end=-1, max_new_tokens=80, seeds=range(len(batch))
    )  # more than there is room for
    next(stream(toy.model, toy.model.batch(batch.exchanges[:1]), Greedy(), end=-1, max_new_tokens=1, seed=0))
    with torch.no_grad():
        log_probs, _ = toy.model.step(toy.model.prefill(batch), batch.prefix.ids[:, -1])
    assert not any(tensor.is_inference() for tensor in (log_probs, *toy.model.parameters(), *toy.model.buffers()))
    assert not any(tensor.is_inference() for tensor in (batch.prefix.ids, batch.prefix.mask))
    adapting = list(adaptable_parameters(toy.model).values())
    learnt, wanted = (torch.autograd.grad(toy.model.loss(one).total, adapting) for one in (batch, fresh))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(learnt, wanted, strict=True))


def test_decoding_keeps_no_graph() -> None:
    toy = VARIANTS["houlsby"].toy()
    with torch.enable_grad():
        _ = written(toy, Greedy(), limit=2)
        list(
            stream(
                toy.model,
                toy.model.batch(toy.batch(QUERY).exchanges[:1]),
                Greedy(),
                end=-1,
                max_new_tokens=2,
                seed=0,
            )
        )
        assert torch.is_grad_enabled()


def test_a_stream_is_of_one_row() -> None:
    toy = VARIANTS["houlsby"].toy()
    with pytest.raises(AssertionError, match="one row"):
        next(stream(toy.model, toy.batch(PARTS), Greedy(), end=toy.end, max_new_tokens=2, seed=0))


def test_a_persona_held_in_the_model_speaks_and_leaves_no_trace() -> None:
    toy = VARIANTS["lora"].toy()
    before = written(toy, Greedy())
    weights = {name: value.detach() + 0.5 for name, value in adaptable_parameters(toy.model).items()}
    with swapped_weights(toy.model, weights):
        assert written(toy, Greedy()) != before
    assert written(toy, Greedy()) == before


def test_a_penalised_reply_repeats_fewer_of_its_own_tokens() -> None:
    toy = VARIANTS["houlsby"].toy(double=True)
    plain, penalised = (written(toy, choice, 40, end=-1) for choice in (Greedy(), Penalised(Greedy(), 5.0)))
    assert sum(len(set(row)) for row in penalised) > sum(len(set(row)) for row in plain)
    assert [row[0] for row in penalised] == [row[0] for row in plain], "nothing is repeated yet"


@pytest.mark.parametrize(
    "wrong",
    [{"greedy": True, "min_p": 0.1}, {"num_beams": 2, "repetition_penalty": 1.2}, {"min_p": 2.0}],
)
def test_settings_that_contradict_one_another_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        decoding(**wrong)


def test_settings_become_the_choice_that_they_name() -> None:
    assert decoding(min_p=0.1, temperature=1.5) == MinP(0.1, 1.5)
    assert decoding(greedy=True, repetition_penalty=1.2) == Penalised(Greedy(), 1.2)
