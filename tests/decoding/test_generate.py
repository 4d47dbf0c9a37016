import warnings

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Voice, part

from menura.adaptation.weights import adaptable, holding
from menura.decoding.choice import Choice, Greedy, Nucleus, TopK
from menura.decoding.generate import generate, stream

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
