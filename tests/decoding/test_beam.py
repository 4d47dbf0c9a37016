import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy, part
from torch import Tensor

from menura.decoding.beam import Beam, Hypothesis, beam_search, collapsed
from menura.decoding.generate import generate, several, stream
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError
from menura.models.dialogue_model import nll_of

PARTS = (*SUPPORT, *QUERY, part("x", "a very long thing to say about goats", "no", "why?", "because"))
VOICES = ["houlsby", "gpt2-lora", "seq2seq", "speaker", "seq2spg"]


def searched(toy: Toy, beam: Beam, limit: int = 12, end: int | None = None) -> list[list[Hypothesis]]:
    end = toy.end if end is None else end
    return beam_search(toy.model, toy.batch(PARTS), beam, end=end, max_new_tokens=limit)


def ended_early(toy: Toy) -> int:
    """Return a token that ends replies before the limit; some of them and not all, where they differ."""
    said = [row[0].ids for row in searched(toy, Beam(3), end=-1)]
    return next((t for row in said for t in row[2:8] if sum(t in other for other in said) < len(said)), said[0][2])


@pytest.mark.parametrize("name", VOICES)
def test_b5_a_beam_of_one_is_greedy(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    batch = toy.batch(PARTS)
    greedy = generate(toy.model, batch, Greedy(), end=toy.end, max_new_tokens=12, seeds=range(len(batch)))
    assert generate(toy.model, batch, Beam(1), end=toy.end, max_new_tokens=12, seeds=range(len(batch))) == greedy


@pytest.mark.parametrize("name", VOICES)
def test_b5_a_wider_beam_finds_nothing_less_likely_and_says_nothing_after_the_end(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    end = ended_early(toy)
    narrow, wide = (searched(toy, Beam(width), end=end) for width in (1, 5))
    for one, many in zip(narrow, wide, strict=True):
        assert many[0].score >= one[0].score - 1e-12
        assert all(end not in hypothesis.ids for hypothesis in many)
    assert any(hypothesis.ended for many in wide for hypothesis in many)


@pytest.mark.parametrize("name", ["houlsby", "gpt2-lora"])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_it_finds_what_the_library_finds(name: str, penalty: float) -> None:
    toy = VARIANTS[name.split("-")[0] if name == "houlsby" else name].toy(double=True)
    end = ended_early(toy)
    batch = toy.batch(PARTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = toy.model.network.generate(
            input_ids=batch.prefix.ids,
            attention_mask=batch.prefix.mask.long(),
            do_sample=False,
            num_beams=4,
            length_penalty=penalty,
            early_stopping="never",
            max_new_tokens=12,
            eos_token_id=end,
            pad_token_id=end,
        )[:, batch.prefix.ids.shape[1] :]
    theirs = [tuple(row[: row.index(end)] if end in row else row) for row in found.tolist()]
    assert [row[0].ids for row in searched(toy, Beam(4, penalty), end=end)] == theirs


@pytest.mark.parametrize("name", VOICES)
def test_a_score_is_the_summed_log_probability(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    end = ended_early(toy)
    for exchange, found in zip(toy.batch(PARTS).exchanges, searched(toy, Beam(4), end=end), strict=True):
        replies = [(*h.ids, end) if h.ended else h.ids for h in found]
        nll = nll_of(toy.model, toy.model.batch([replace(exchange, reply=reply) for reply in replies]))
        assert [h.score for h in found] == pytest.approx((-nll).tolist(), abs=1e-9)


@pytest.mark.parametrize("name", VOICES)
def test_batch_mates_change_no_reply(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    end = ended_early(toy)
    together = searched(toy, Beam(4), end=end)
    for exchange, found in zip(toy.batch(PARTS).exchanges, together, strict=True):
        (alone,) = beam_search(toy.model, toy.model.batch([exchange]), Beam(4), end=end, max_new_tokens=12)
        assert [h.ids for h in alone] == [h.ids for h in found]


def test_a_beam_as_wide_as_all_replies_finds_the_likeliest_of_all() -> None:
    toy = Letters()
    everything = toy.every_reply(limit=3)
    best = sorted(everything.items(), key=lambda item: -item[1])
    (found,) = beam_search(toy, SequenceLayout(1), Beam(64), end=Letters.END, max_new_tokens=3)  # type: ignore[arg-type]
    assert [(h.ids, round(h.score, 9)) for h in found[:10]] == [(ids, round(score, 9)) for ids, score in best[:10]]


def test_fewer_words_than_the_beam_is_wide_do_no_harm() -> None:
    (found,) = beam_search(Letters(), SequenceLayout(1), Beam(9), end=Letters.END, max_new_tokens=1)  # type: ignore[arg-type]
    assert sorted(h.ids for h in found) == [(), (1,), (2,)]


def test_repeats_are_left_out_from_the_third_word_on() -> None:
    assert collapsed((7, 7, 7, 8, 8, 7)) == [7, 7, 8, 7]
    assert collapsed(()) == []


def test_several_replies_of_a_beam_are_its_best() -> None:
    toy = VARIANTS["houlsby"].toy(double=True)
    exchange = toy.batch(PARTS).exchanges[0]
    (found,) = beam_search(toy.model, toy.model.batch([exchange]), Beam(4), end=toy.end, max_new_tokens=8)
    said = several(toy.model, exchange, Beam(2), end=toy.end, max_new_tokens=8, seeds=range(4))
    assert said == [list(h.ids) for h in found]
    streamed = stream(toy.model, toy.model.batch([exchange]), Beam(4), end=toy.end, max_new_tokens=8, seed=0)
    assert list(streamed) == said[0]


@pytest.mark.parametrize("settings", [{"num_beams": 0}, {"length_penalty": -1.0}])
def test_a_beam_of_nothing_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="beam"):
        Beam(**settings)  # type: ignore[arg-type]


class SequenceLayout:
    """A batch of nothing but its number of rows."""

    def __init__(self, rows: int) -> None:
        self.prefix = SimpleNamespace(ids=torch.zeros(rows, 1, dtype=torch.long))

    def __len__(self) -> int:
        return len(self.prefix.ids)


class Letters:
    """Three words, the first of which ends a reply; what is likely depends on all that was said."""

    END = 0

    def likely(self, said: Sequence[int]) -> Tensor:
        generator = torch.Generator().manual_seed(sum((place + 1) * 7 ** (word + 1) for place, word in enumerate(said)))
        return torch.randn(3, generator=generator, dtype=torch.float64).log_softmax(-1)

    def prefill_logits(self, batch: SequenceLayout) -> tuple[Tensor, list[tuple[int, ...]]]:
        state: list[tuple[int, ...]] = [()] * len(batch)
        return torch.stack([self.likely(said) for said in state]), state

    def step_logits(self, state: list[tuple[int, ...]], last: Tensor) -> tuple[Tensor, list[tuple[int, ...]]]:
        state = [(*said, word) for said, word in zip(state, last.tolist(), strict=True)]
        return torch.stack([self.likely(said) for said in state]), state

    def reorder_cache(self, state: list[tuple[int, ...]], rows: Tensor) -> list[tuple[int, ...]]:
        return [state[row] for row in rows.tolist()]

    def every_reply(self, limit: int) -> dict[tuple[int, ...], float]:
        found = {}
        for length in range(limit + 1):
            for ids in itertools.product((1, 2), repeat=length):
                path = [*ids, self.END] if length < limit else list(ids)
                found[ids] = math.fsum(float(self.likely(path[:n])[word]) for n, word in enumerate(path))
        return found
