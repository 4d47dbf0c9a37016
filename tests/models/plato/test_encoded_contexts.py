"""What was read of a dialogue is kept when it goes on."""

from dataclasses import replace

import pytest
import torch
from made_up import SUPPORT, VARIANTS, Toy, part

from menura.batches.encode import EncodedExchange
from menura.errors import ConfigError
from menura.models.plato.model import Plato
from menura.models.plato.network import EncodedContexts

LONG = part("x", "what is new?", "goats", "how many goats?", "three", "and what do they eat?", "all")


def plato(**settings: object) -> Toy:
    return replace(VARIANTS["plato"], settings=settings).toy(double=True)


def after(exchange: EncodedExchange, turns: int) -> EncodedExchange:
    """Return what an exchange was when it had fewer turns."""
    said = sum(count for _, count in exchange.turns[:turns])
    return replace(exchange, context=(*exchange.context[:said], exchange.context[-1]), turns=exchange.turns[:turns])


@pytest.mark.parametrize("settings", [{"context": "block_bi"}, {"context": "block_bi", "num_latents": 0}])
def test_turn_by_turn_gives_what_the_whole_context_gives(settings: dict[str, object]) -> None:
    toy = plato(**settings)
    model = toy.model
    assert isinstance(model, Plato)
    exchange = replace(toy.batch((LONG,)).exchanges[-1], facts=toy.batch(SUPPORT).exchanges[0].facts)
    assert len(exchange.turns) == 5
    heard: EncodedContexts | None = None
    for turns in range(1, 6):
        before = heard
        heard = model.read_on(after(exchange, turns), before)
        if before:
            shared = zip(before.contexts.reading.shared, heard.contexts.reading.shared, strict=True)
            assert all(torch.equal(now[0][:, :, : old[0].shape[2]], old[0]) for old, now in shared)
    last = torch.tensor([exchange.context[-1]])
    whole, _ = model.step(model.prefill(model.batch([exchange])), last)
    grown, _ = model.step(model.prefill_encoded(heard), last)
    assert torch.allclose(whole, grown, atol=1e-12)


def test_one_latent_begins_after_what_was_heard() -> None:
    toy = plato(context="block_bi")
    exchange = toy.batch((LONG,)).exchanges[-1]
    last = torch.tensor([exchange.context[-1]] * 2)
    heard, _ = toy.model.step(toy.model.prefill_encoded(toy.model.read_on(exchange), [3, 1]), last)
    begun, _ = toy.model.step(toy.model.prefill_latents(toy.model.batch([exchange]), [3, 1]), last)
    assert torch.allclose(heard, begun, atol=1e-12)


def test_another_dialogue_is_read_from_its_beginning() -> None:
    toy = plato(context="block_bi")
    exchange, other = toy.batch((LONG,)).exchanges[-1], toy.batch(SUPPORT).exchanges[0]
    heard = toy.model.read_on(exchange, toy.model.read_on(other))
    assert heard.ids == toy.model.read_on(exchange).ids


def test_a_context_that_changes_with_every_turn_is_not_kept() -> None:
    toy = plato(context="uni", num_latents=0)
    with pytest.raises(ConfigError, match="block_bi"):
        toy.model.read_on(toy.batch((LONG,)).exchanges[-1])
