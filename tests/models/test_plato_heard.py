"""What was read of a dialogue is kept when it goes on."""

from dataclasses import replace

import pytest
import torch
from made_up import SUPPORT, VARIANTS, Voice, part

from menura.batches.encode import EncodedExchange
from menura.errors import ConfigError
from menura.models.plato import Plato
from menura.models.plato_network import Heard

LONG = part("x", "what is new?", "goats", "how many goats?", "three", "and what do they eat?", "all")


def plato(**settings: object) -> Voice:
    return replace(VARIANTS["plato"], settings=settings).voice(double=True)


def after(exchange: EncodedExchange, turns: int) -> EncodedExchange:
    """Return what an exchange was when it had fewer turns."""
    said = sum(count for _, count in exchange.turns[:turns])
    return replace(exchange, context=(*exchange.context[:said], exchange.context[-1]), turns=exchange.turns[:turns])


@pytest.mark.parametrize("settings", [{"context": "block_bi"}, {"context": "block_bi", "latents": 0}])
def test_turn_by_turn_gives_what_the_whole_context_gives(settings: dict[str, object]) -> None:
    voice = plato(**settings)
    model = voice.model
    assert isinstance(model, Plato)
    exchange = replace(voice.batch((LONG,)).exchanges[-1], facts=voice.batch(SUPPORT).exchanges[0].facts)
    assert len(exchange.turns) == 5
    heard: Heard | None = None
    for turns in range(1, 6):
        before = heard
        heard = model.read_on(after(exchange, turns), before)
        if before:
            shared = zip(before.contexts.reading.shared, heard.contexts.reading.shared, strict=True)
            assert all(torch.equal(now[0][:, :, : old[0].shape[2]], old[0]) for old, now in shared)
    last = torch.tensor([exchange.context[-1]])
    whole, _ = model.advance(model.begin(model.batch([exchange])), last)
    grown, _ = model.advance(model.begin_heard(heard), last)
    assert torch.allclose(whole, grown, atol=1e-12)


def test_one_latent_begins_after_what_was_heard() -> None:
    voice = plato(context="block_bi")
    exchange = voice.batch((LONG,)).exchanges[-1]
    last = torch.tensor([exchange.context[-1]] * 2)
    heard, _ = voice.model.advance(voice.model.begin_heard(voice.model.read_on(exchange), [3, 1]), last)
    begun, _ = voice.model.advance(voice.model.begin_with(voice.model.batch([exchange]), [3, 1]), last)
    assert torch.allclose(heard, begun, atol=1e-12)


def test_another_dialogue_is_read_from_its_beginning() -> None:
    voice = plato(context="block_bi")
    exchange, other = voice.batch((LONG,)).exchanges[-1], voice.batch(SUPPORT).exchanges[0]
    heard = voice.model.read_on(exchange, voice.model.read_on(other))
    assert heard.ids == voice.model.read_on(exchange).ids


def test_a_context_that_changes_with_every_turn_is_not_kept() -> None:
    voice = plato(context="uni", latents=0)
    with pytest.raises(ConfigError, match="block_bi"):
        voice.model.read_on(voice.batch((LONG,)).exchanges[-1])
