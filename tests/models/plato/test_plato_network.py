import warnings
from typing import Any

import pytest
import torch
from small_plato import END, EXCHANGES, WAYS, plato
from torch import Tensor

from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy, Nucleus
from menura.models.layers import argmax as likeliest
from menura.models.layers import packed_linear as packed
from menura.models.layers.argmax import ScreenedArgmax


def test_what_is_never_to_be_said_is_never_said() -> None:
    model = plato(stirred=0.05)
    model.suppress_ids = tuple(word for word in range(97) if word % 7)
    for choice in (Greedy(), Nucleus(1.0, temperature=3.0)):
        replies = generate(
            model, model.batch(EXCHANGES), choice, end=END, max_new_tokens=9, seeds=range(len(EXCHANGES))
        )
        assert {word % 7 for reply in replies for word in reply} <= {0}
        assert any(replies)


def test_fresh_adapters_change_nothing() -> None:
    without, with_them = plato(stirred=0), plato(stirred=0, adapter_bottleneck=4)
    fresh = {name for name, _ in with_them.named_parameters() if "adapters" in name}
    assert fresh
    missing = with_them.load_state_dict(without.state_dict(), strict=False).missing_keys
    assert set(missing) == fresh
    batch = without.batch(EXCHANGES)
    torch.testing.assert_close(with_them.loss(batch).nll, without.loss(batch).nll, rtol=1e-12, atol=1e-12)


# Attention


@pytest.mark.parametrize("way", WAYS)
def test_attention_in_the_open_is_the_fused_one_and_so_is_its_gradient(way: str) -> None:
    found = []
    for attention in ("plain", "fused"):
        model = plato(attention=attention, **WAYS[way])
        loss = model.loss(model.batch(EXCHANGES))
        found.append((loss.nll.detach(), torch.autograd.grad(loss.total, list(model.body.parameters()))))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-10, atol=1e-10)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["prefix", "block_bi"])
def test_flexible_attention_is_the_fused_one_and_gives_way_where_it_cannot_learn(way: str) -> None:
    flex, fused = (plato(attention=attention, **WAYS[way]) for attention in ("flex", "fused"))
    batch = flex.batch(EXCHANGES)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile", UserWarning)
        torch.testing.assert_close(flex.loss(batch).nll, fused.loss(batch).nll, rtol=1e-10, atol=1e-10)
        if flex.latents:
            torch.testing.assert_close(flex.reply_scores(batch), fused.reply_scores(batch), rtol=1e-10, atol=1e-10)
    slopes = [
        torch.autograd.grad(model.loss(batch).total, model.body.blocks[0].qkv.weight)[0]  # type: ignore[union-attr]
        for model in (flex, fused)
    ]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_half_precision_is_near(way: str) -> None:
    model = plato(double=False, stirred=0.1, **WAYS[way])
    batch = model.batch(EXCHANGES)
    with torch.no_grad():
        wanted = model.loss(batch).nll
        with torch.autocast("cpu", torch.bfloat16):
            found = model.loss(batch).nll
    assert found.dtype == torch.float32
    # A reply's nats: the gate of spec H6 for sums over a few tokens.
    assert ((found - wanted) / wanted).abs().max() < 2e-3


# The likeliest word


@pytest.mark.skipif(not likeliest.QUICK, reason="this processor does not multiply in bfloat16")
@pytest.mark.parametrize("head", ["tied", "bert_mlm"])
@pytest.mark.parametrize("least", [0, 4])
def test_greedy_replies_are_alike_whether_all_words_are_scored_or_not(
    head: str, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "LEAST", 0)
    model = plato(double=False, lm_head=head, stirred=1.0)
    model.suppress_ids = (3, 96)
    found: list[Tensor | None] = []
    known = ScreenedArgmax.of

    def of(*given: Any) -> Tensor | None:
        found.append(known(*given))
        return found[-1]

    monkeypatch.setattr(ScreenedArgmax, "of", of)

    def replies(end: int) -> list[list[int]]:
        latents = range(model.latents)
        with torch.no_grad():
            begun = model.prefill_latents(model.batch(EXCHANGES[:1]), latents)
        batch = model.batch(EXCHANGES[:1] * len(latents))
        return generate(
            model, batch, Greedy(), end=end, max_new_tokens=12, seeds=latents, prefilled=begun, min_new_tokens=least
        )

    never = replies(-1)
    assert len({tuple(reply) for reply in never}) > 1
    end = next(word for row in never for word in row if len({(*each, word).index(word) for each in never}) > 1)
    quick = [never, replies(end)]
    assert sum(word is not None for word in found) > 5
    monkeypatch.setattr(likeliest, "QUICK", False)
    assert quick == [replies(-1), replies(end)]
    assert least or len({len(reply) for reply in quick[1]}) > 1
    assert all(len(reply) >= least for reply in quick[1])
