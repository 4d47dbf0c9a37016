"""What every model of the catalogue promises, asked of each in every way it can be put together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Voice, part, stir
from torch import Tensor

from menura.adaptation.weights import adaptable
from menura.artefacts import tensors
from menura.batches.encode import EncodedExchange
from menura.decoding.choice import Choice, Greedy, Nucleus
from menura.decoding.generate import generate
from menura.models import causal_lm
from menura.models.catalogue import MODELS, voice_of
from menura.models.dialogue_model import RanksReplies, nats_of

every_model = pytest.mark.parametrize("name", VARIANTS)
every_model_over_a_network = pytest.mark.parametrize("name", [n for n, v in VARIANTS.items() if v.over_network])
NUMBERS = {torch.float64: 1e-10, torch.float32: 1e-5}  # relative to a reply's nats
in_both_precisions = pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])

DIALOGUES = (
    *SUPPORT,
    *QUERY,
    part("long", "tell me of the goat " * 6, "she is old, and she eats " * 3, "what?", "string.", facts=FACTS),
    part("short", "a", "b"),
)


def rows_of(voice: Voice) -> list[EncodedExchange]:
    """Return exchanges of very unequal length; some of one dialogue, some alone, one twice."""
    rows = [exchange for dialogue in voice.dialogues(DIALOGUES) for exchange in dialogue]
    return [*rows, rows[2]]


def nats(voice: Voice, rows: Sequence[EncodedExchange]) -> Tensor:
    """Return each row's nats as ``loss`` tells them."""
    with torch.no_grad():
        return voice.model.loss(voice.model.batch(rows)).nats


def texts(voice: Voice, rows: Sequence[EncodedExchange], choice: Choice, seeds: Sequence[int]) -> list[list[int]]:
    """Return each row's generated ids."""
    return generate(voice.model, voice.model.batch(rows), choice, end=voice.end, limit=12, seeds=seeds)


def assert_near(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype == wanted.dtype
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=NUMBERS[wanted.dtype])


def test_every_model_of_the_catalogue_is_asked() -> None:
    asked = {variant.model for variant in VARIANTS.values()}
    assert set(MODELS) == asked, "add variants of the new model to made_up"


@every_model
@in_both_precisions
def test_batch_mates_and_padding_change_no_loss(name: str, *, double: bool) -> None:
    voice = VARIANTS[name].voice(double=double)
    rows = rows_of(voice)
    alone = torch.cat([nats(voice, [row]) for row in rows])
    assert_near(nats(voice, rows), alone)
    assert float(alone.min()) > 0


@every_model
@in_both_precisions
def test_row_order_changes_no_loss(name: str, *, double: bool) -> None:
    voice = VARIANTS[name].voice(double=double)
    rows = rows_of(voice)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))
    assert_near(nats(voice, [rows[i] for i in order.tolist()]), nats(voice, rows)[order])


@every_model_over_a_network
@in_both_precisions
@pytest.mark.parametrize("room", [1, 200])
def test_how_many_rows_fit_one_pass_changes_no_loss(
    name: str, room: int, monkeypatch: pytest.MonkeyPatch, *, double: bool
) -> None:
    voice = VARIANTS[name].voice(double=double)
    rows = rows_of(voice)
    wanted = nats(voice, rows)
    monkeypatch.setattr(causal_lm, "PASS_TOKENS", room)
    assert_near(nats(voice, rows), wanted)


@every_model
@pytest.mark.parametrize("choice", [Greedy(), Nucleus(0.95), Nucleus(1.0, temperature=1.5)], ids=lambda c: c.signature)
def test_batch_mates_padding_and_row_order_change_no_generated_text(name: str, choice: Choice) -> None:
    voice = VARIANTS[name].voice(double=True)
    rows = rows_of(voice)
    seeds = list(range(len(rows)))
    alone = [texts(voice, [row], choice, [seed])[0] for row, seed in zip(rows, seeds, strict=True)]
    assert texts(voice, rows, choice, seeds) == alone
    assert texts(voice, rows[::-1], choice, seeds[::-1]) == alone[::-1]
    assert any(alone), "a test of empty replies would be none"


@every_model
def test_begin_ignores_the_reply(name: str) -> None:
    voice = VARIANTS[name].voice()
    rows = rows_of(voice)
    others = [replace(row, reply=(65, 66, 67)) for row in rows]
    assert texts(voice, rows, Greedy(), range(len(rows))) == texts(voice, others, Greedy(), range(len(rows)))
    first = [first_step(voice, given) for given in (rows, others, [replace(row, reply=()) for row in rows])]
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], first[2])


def first_step(voice: Voice, rows: Sequence[EncodedExchange]) -> Tensor:
    """Return log-probabilities (B, V) of the first reply token."""
    batch = voice.model.batch(rows)
    with torch.no_grad():
        return voice.model.advance(voice.model.begin(batch), batch.prefix.ids[:, -1])[0]


def stepwise(voice: Voice, rows: Sequence[EncodedExchange]) -> Tensor:
    """Return each row's nats, read token by token."""
    batch = voice.model.batch(rows)
    ids, mask = batch.reply.ids, batch.reply.mask
    found = torch.zeros(len(rows), dtype=voice.model.dtype)
    with torch.no_grad():
        state, last = voice.model.begin(batch), batch.prefix.ids[:, -1]
        for step in range(ids.shape[1]):
            log_probs, state = voice.model.advance(state, last)
            assert log_probs.exp().sum(-1).tolist() == pytest.approx([1.0] * len(rows), abs=1e-5)
            last = ids[:, step]
            found -= log_probs.gather(1, last[:, None])[:, 0] * mask[:, step]
    return found


@every_model
@in_both_precisions
def test_stepwise_decoding_is_teacher_forcing(name: str, *, double: bool) -> None:
    voice = VARIANTS[name].voice(double=double)
    rows = rows_of(voice)
    assert_near(stepwise(voice, rows), nats(voice, rows))
    assert_near(torch.cat([stepwise(voice, [row]) for row in rows[:3]]), nats(voice, rows[:3]))


@every_model
@in_both_precisions
def test_ranking_candidates_scores_them_as_loss_does(name: str, *, double: bool) -> None:
    voice = VARIANTS[name].voice(double=double)
    rows = rows_of(voice)
    candidates = [replace(row, reply=(*voice.encoder.tokens.encode(text), voice.end)) for row in rows for text in LINES]
    with torch.no_grad():
        assert_near(nats_of(voice.model, voice.model.batch(candidates)), nats(voice, candidates))
    if isinstance(voice.model, RanksReplies):
        assert not voice.model.reply_nats(voice.model.batch(rows)).requires_grad


LINES = ("yes", "no, the clock has stopped for good", "", "yes")


@every_model
@in_both_precisions
def test_selected_rows_go_on_as_if_they_had_always_been_there(name: str, *, double: bool) -> None:
    voice = VARIANTS[name].voice(double=double)
    rows = rows_of(voice)
    chosen = torch.tensor([4, 0, 0, 2])
    reply = torch.tensor([70, 71, 72, 73])
    with torch.no_grad():
        batch = voice.model.batch(rows)
        state = voice.model.advance(voice.model.begin(batch), batch.prefix.ids[:, -1])[1]
        kept = voice.model.select_rows(state, chosen)
        _, kept = voice.model.advance(kept, reply)
        ours = voice.model.advance(kept, reply)[0]
        # The state they came from is not disturbed by what its copy went on to read.
        theirs, state = voice.model.advance(state, torch.arange(len(rows)) + 70)
    for place, (row, token) in enumerate(zip(chosen.tolist(), reply.tolist(), strict=True)):
        assert_near(ours[place], after(voice, rows[row], (token, token)))
    assert_near(theirs[1], after(voice, rows[1], (71,)))


def after(voice: Voice, row: EncodedExchange, said: tuple[int, ...]) -> Tensor:
    """Return log-probabilities (V,) after a row's prefix and reply tokens, read at one go where that is the same."""
    if voice.encoder.layout.bare or voice.encoder.layout.alike:
        batch = voice.model.batch([row])
        with torch.no_grad():
            log_probs, state = voice.model.advance(voice.model.begin(batch), batch.prefix.ids[:, -1])
            for token in said:
                log_probs, state = voice.model.advance(state, torch.tensor([token]))
        return log_probs[0]
    return first_step(voice, [replace(row, context=row.context + said)])[0]


@every_model_over_a_network
@in_both_precisions
def test_what_is_kept_of_the_frozen_layers_changes_no_loss_and_no_gradient(name: str, *, double: bool) -> None:
    voice = VARIANTS[name].voice(double=double)
    model, batch = voice.model, voice.model.batch(rows_of(voice))
    expected = VARIANTS[name].layers == "upper" and VARIANTS[name].layout != "special"
    assert voice_of(model).lower_is_frozen == expected
    found = []
    for frozen in (expected, expected, False):  # filling what is kept, reading it, and without it
        voice_of(model).lower_is_frozen = frozen
        loss = model.loss(batch)
        gradients = torch.autograd.grad(loss.total, list(adaptable(model).values()))
        found.append((loss.nats.detach(), torch.cat([g.reshape(-1) for g in gradients])))
    for kept_nats, kept_gradients in found[:2]:
        assert_near(kept_nats, found[2][0])
        scale = float(found[2][1].abs().max())
        assert float((kept_gradients - found[2][1]).abs().max()) < NUMBERS[kept_nats.dtype] * scale


@every_model
def test_a_saved_and_loaded_model_has_the_same_loss(name: str, tmp_path: Path) -> None:
    voice = VARIANTS[name].voice()
    rows = rows_of(voice)
    wanted = nats(voice, rows)
    tensors.save(tmp_path / "weights.safetensors", adaptable(voice.model))
    fresh = VARIANTS[name].voice(stirred=False)
    stir(fresh.model, seed=99)
    assert not torch.equal(nats(fresh, rows), wanted)
    loaded = tensors.load(tmp_path / "weights.safetensors")
    tensors.check_same_shape(loaded, adaptable(fresh.model), "these")
    assert not fresh.model.load_state_dict(loaded, strict=False).unexpected_keys
    assert torch.equal(nats(fresh, rows), wanted)


@every_model
def test_the_loss_is_the_mean_over_reply_tokens(name: str) -> None:
    voice = VARIANTS[name].voice(double=True)
    loss = voice.model.loss(voice.model.batch(rows_of(voice)))
    assert loss.total.item() == pytest.approx(loss.nats.sum().item() / loss.tokens.sum().item(), rel=1e-12)
    assert loss.tokens.tolist() == [len(row.reply) for row in rows_of(voice)]
