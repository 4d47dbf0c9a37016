"""Acceptance checks P9 and P10 of PLATO: what was kept, shared or put side by side changes no reply."""

from dataclasses import replace

import pytest
import torch
from small_plato import END, EXCHANGES, LATENTS, WAYS, log_probs, nll, plato, said, slots, whole
from torch import Tensor

from menura.batches.encode import EncodedExchange
from menura.decoding.beam import Beam, beam_search
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError
from menura.models.plato.model import Plato
from menura.models.plato.network import PlatoState

PROMPT = said((9, 10, 11), (12,), (13, 14), reply=(20, 21, 22, 23), facts=((40, 41),))
WITH_LATENT = [way for way in WAYS if "without" not in way]
with_latent = pytest.mark.parametrize("way", WITH_LATENT)


def forced(model: Plato, begun: PlatoState, exchange: EncodedExchange, rows: int) -> Tensor:
    """Return (rows, T, V) log-probabilities, the reply read token by token."""
    state, told = begun, []
    for token in (exchange.prefix[-1], *exchange.reply[:-1]):
        found, state = model.step(state, torch.full((rows,), token))
        told.append(found)
    return torch.stack(told, 1)


@torch.no_grad()
def in_one_pass(model: Plato, exchange: EncodedExchange) -> Tensor:
    """Return (K, T, V) log-probabilities under each latent, from one pass over all."""
    return torch.stack([log_probs(model, whole(model, exchange, slot).reply) for slot in slots(model)])


@torch.no_grad()
@with_latent
@pytest.mark.parametrize("shared", [None, False])
def test_p9_replies_read_word_by_word_are_those_of_one_pass(way: str, *, shared: bool | None) -> None:
    model = plato(**WAYS[way])
    for exchange in (PROMPT, *EXCHANGES):
        begun = model.prefill_latents(model.batch([exchange]), range(LATENTS), shared=shared)
        found = forced(model, begun, exchange, LATENTS)
        torch.testing.assert_close(found, in_one_pass(model, exchange), rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_p9_what_is_predicted_is_the_mixture_of_one_pass_a_latent(way: str) -> None:
    model = plato(**WAYS[way])
    batch = model.batch([PROMPT])
    found = forced(model, model.prefill(batch), PROMPT, 1)[0]
    each = in_one_pass(model, PROMPT)
    # What was said so far speaks for the latents that would have said it.
    log_prior = model.latent_nll(batch).log_prior[0] if model.latents else torch.zeros(1, dtype=torch.float64)
    said_so_far = each.gather(2, torch.tensor(PROMPT.reply)[None, :, None].expand(len(each), -1, 1)).squeeze(2)
    before = log_prior[:, None] + torch.cat([torch.zeros(len(each), 1), said_so_far.cumsum(1)[:, :-1]], 1)
    wanted = (before.log_softmax(0)[:, :, None] + each).logsumexp(0)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("way", ["response_only", "block_bi"])
def test_p9_contexts_that_do_not_see_the_latent_are_shared(way: str) -> None:
    model = plato(**WAYS[way])
    contexts = [whole(model, PROMPT, slot).context for slot in slots(model)]
    assert all(torch.equal(context, contexts[0]) for context in contexts)
    batch = model.batch(EXCHANGES)
    rows = len(EXCHANGES) * LATENTS
    shared, repeated = (model.prefill_latents(batch, range(LATENTS), shared=shared) for shared in (True, False))
    assert len(shared.reading.shared[0][0]) == len(EXCHANGES), "each context is held once"
    assert len(repeated.reading.shared[0][0]) == rows
    for token in (2, 20, 21):
        (one, shared), (other, repeated) = (model.step(s, torch.full((rows,), token)) for s in (shared, repeated))
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_p9_contexts_that_see_the_latent_differ_with_it_and_cannot_be_shared() -> None:
    model = plato(visibility="prefix")
    assert not model.shares_context
    contexts = [whole(model, PROMPT, slot).context for slot in slots(model)]
    assert min(float((context - contexts[0]).abs().max()) for context in contexts[1:]) > 1e-3
    with pytest.raises(ConfigError, match="depends on the latent"):
        model.prefill_latents(model.batch([PROMPT]), range(LATENTS), shared=True)


@torch.no_grad()
def test_p9_a_dialogue_read_by_blocks_keeps_what_was_read_when_it_goes_on() -> None:
    model = plato(context="block_bi")
    (slot,) = model.latent[:1]
    first = said((9, 10, 11), (12,), reply=(20,), facts=((40, 41),))
    # The same speakers: what was said by the partner remains the partner's.
    on = said((9, 10, 11), (12,), (13, 14), (15,), reply=(21,), facts=((40, 41),))
    before, after = (whole(model, exchange, slot).context for exchange in (first, on))
    torch.testing.assert_close(after[: len(before)], before, rtol=1e-10, atol=1e-10)
    both_ways = plato()
    before, after = (whole(both_ways, exchange, both_ways.latent[0]).context for exchange in (first, on))
    assert (after[: len(before)] - before).abs().max() > 1e-3


def greedy(model: Plato, exchanges: list[EncodedExchange], latents: list[int], limit: int = 12) -> list[list[int]]:
    """Return the greedy reply of each exchange and latent, those of an exchange side by side."""
    repeated = [exchange for exchange in exchanges for _ in latents]
    with torch.no_grad():
        begun = model.prefill_latents(model.batch(exchanges), latents)
    batch = model.batch(repeated)
    return generate(model, batch, Greedy(), end=END, max_new_tokens=limit, seeds=[0] * len(batch), prefilled=begun)


@with_latent
def test_p10_all_latents_in_one_batch_say_what_each_says_alone(way: str) -> None:
    model = plato(**WAYS[way])
    together = greedy(model, list(EXCHANGES), list(range(LATENTS)))
    alone = [greedy(model, [exchange], [z])[0] for exchange in EXCHANGES for z in range(LATENTS)]
    assert together == alone
    assert len({tuple(reply) for reply in together}) > LATENTS, "latents that all say the same would prove nothing"
    chosen = greedy(model, list(EXCHANGES), [3, 1])
    assert chosen == [together[LATENTS * e + z] for e in range(len(EXCHANGES)) for z in (3, 1)]


@with_latent
def test_p10_candidates_ranked_in_one_batch_score_as_each_alone(way: str) -> None:
    model = plato(**WAYS[way])
    replies = greedy(model, [PROMPT], list(range(LATENTS)))
    candidates = [replace(PROMPT, reply=(*reply, END)) for reply in replies]
    together = model.reply_scores(model.batch(candidates))
    alone = torch.cat([model.reply_scores(model.batch([candidate])) for candidate in candidates])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)
    assert len(set(together.tolist())) > 1
    assert not together.requires_grad


@with_latent
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_p10_a_beam_of_one_is_greedy_and_scores_are_those_of_one_pass(way: str, penalty: float) -> None:
    model = plato(**WAYS[way])
    latents = list(range(LATENTS))
    batch = model.batch([PROMPT] * LATENTS)

    def searched(width: int) -> list:
        begun = model.prefill_latents(model.batch([PROMPT]), latents)
        return beam_search(model, batch, Beam(width, penalty), end=END, max_new_tokens=12, prefilled=begun)

    with torch.no_grad():
        assert [list(best.ids) for (best,) in searched(1)] == greedy(model, [PROMPT], latents)
        for z, found in enumerate(searched(3)):
            assert len(found) == 3
            for one in found:
                reply = (*one.ids, END) if one.ended else one.ids
                total = -nll(model, replace(PROMPT, reply=reply), model.latent[z])
                assert one.score == pytest.approx(float(total) / (len(one.ids) + one.ended) ** penalty, rel=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_p10_a_beam_through_the_mixture_scores_replies_as_the_mixture_does(way: str) -> None:
    model = plato(**WAYS[way])
    found = beam_search(model, model.batch(EXCHANGES), Beam(3), end=END, max_new_tokens=6)
    for exchange, best in zip(EXCHANGES, found, strict=True):
        for one in best:
            reply = (*one.ids, END) if one.ended else one.ids
            total = -model.loss(model.batch([replace(exchange, reply=reply)])).nll
            assert one.score == pytest.approx(float(total), rel=1e-10)
