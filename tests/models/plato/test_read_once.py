from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from small_plato import EXCHANGES, LATENTS, nll, plato, said, whole
from torch import Tensor

from menura.errors import ConfigError
from menura.models.layers.attention_mask import CONTEXT, AttentionMask, SegmentIds
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato
from menura.models.plato.recognition import ReadsContextsOnce

RIVALLED = tuple(replace(e, negatives=(EXCHANGES[place - 1],)) for place, e in enumerate(EXCHANGES))
ONCE: dict[str, Any] = {"recognition": "after_context", "visibility": "response_only"}


@dataclass(frozen=True)
class AfterContext(AttentionMask):
    """Recognition in which the context sees neither [M] nor the reply, written out."""

    def dense(self, places: SegmentIds) -> Tensor:
        both_ways = super().dense(places)
        context = AttentionMask(context=self.context, latent="response_only").dense(places)
        reads = (places.segment == CONTEXT)[:, :, None]
        return torch.where(reads, context, both_ways)


@pytest.mark.parametrize("context", ["bi", "block_bi"])
def test_a_pair_is_recognised_as_one_pass_with_a_context_that_sees_no_reply_does(context: str) -> None:
    model = plato(**ONCE, context=context)
    sight = AfterContext(recognition=True, context=context)
    found = model.recognised([(e, e.reply) for e in EXCHANGES])
    slot = model.mask_slot[0]
    for row, exchange in zip(found, EXCHANGES, strict=True):
        torch.testing.assert_close(row, whole(model, exchange, slot, sight).head)


def test_bidirectional_recognition_is_another_function_and_the_default() -> None:
    once, usual = plato(**ONCE), plato(visibility="response_only")
    pairs = [(e, e.reply) for e in EXCHANGES]
    assert PlatoConfig().recognition == "bidirectional"
    assert not torch.allclose(once.recognised(pairs), usual.recognised(pairs))


def test_padding_of_other_replies_changes_no_recognition() -> None:
    model = plato(**ONCE)
    alone = torch.cat([model.recognised([(e, e.reply)]) for e in EXCHANGES])
    torch.testing.assert_close(model.recognised([(e, e.reply) for e in EXCHANGES]), alone)


@pytest.mark.parametrize("selection", ["mask", "match"])
@pytest.mark.parametrize("bow", ["drawn", "exact"])
@pytest.mark.parametrize("sampling", ["gumbel_st", "enumerate", "hard_em"])
def test_contexts_that_are_read_once_give_the_loss_and_the_gradient_of_contexts_read_again(
    bow: str, sampling: str, selection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, gradients = [], []
    for reads_once in (True, False):
        model = plato(**ONCE, bow=bow, sampling=sampling, selection=selection)
        if not reads_once:  # each pass reads its contexts itself, as with bidirectional recognition
            monkeypatch.setattr(Plato, "features", read_again)
            monkeypatch.setattr(Plato, "reads_once", False)
        with model.dropout(3, 0.7):
            loss = model.loss(model.batch(RIVALLED))
        loss.total.backward()
        losses.append(loss)
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    torch.testing.assert_close(losses[0].total, losses[1].total)
    torch.testing.assert_close(losses[0].nll, losses[1].nll)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def read_again(model: Plato, pairs: Any) -> Tensor:
    """Recognise after contexts, each read for itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plato, "reads_once", True)
        return ReadsContextsOnce.features(model, pairs)


def test_a_matching_selection_reads_the_products_of_two_means_written_out() -> None:
    model = plato(**ONCE, selection="match")
    sight = AfterContext(recognition=True)
    scores = model.reply_scores(model.batch(EXCHANGES))
    for found, exchange in zip(scores, EXCHANGES, strict=True):
        states = whole(model, exchange, model.mask_slot[0], sight)
        own, reply = states.context.mean(0), states.reply.mean(0)
        assert states.head is not None
        products = own * reply / own.norm() / reply.norm() * len(own)
        wanted = model.selection(torch.cat([states.head, products]))
        torch.testing.assert_close(found, wanted.squeeze())
    pairs = [(e, e.reply) for e in EXCHANGES]
    torch.testing.assert_close(model.recognised(pairs), plato_of(model).recognised(pairs))


def plato_of(model: Plato) -> Plato:
    """Return the same network with a selection that reads [M] alone."""
    other = plato(**ONCE)
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("selection")}
    other.load_state_dict(weights, strict=False)
    return other


def test_a_selection_that_matches_needs_a_context_that_was_read_without_the_reply() -> None:
    with pytest.raises(ConfigError, match=r"match compares the reply.*recognition=after_context"):
        PlatoConfig(selection="match")


def test_every_latents_nll_is_that_of_one_pass() -> None:
    model = plato(**ONCE)
    found = model.latent_nll(model.batch(EXCHANGES))
    for row, exchange in zip(found.nll, EXCHANGES, strict=True):
        torch.testing.assert_close(row, torch.stack([nll(model, exchange, slot) for slot in model.latent]))
    assert found.log_posterior.shape == (len(EXCHANGES), LATENTS)


def test_many_replies_of_any_length_are_each_scored_in_their_place() -> None:
    model = plato(**ONCE)
    many = tuple(said((9, 10), reply=(11,) * (1 + 7 * place % 40), dialogue=f"d{place}") for place in range(60))
    found = model.latent_nll(model.batch(many))
    for place in (0, 17, 59):
        alone = model.latent_nll(model.batch([many[place]]))
        torch.testing.assert_close(found.nll[place], alone.nll[0])
        torch.testing.assert_close(found.log_posterior[place], alone.log_posterior[0])


def test_a_context_that_depends_on_the_latent_cannot_be_read_once() -> None:
    with pytest.raises(ConfigError, match=r"after_context reads a context once.*visibility=response_only"):
        PlatoConfig(recognition="after_context", visibility="prefix")
    with pytest.raises(ConfigError, match="after_context"):
        PlatoConfig(recognition="after_context", preset="paper")
