"""Acceptance checks P1 to P3 of PLATO: who sees whom."""

from dataclasses import replace

import pytest
import torch
from small_plato import EXCHANGES, WAYS, log_probs, nll, plato, said, slots, whole
from torch import Tensor

from menura.batches.batch import Batch
from menura.models.layers.attention_mask import AttentionMask, SegmentIds

RECOGNITION = AttentionMask(recognition=True)
DRAWN = {  # of a head slot, three context tokens, three reply tokens: rows see columns
    "recognition": (RECOGNITION, True, ["1111111"] * 7),
    "generation": (
        AttentionMask(),
        True,
        ["1111000", "1111000", "1111000", "1111000", "1111100", "1111110", "1111111"],
    ),
    "response_only": (
        AttentionMask(latent="response_only"),
        True,
        ["1111000", "0111000", "0111000", "0111000", "1111100", "1111110", "1111111"],
    ),
    "without latent": (AttentionMask(), False, ["111000", "111000", "111000", "111100", "111110", "111111"]),
    "uni without latent": (
        AttentionMask(context="uni"),
        False,
        ["100000", "110000", "111000", "111100", "111110", "111111"],
    ),
}


def seen(sight: AttentionMask, context: int, reply: int, *, head: bool) -> Tensor:
    """Return (N, N) of a row with nothing filled up."""
    masks = torch.ones(1, context, dtype=torch.bool), torch.ones(1, reply, dtype=torch.bool)
    return sight.dense(SegmentIds.of(masks[0], torch.zeros(1, context, dtype=torch.long), masks[1], head=head))[0]


@pytest.mark.parametrize("name", DRAWN)
def test_p1_who_sees_whom_is_as_drawn(name: str) -> None:
    sight, head, rows = DRAWN[name]
    drawn = [[mark == "1" for mark in row] for row in rows]
    assert seen(sight, 3, 3, head=head).tolist() == drawn


def test_p1_as_many_places_are_seen_as_the_formulas_say() -> None:
    sights = (
        (RECOGNITION, True),
        (AttentionMask(), True),
        (AttentionMask(), False),
        (AttentionMask(latent="response_only"), True),
    )
    assert [int(seen(sight, 4, 3, head=head).sum()) for sight, head in sights] == [64, 46, 34, 42]


def test_p1_an_utterance_of_a_block_sees_itself_and_earlier_ones() -> None:
    masks = torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)
    places = SegmentIds.of(masks[0], torch.tensor([[0, 0, 1, 1]]), masks[1], head=True)
    found = AttentionMask(context="block_bi", latent="response_only").dense(places)[0]
    rows = ["111110", "011000", "011000", "011110", "011110", "111111"]
    assert found.tolist() == [[mark == "1" for mark in row] for row in rows]


def test_p1_nothing_sees_filling_and_filling_sees_itself_alone() -> None:
    context, reply = torch.tensor([[True, False]]), torch.tensor([[True, False]])
    for sight in (
        RECOGNITION,
        AttentionMask(),
        AttentionMask(latent="response_only"),
        AttentionMask(context="block_bi"),
        AttentionMask(context="uni"),
    ):
        places = SegmentIds.of(context, torch.zeros(1, 2, dtype=torch.long), reply, head=True)
        dense, fused = sight.dense(places)[0], sight.fused(places)[0, 0]
        for filling in (2, 4):
            assert not dense[:, filling].any()
            assert not dense[filling].any()
            assert fused[filling].nonzero().flatten().tolist() == [filling]
        assert torch.equal(fused & ~torch.eye(5, dtype=torch.bool), dense & ~torch.eye(5, dtype=torch.bool))


@pytest.mark.parametrize("way", WAYS)
def test_p2_a_word_of_the_reply_changes_what_follows_it_and_nothing_before(way: str) -> None:
    model = plato(**WAYS[way])
    exchange = said((9, 10, 11), (12,), (13, 14), reply=(20, 21, 22, 23), facts=((40, 41),))
    for slot in slots(model):
        before = whole(model, exchange, slot)
        for place in range(len(exchange.reply) - 1):
            reply = tuple(word + 30 * (number == place) for number, word in enumerate(exchange.reply))
            after = whole(model, replace(exchange, reply=reply), slot)
            read = place + 1  # what opens the reply is read before its first word
            told = [log_probs(model, states) for states in (before.reply, after.reply)]
            assert torch.equal(told[0][:read], told[1][:read])
            assert (told[0][read:] - told[1][read:]).abs().amax(-1).min() > 1e-3
            assert torch.equal(before.context, after.context)
            if slot is not None:
                assert before.head is not None
                assert after.head is not None
                table = model.embeddings.token.weight
                assert torch.equal(model.bag(before.head, table), model.bag(after.head, table))


@pytest.mark.parametrize("way", WAYS)
def test_p2_a_reply_costs_what_one_pass_over_all_says(way: str) -> None:
    model = plato(**WAYS[way])
    wanted = torch.stack([torch.stack([nll(model, e, slot) for slot in slots(model)]) for e in EXCHANGES])
    batch = model.batch(EXCHANGES)
    found = model.latent_nll(batch).nll if model.latents else model.loss(batch).nll[:, None]
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("way", ["prefix", "response_only", "block_bi"])
def test_p2_recognition_reads_the_reply(way: str) -> None:
    model = plato(**WAYS[way])
    exchange = EXCHANGES[0]
    pairs = [
        exchange.reply,
        *(tuple(w + 30 * (n == place) for n, w in enumerate(exchange.reply)) for place in range(3)),
    ]
    found = model.recognised([(exchange, reply) for reply in pairs])
    assert (found[1:] - found[0]).abs().amax(-1).min() > 1e-3
    (slot,) = model.mask_slot
    wanted = whole(model, exchange, slot, replace(RECOGNITION, context=model.config.context)).head
    torch.testing.assert_close(found[0], wanted, rtol=1e-10, atol=1e-10)


LONG = said(range(3, 23), range(30, 45), range(50, 60), reply=range(60, 80), facts=(range(80, 90),), dialogue="long")


def all_of(model: object, batch: Batch) -> list[Tensor]:
    """Return what a row of its own has in all that a model says of a batch."""
    assert hasattr(model, "loss")
    with model.dropout(3, 0.5):
        trained = model.loss(batch).nll
    found = [model.loss(batch).nll, trained]
    if model.latents:
        pairs = [(exchange, exchange.reply) for exchange in batch.exchanges]
        told = model.latent_nll(batch)
        found += [told.nll, told.log_prior, told.log_posterior, model.recognised(pairs), model.reply_scores(batch)]
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sampling", ["gumbel_soft", "gumbel_st", "argmax", "sample", "enumerate"])
def test_p3_filling_up_and_batch_mates_change_nothing(way: str, sampling: str) -> None:
    model = plato(sampling=sampling, **WAYS[way])
    rows = (*EXCHANGES, LONG)
    with torch.no_grad():
        together = all_of(model, model.batch(rows))
        order = [3, 0, 4, 2, 1]
        turned = all_of(model, model.batch([rows[place] for place in order]))
        alone = [all_of(model, model.batch([row])) for row in rows]
    for number, found in enumerate(together):
        torch.testing.assert_close(turned[number], found[order], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(torch.cat([one[number] for one in alone]), found, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("preset", ["fixed", "release", "paper"])
def test_p3_batch_mates_change_neither_bag_nor_selection(preset: str) -> None:
    model = plato(preset=preset, negatives="corpus", bow_head="separate")
    rows = [replace(e, negatives=(EXCHANGES[place - 1],)) for place, e in enumerate(EXCHANGES)]

    def parts(exchanges: list) -> dict[str, float]:
        with torch.no_grad(), model.dropout(3, 0.5):
            loss = model.loss(model.batch(exchanges))
        return {"bag": float(loss.parts["bag"] * loss.tokens.sum()), "selection": float(loss.parts["selection"])}

    together, alone = parts(rows), [parts([row]) for row in rows]
    assert together["bag"] == pytest.approx(sum(one["bag"] for one in alone), rel=1e-10)
    assert together["selection"] == pytest.approx(sum(one["selection"] for one in alone) / len(rows), rel=1e-10)
