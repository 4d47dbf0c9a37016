import warnings

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Voice, part

from menura.adaptation.weights import adaptable, holding
from menura.decoding.choice import Choice, Greedy, Nucleus, TopK
from menura.decoding.generate import generate, stream
from menura.models.causal_lm import CausalLm
from menura.models.parts.lean import NetworkReading

PARTS = (*SUPPORT, *QUERY, part("x", "a very long thing to say about goats", "no", "why?", "because"))
CHOICES = [Greedy(), Nucleus(0.9), TopK(5, 1.3)]


def written(voice: Voice, choice: Choice, limit: int = 15, end: int | None = None) -> list[list[int]]:
    batch = voice.batch(PARTS)
    end = voice.end if end is None else end
    return generate(voice.model, batch, choice, end=end, limit=limit, seeds=range(len(batch)))


@pytest.mark.parametrize("name", ["in-place", "gpt2-in-place", "houlsby", "gpt2-lora"])
def test_greedy_writes_what_the_library_writes(name: str) -> None:
    voice = VARIANTS[name].voice(double=True)
    batch = voice.batch(PARTS)
    ours = generate(voice.model, batch, Greedy(), end=voice.end, limit=15, seeds=range(len(batch)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's notes on its own defaults
        theirs = voice.model.network.generate(
            input_ids=batch.prefix.ids,
            attention_mask=batch.prefix.mask.long(),
            do_sample=False,
            max_new_tokens=15,
            eos_token_id=voice.end,
            pad_token_id=voice.end,
        )[:, batch.prefix.ids.shape[1] :]
    cut = [row[: row.index(voice.end)] if voice.end in row else row for row in theirs.tolist()]
    assert ours == cut
    assert len({tuple(row) for row in ours}) > 1


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: c.signature)
@pytest.mark.parametrize("name", ["houlsby", "special", "gpt2-lora", "houlsby-upper"])
def test_a_stream_yields_what_generate_returns(name: str, choice: Choice) -> None:
    voice = VARIANTS[name].voice(double=True)
    found = []
    for seed, exchange in enumerate(voice.batch(PARTS).exchanges):
        one = voice.model.batch([exchange])
        found.append(list(stream(voice.model, one, choice, end=voice.end, limit=15, seed=seed)))
    assert found == written(voice, choice)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: c.signature)
def test_rows_that_end_early_leave_the_others_as_they_are(choice: Choice) -> None:
    voice = VARIANTS["houlsby"].voice(double=True)
    never = written(voice, choice, limit=40, end=-1)
    end = next(t for row in never for t in row[3:20] if sum(t in other for other in never) < len(never))
    found = written(voice, choice, limit=40, end=end)
    assert found == [row[: row.index(end)] if end in row else row for row in never]
    assert len({len(row) for row in found}) > 1


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: c.signature)
def test_a_shorter_limit_gives_the_beginning(choice: Choice) -> None:
    voice = VARIANTS["gpt2-houlsby"].voice(double=True)
    long = written(voice, choice, limit=12)
    for limit in (0, 1, 5):
        assert written(voice, choice, limit=limit) == [row[:limit] for row in long]


def test_no_reply_holds_the_end_token() -> None:
    voice = VARIANTS["houlsby"].voice()
    for row in written(voice, Nucleus(1.0, 3.0), limit=60):
        assert voice.end not in row
        assert len(row) <= 60


def test_seeds_make_the_difference_between_samples_and_the_same_seed_makes_none() -> None:
    voice = VARIANTS["houlsby"].voice()
    one = voice.batch(QUERY).exchanges[0]
    batch = voice.model.batch([one, one, one])
    first, other, again = generate(voice.model, batch, Nucleus(1.0, 2.0), end=voice.end, limit=20, seeds=[4, 5, 4])
    assert first == again != other


@pytest.mark.parametrize("own_network", [False, True], ids=["lean", "fallback"])
@pytest.mark.parametrize("name", ["houlsby-upper", "special", "prompt", "gpt2-lora", "transfer-transfo", "p2-bot"])
def test_beginning_to_scores_is_beginning_and_a_step(name: str, *, own_network: bool) -> None:
    voice = VARIANTS[name].voice(double=True)
    if own_network:
        read_by_its_own_network(voice)
    chosen, later = torch.tensor([5, 0, 0, 3]), torch.tensor([70, 71, 72, 73])
    for batch in (voice.batch(PARTS), voice.model.batch(voice.batch(PARTS).exchanges[1:2] * 6)):
        with torch.no_grad():
            wanted, state = voice.model.advance(voice.model.begin(batch), batch.prefix.ids[:, -1])
            wanted_later, _ = voice.model.advance(voice.model.select_rows(state, chosen), later)
            scores, state = voice.model.begin_to_scores(batch)
            scores_later, _ = voice.model.advance_to_scores(voice.model.select_rows(state, chosen), later)
        assert torch.allclose(scores.log_softmax(-1), wanted, rtol=0, atol=1e-12)
        assert torch.allclose(scores_later.log_softmax(-1), wanted_later, rtol=0, atol=1e-12)


def read_by_its_own_network(voice: Voice) -> None:
    for speaker in voice.model.modules():
        if isinstance(speaker, CausalLm):
            speaker._reading = NetworkReading(speaker.network, speaker._blocks, speaker._first)


def test_a_state_that_was_begun_elsewhere_is_gone_on_with_and_nothing_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    voice = VARIANTS["houlsby"].voice()
    batch = voice.batch(PARTS)
    with torch.no_grad():
        begun = voice.model.begin(batch)
    wanted, seeds = written(voice, Greedy()), range(len(batch))
    monkeypatch.delattr(CausalLm, "begin")
    monkeypatch.delattr(CausalLm, "begin_to_scores")
    assert generate(voice.model, batch, Greedy(), end=voice.end, limit=15, seeds=seeds, begun=begun) == wanted


@pytest.mark.parametrize("name", ["houlsby", "gpt2-in-place", "special", "transfer-transfo", "ar", "ar+"])
def test_what_spoke_can_learn_from_the_same_batch_afterwards(name: str) -> None:
    voice = VARIANTS[name].voice()
    fresh, batch = voice.batch(PARTS), voice.batch(PARTS)
    generate(voice.model, batch, Nucleus(0.9), end=-1, limit=80, seeds=range(len(batch)))  # more than there is room for
    next(stream(voice.model, voice.model.batch(batch.exchanges[:1]), Greedy(), end=-1, limit=1, seed=0))
    with torch.no_grad():
        log_probs, _ = voice.model.advance(voice.model.begin(batch), batch.prefix.ids[:, -1])
    assert not any(tensor.is_inference() for tensor in (log_probs, *voice.model.parameters(), *voice.model.buffers()))
    assert not any(tensor.is_inference() for tensor in (batch.prefix.ids, batch.prefix.mask))
    adapting = list(adaptable(voice.model).values())
    learnt, wanted = (torch.autograd.grad(voice.model.loss(one).total, adapting) for one in (batch, fresh))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(learnt, wanted, strict=True))


def test_decoding_keeps_no_graph() -> None:
    voice = VARIANTS["houlsby"].voice()
    with torch.enable_grad():
        _ = written(voice, Greedy(), limit=2)
        list(
            stream(voice.model, voice.model.batch(voice.batch(QUERY).exchanges[:1]), Greedy(), end=-1, limit=2, seed=0)
        )
        assert torch.is_grad_enabled()


def test_a_stream_is_of_one_row() -> None:
    voice = VARIANTS["houlsby"].voice()
    with pytest.raises(AssertionError, match="one row"):
        next(stream(voice.model, voice.batch(PARTS), Greedy(), end=voice.end, limit=2, seed=0))


def test_a_persona_held_in_the_model_speaks_and_leaves_no_trace() -> None:
    voice = VARIANTS["lora"].voice()
    before = written(voice, Greedy())
    weights = {name: value.detach() + 0.5 for name, value in adaptable(voice.model).items()}
    with holding(voice.model, weights):
        assert written(voice, Greedy()) != before
    assert written(voice, Greedy()) == before
