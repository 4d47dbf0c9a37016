"""Acceptance checks P4 to P8, P11, P14 and P16 of PLATO: what is lowered, and what is told of latents."""

import math
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_plato import EXCHANGES, LATENTS, plato, said, whole
from torch import Tensor

from menura.batches.encode import EncodedExchange
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.models.dialogue_model import LatentNll, Loss
from menura.models.layers.latent import drawn, gumbel_noise
from menura.models.plato.model import Plato
from menura.models.plato.negatives import Negatives

PAIRED = tuple(replace(e, negatives=(EXCHANGES[place - 1],)) for place, e in enumerate(EXCHANGES))


def lowered(model: Plato, exchanges: tuple[EncodedExchange, ...], seed: int = 3) -> Loss:
    """Return what training lowers."""
    with model.dropout(seed, 0.5):
        return model.loss(model.batch(exchanges))


def always(model: Plato, latent: int) -> Plato:
    """Let recognition say one latent, whatever it reads."""
    with torch.no_grad():
        model.posterior.weight.zero_()
        model.posterior.bias.copy_(1e4 * torch.nn.functional.one_hot(torch.tensor(latent), model.latents))
    return model


@pytest.mark.parametrize("bow_head", ["separate", "tied", "transform"])
@pytest.mark.parametrize("visibility", ["prefix", "response_only"])
def test_p4_the_bag_does_not_ask_for_the_order_of_words_and_the_reply_does(bow_head: str, visibility: str) -> None:
    model = always(plato(bow_head=bow_head, visibility=visibility), 2)
    exchange = said((9, 10), (11,), reply=(20, 21, 22, 23))
    turned = replace(exchange, reply=(22, 20, 23, 21, exchange.reply[-1]))
    one, other = lowered(model, (exchange,)), lowered(model, (turned,))
    assert float(one.parts["bag"]) == pytest.approx(float(other.parts["bag"]), rel=1e-12)
    assert abs(float((one.nll - other.nll).detach())) > 1e-3


def test_p4_the_end_is_in_the_bag_unless_left_out() -> None:
    for bag_end in (True, False):
        model = always(plato(bow_end=bag_end), 2)
        (exchange,) = EXCHANGES[:1]
        with torch.no_grad():
            state = whole(model, exchange, model.latent[2]).head
            assert state is not None
            told = model.bag(state, model.embeddings.token.weight).log_softmax(-1)
        words = exchange.reply if bag_end else exchange.reply[:-1]
        wanted = -told[torch.tensor(words)].sum() / len(exchange.reply)
        assert float(lowered(model, (exchange,)).parts["bag"]) == pytest.approx(float(wanted), rel=1e-12)


@pytest.mark.parametrize("wrong", [1, 2])
def test_p5_selection_that_knows_nothing_costs_two_bits_and_can_learn(wrong: int) -> None:
    model = plato(num_negatives=wrong)
    with torch.no_grad():
        model.selection.weight.zero_()
        model.selection.bias.zero_()
    loss = lowered(model, tuple(replace(e, negatives=e.negatives * wrong) for e in PAIRED))
    assert float(loss.parts["selection"]) == pytest.approx(1.386294, abs=5e-7)
    assert float(loss.parts["selection"]) == pytest.approx(2 * math.log(2), rel=1e-12)
    loss.total.backward()
    assert model.selection.weight.grad is not None
    assert model.selection.weight.grad.abs().max() > 1e-3


def test_p5_without_weight_selection_moves_nothing() -> None:
    model = plato(selection_weight=0.0)
    lowered(model, PAIRED).total.backward()
    assert model.selection.weight.grad is None or not model.selection.weight.grad.any()


def test_p6_the_noise_draws_each_latent_as_often_as_it_is_likely() -> None:
    likely = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05], dtype=torch.float64)
    noise = gumbel_noise(range(20_000), 10 * LATENTS).reshape(-1, LATENTS)  # within streams and across them
    for how in ("gumbel_st", "sample"):
        share = drawn(likely.log().expand(len(noise), -1), noise, how, 0.5).mean(0)  # type: ignore[arg-type]
        assert (share - likely).abs().max() < 0.005


@pytest.mark.parametrize("how", ["gumbel_st", "argmax", "sample"])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_p6_one_row_goes_forward_to_the_bit(how: Any, precision: torch.dtype) -> None:
    log_posterior = torch.randn(500, LATENTS, generator=torch.Generator().manual_seed(1)).log_softmax(-1).to(precision)
    found = drawn(log_posterior, gumbel_noise(range(500), LATENTS), how, 0.5)
    assert torch.equal(found.sort(-1).values, torch.tensor([0.0] * (LATENTS - 1) + [1.0]).to(precision).expand(500, -1))


def test_p6_soft_weights_are_a_mixture_of_rows() -> None:
    noise = gumbel_noise(range(500), 20)
    found = drawn(torch.zeros(500, 20, dtype=torch.float64), noise, "gumbel_soft", 0.67)
    torch.testing.assert_close(found.sum(-1), torch.ones(500, dtype=torch.float64))
    # Of a flat posterior over 20 the largest weight is half, at the median (spec A6).
    assert float(found.amax(-1).median()) == pytest.approx(0.53, abs=0.04)


@pytest.mark.parametrize("how", ["gumbel_soft", "gumbel_st", "enumerate", "argmax"])
def test_p6_the_reply_teaches_recognition_unless_the_likeliest_latent_is_taken(how: str) -> None:
    model = plato(sampling=how, prior="uniform", selection_weight=0.0, bow_weight=0.0)
    lowered(model, EXCHANGES).total.backward()
    slope = model.posterior.weight.grad
    largest = 0.0 if slope is None else float(slope.abs().max())
    assert largest == 0 if how == "argmax" else largest > 1e-3


@pytest.mark.parametrize("preset", ["fixed", "release"])
def test_p7_latents_all_alike_say_the_same(preset: str) -> None:
    model = plato(preset=preset)
    with torch.no_grad():
        model.latent.copy_(model.latent[:1].expand(LATENTS, -1))
        told = model.latent_nll(model.batch(EXCHANGES))
    torch.testing.assert_close(told.nll, told.nll[:, :1].expand(-1, LATENTS), rtol=1e-10, atol=1e-10)
    for other in (told.best, told.posterior):
        torch.testing.assert_close(told.mixture, other, rtol=1e-10, atol=1e-10)
    for exchange in EXCHANGES:
        assert len({tuple(reply) for reply in candidates(model, exchange)}) == 1


def candidates(model: Plato, exchange: EncodedExchange) -> list[list[int]]:
    """Return the greedy reply of each latent, all in one batch."""
    batch = model.batch([exchange] * model.latents)
    with torch.no_grad():
        begun = model.prefill_latents(model.batch([exchange]), range(model.latents))
    return generate(model, batch, Greedy(), end=1, max_new_tokens=12, seeds=[0] * model.latents, prefilled=begun)


@pytest.mark.parametrize("preset", ["fixed", "release"])
@pytest.mark.parametrize("seed", range(3))
def test_p8_the_mixture_lies_between_the_best_latent_and_that_latents_share_of_it(preset: str, seed: int) -> None:
    model = plato(preset=preset, seed=seed, stirred=0.8)
    with torch.no_grad():
        told = model.latent_nll(model.batch(EXCHANGES))
        assert torch.equal(told.mixture, model.loss(model.batch(EXCHANGES)).nll)
    uniform = LatentNll(told.nll, torch.full_like(told.nll, -math.log(LATENTS)), told.log_posterior)
    for each in (told, uniform):
        share = each.log_prior.gather(1, each.nll.argmin(-1, keepdim=True)).squeeze(1)
        assert (each.best <= each.mixture + 1e-12).all()
        assert (each.mixture <= each.best - share + 1e-12).all()
    assert (uniform.mixture <= uniform.best + math.log(LATENTS) + 1e-12).all()
    assert (told.best <= told.posterior).all()
    assert torch.equal(uniform.log_prior, told.log_prior) == (preset == "release")
    assert (told.nll.amax(-1) - told.best).min() > 1e-3, "latents that say the same would prove nothing"


def crowd() -> list[EncodedExchange]:
    """Return 30 exchanges of 10 dialogues; every third one of a dialogue says the same as all the other third ones."""
    rows = []
    for number in range(30):
        reply = (90,) if number % 3 == 2 else (20 + number,)
        rows.append(said((9,), reply=reply, dialogue=f"d{number // 3}"))
    return rows


def test_p11_a_wrong_reply_is_of_another_dialogue_and_of_other_words_and_all_are_drawn_alike() -> None:
    rows, rng, drawn_so = crowd(), random.Random(0), Counter[int]()
    found = [Negatives().drawn(rows, rng) for _ in range(334)]  # 10,020 draws
    for wrong in found:
        for exchange, other in zip(rows, wrong, strict=True):
            assert other is not None
            assert other.dialogue_id != exchange.dialogue_id
            assert other.reply != exchange.reply
    for wrong in found:
        drawn_so[next(place for place, row in enumerate(rows) if row is wrong[0])] += 1
    assert set(drawn_so) == set(range(3, 30))
    # Over all 30 contexts each is wrong for 27 or, if it says what ten say, for 18.
    times = Counter(id(other) for wrong in found for other in wrong)
    for place, row in enumerate(rows):
        able = sum(row.dialogue_id != e.dialogue_id and row.reply != e.reply for e in rows)
        assert able == (18 if place % 3 == 2 else 27)
        assert times[id(row)] == pytest.approx(334 * sum(expected(rows, row)), rel=0.3)


def expected(rows: list[EncodedExchange], row: EncodedExchange) -> list[float]:
    """Return the chance with which a row is drawn for each of the rows, where all that will do are drawn alike."""
    chances = []
    for exchange in rows:
        able = [o for o in rows if o.dialogue_id != exchange.dialogue_id and o.reply != exchange.reply]
        chances.append(1 / len(able) if any(o is row for o in able) else 0.0)
    return chances


def test_p11_a_batch_of_one_asks_the_memory_which_is_bounded() -> None:
    rows, rng, negatives = crowd(), random.Random(0), Negatives(size=5)
    assert negatives.drawn(rows[:1], rng) == [None]
    assert negatives.drawn(rows[1:2], rng) == [None], "of the same dialogue"
    assert negatives.drawn(rows[3:4], rng)[0] in rows[:2]
    for row in rows[4:]:
        (other,) = negatives.drawn([row], rng)
        assert other is not None
        assert other.dialogue_id != row.dialogue_id
        assert other.reply != row.reply
        assert len(negatives.recent) <= 5
    assert list(negatives.recent) == rows[-5:]


def test_p11_the_public_programs_way_finds_wrong_replies_in_the_batch_and_in_the_memory() -> None:
    model = plato(preset="release")
    assert model.num_negatives == 0
    parts = [lowered(model, (exchange,)).parts["selection"] for exchange in EXCHANGES[:2]]
    first = float(torch.nn.functional.softplus(-model.reply_scores(model.batch(EXCHANGES[:1]))))
    assert float(parts[0]) == pytest.approx(first, rel=1e-12), "nothing is wrong yet"
    right, wrong = (
        model.reply_scores(model.batch([replace(EXCHANGES[1], reply=reply)]))
        for reply in (EXCHANGES[1].reply, EXCHANGES[0].reply)
    )
    second = torch.nn.functional.softplus(-right) + torch.nn.functional.softplus(wrong)
    assert float(parts[1]) == pytest.approx(float(second), rel=1e-12)


def test_p14_sums_over_sentences_are_as_many_times_the_mean_over_tokens_as_sentences_are_long() -> None:
    rows = tuple(replace(e, reply=(20, 21, 22, 1)) for e in EXCHANGES)
    free = {"selection_weight": 0.0, "prior": "uniform"}
    totals = [lowered(plato(reduction=how, **free), rows).total.detach() for how in ("sentence_sum", "token_mean")]
    assert float(totals[0] / totals[1]) == pytest.approx(4, rel=1e-12)


@pytest.mark.parametrize("reduction", ["sentence_sum", "token_mean"])
def test_p14_the_sum_is_put_together_from_its_parts(reduction: str) -> None:
    model = plato(reduction=reduction, selection_weight=0.7, bow_weight=0.3)
    loss = lowered(model, PAIRED)
    counts = loss.tokens.sum() if reduction == "token_mean" else len(PAIRED)
    bag = loss.parts["bag"] * loss.tokens.sum()
    wanted = (loss.nll.detach().sum() + 0.3 * bag) / counts + 0.7 * loss.parts["selection"] + loss.parts["prior"]
    assert float(loss.total.detach()) == pytest.approx(float(wanted), rel=1e-12)


@pytest.mark.parametrize("preset", ["fixed", "release"])
def test_p16_recognition_reads_a_pair_in_training_as_it_does_in_ranking(preset: str) -> None:
    model = plato(preset=preset, negatives="corpus")
    read: list[Tensor] = []
    handle = model.selection.register_forward_hook(lambda _module, given, _made: read.append(given[0].detach()))
    lowered(model, PAIRED)
    wrong = [replace(e, reply=e.negatives[0].reply) for e in PAIRED]
    for exchange in (*PAIRED, *wrong):
        model.reply_scores(model.batch([exchange]))
    handle.remove()
    torch.testing.assert_close(read[0], torch.cat(read[1:]), rtol=1e-10, atol=1e-10)
    assert (read[0][: len(PAIRED)] - read[0][len(PAIRED) :]).abs().amax(-1).min() > 1e-3
