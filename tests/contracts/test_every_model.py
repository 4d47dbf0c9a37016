"""What every model of the catalogue promises, asked of each in every way it can be put together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from counts import count, full
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Toy, part, stir
from torch import Tensor

from menura.adaptation.weights import adaptable_parameters
from menura.artefacts import tensors
from menura.batches.encode import EncodedExchange
from menura.decoding.generate import generate
from menura.decoding.sampling import Choice, Greedy, Nucleus
from menura.models.catalogue import MODELS
from menura.models.causal_lm import model as causal_lm
from menura.models.dialogue_model import RanksReplies, nll_of

every_model = pytest.mark.parametrize("name", VARIANTS)
# In a quick run replies are not decoded by what puts together two things that other variants have.
BOTH = {"lora-upper", "special-upper", "prompt-upper", "transfer-transfo-upper", "transfer-transfo-special"}
BOTH |= {"gpt2-upper", "gpt2-lora", "gpt2-in-place", "gpt2-ia3", "gpt2-prompt"}
every_model_that_decodes = pytest.mark.parametrize("name", [n for n in VARIANTS if full or n not in BOTH])
every_model_over_a_network = pytest.mark.parametrize("name", [n for n, v in VARIANTS.items() if v.over_network])
NUMBERS = {torch.float64: 1e-10, torch.float32: 1e-5}  # relative to a reply's nats
in_both_precisions = pytest.mark.parametrize(
    "double", [True, False][: count(full_count=2, quick_count=1)], ids=lambda double: "float64" if double else "float32"
)

DIALOGUES = (
    *SUPPORT,
    *QUERY,
    part(
        "long",
        "tell me of the goat " * 6,
        "she is old, and she eats " * count(full_count=3, quick_count=1),
        "what?",
        "string.",
        facts=FACTS,
    ),
    part("short", "a", "b"),
)


def rows_of(toy: Toy) -> list[EncodedExchange]:
    """Return exchanges of very unequal length; some of one dialogue, some alone, one twice."""
    rows = [exchange for dialogue in toy.dialogues(DIALOGUES) for exchange in dialogue]
    return [*rows, rows[2]]


def nll(toy: Toy, rows: Sequence[EncodedExchange]) -> Tensor:
    """Return each row's nats as ``loss`` tells them."""
    with torch.no_grad():
        return toy.model.loss(toy.model.batch(rows)).nll


REPLY_TOKENS = count(full_count=12, quick_count=6)
CHOICES = [Nucleus(0.95), Greedy(), Nucleus(1.0, temperature=1.5)][: count(full_count=3, quick_count=1)]


def texts(toy: Toy, rows: Sequence[EncodedExchange], choice: Choice, seeds: Sequence[int]) -> list[list[int]]:
    """Return each row's generated ids."""
    return generate(toy.model, toy.model.batch(rows), choice, end=toy.end, max_new_tokens=REPLY_TOKENS, seeds=seeds)


def assert_near(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype == wanted.dtype
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=NUMBERS[wanted.dtype])


def test_every_model_of_the_catalogue_is_asked() -> None:
    asked = {variant.model for variant in VARIANTS.values()}
    assert set(MODELS) == asked, "add variants of the new model to made_up"


@every_model
@in_both_precisions
def test_batch_mates_and_padding_change_no_loss(name: str, *, double: bool) -> None:
    toy = VARIANTS[name].toy(double=double)
    rows = rows_of(toy)
    alone = torch.cat([nll(toy, [row]) for row in rows])
    assert_near(nll(toy, rows), alone)
    assert float(alone.min()) > 0


@every_model
@in_both_precisions
def test_row_order_changes_no_loss(name: str, *, double: bool) -> None:
    toy = VARIANTS[name].toy(double=double)
    rows = rows_of(toy)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))
    assert_near(nll(toy, [rows[i] for i in order.tolist()]), nll(toy, rows)[order])


@every_model_over_a_network
@in_both_precisions
@pytest.mark.parametrize("room", [1, 200])
def test_how_many_rows_fit_one_pass_changes_no_loss(
    name: str, room: int, monkeypatch: pytest.MonkeyPatch, *, double: bool
) -> None:
    toy = VARIANTS[name].toy(double=double)
    rows = rows_of(toy)
    wanted = nll(toy, rows)
    for bound in ("PASS_TOKENS", "LOSS_TOKENS"):
        monkeypatch.setattr(causal_lm, bound, room)
    assert_near(nll(toy, rows), wanted)


@every_model_that_decodes
@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: c.signature)
def test_batch_mates_padding_and_row_order_change_no_generated_text(name: str, choice: Choice) -> None:
    toy = VARIANTS[name].toy(double=True)
    rows = rows_of(toy)
    seeds = list(range(len(rows)))
    alone = [texts(toy, [row], choice, [seed])[0] for row, seed in zip(rows, seeds, strict=True)]
    assert texts(toy, rows, choice, seeds) == alone
    assert texts(toy, rows[::-1], choice, seeds[::-1]) == alone[::-1]
    assert any(alone), "a test of empty replies would be none"


@every_model_that_decodes
def test_begin_ignores_the_reply(name: str) -> None:
    toy = VARIANTS[name].toy()
    rows = rows_of(toy)
    others = [replace(row, reply=(65, 66, 67)) for row in rows]
    assert texts(toy, rows, Greedy(), range(len(rows))) == texts(toy, others, Greedy(), range(len(rows)))
    first = [first_step(toy, given) for given in (rows, others, [replace(row, reply=()) for row in rows])]
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], first[2])


def first_step(toy: Toy, rows: Sequence[EncodedExchange]) -> Tensor:
    """Return log-probabilities (B, V) of the first reply token."""
    batch = toy.model.batch(rows)
    with torch.no_grad():
        return toy.model.step(toy.model.prefill(batch), batch.prefix.ids[:, -1])[0]


def stepwise(toy: Toy, rows: Sequence[EncodedExchange]) -> Tensor:
    """Return each row's nats, read token by token."""
    batch = toy.model.batch(rows)
    ids, mask = batch.reply.ids, batch.reply.mask
    found = torch.zeros(len(rows), dtype=toy.model.dtype)
    with torch.no_grad():
        state, last = toy.model.prefill(batch), batch.prefix.ids[:, -1]
        for step in range(ids.shape[1]):
            log_probs, state = toy.model.step(state, last)
            assert log_probs.exp().sum(-1).tolist() == pytest.approx([1.0] * len(rows), abs=1e-5)
            last = ids[:, step]
            found -= log_probs.gather(1, last[:, None])[:, 0] * mask[:, step]
    return found


@every_model_that_decodes
@in_both_precisions
def test_stepwise_decoding_is_teacher_forcing(name: str, *, double: bool) -> None:
    toy = VARIANTS[name].toy(double=double)
    rows = rows_of(toy)
    assert_near(stepwise(toy, rows), nll(toy, rows))
    assert_near(torch.cat([stepwise(toy, [row]) for row in rows[:3]]), nll(toy, rows[:3]))


@every_model_that_decodes
@in_both_precisions
def test_ranking_candidates_scores_them_as_loss_does(name: str, *, double: bool) -> None:
    toy = VARIANTS[name].toy(double=double)
    rows = rows_of(toy)
    candidates = [replace(row, reply=(*toy.encoder.tokenizer.encode(text), toy.end)) for row in rows for text in LINES]
    with torch.no_grad():
        assert_near(nll_of(toy.model, toy.model.batch(candidates)), nll(toy, candidates))
    if isinstance(toy.model, RanksReplies):
        assert not toy.model.reply_nll(toy.model.batch(rows)).requires_grad


LINES = ("yes", "no, the clock has stopped for good", "", "yes")


@every_model_that_decodes
@in_both_precisions
def test_selected_rows_go_on_as_if_they_had_always_been_there(name: str, *, double: bool) -> None:
    toy = VARIANTS[name].toy(double=double)
    rows = rows_of(toy)
    chosen = torch.tensor([4, 0, 0, 2])
    reply = torch.tensor([70, 71, 72, 73])
    with torch.no_grad():
        batch = toy.model.batch(rows)
        state = toy.model.step(toy.model.prefill(batch), batch.prefix.ids[:, -1])[1]
        kept = toy.model.reorder_cache(state, chosen)
        _, kept = toy.model.step(kept, reply)
        ours = toy.model.step(kept, reply)[0]
        # The state they came from is not disturbed by what its copy went on to read.
        theirs, state = toy.model.step(state, torch.arange(len(rows)) + 70)
    for place, (row, token) in enumerate(zip(chosen.tolist(), reply.tolist(), strict=True)):
        assert_near(ours[place], after(toy, rows[row], (token, token)))
    assert_near(theirs[1], after(toy, rows[1], (71,)))


def after(toy: Toy, row: EncodedExchange, said: tuple[int, ...]) -> Tensor:
    """Return log-probabilities (V,) after a row's prefix and reply tokens, read at one go where that is the same."""
    if toy.encoder.chat_format.bare or toy.encoder.chat_format.alike:
        batch = toy.model.batch([row])
        with torch.no_grad():
            log_probs, state = toy.model.step(toy.model.prefill(batch), batch.prefix.ids[:, -1])
            for token in said:
                log_probs, state = toy.model.step(state, torch.tensor([token]))
        return log_probs[0]
    return first_step(toy, [replace(row, context=row.context + said)])[0]


@every_model_over_a_network
@in_both_precisions
def test_what_is_kept_of_the_frozen_layers_changes_no_loss_and_no_gradient(name: str, *, double: bool) -> None:
    toy = VARIANTS[name].toy(double=double)
    model, batch = toy.model, toy.model.batch(rows_of(toy))
    expected = VARIANTS[name].layers == "upper" and VARIANTS[name].layout != "special"
    assert model.lm.lower_is_frozen == expected
    found = []
    for frozen in (expected, expected, False):  # filling what is kept, reading it, and without it
        model.lm.lower_is_frozen = frozen
        loss = model.loss(batch)
        gradients = torch.autograd.grad(loss.total, list(adaptable_parameters(model).values()))
        found.append((loss.nll.detach(), torch.cat([g.reshape(-1) for g in gradients])))
    for kept_nll, kept_gradients in found[:2]:
        assert_near(kept_nll, found[2][0])
        scale = float(found[2][1].abs().max())
        assert float((kept_gradients - found[2][1]).abs().max()) < NUMBERS[kept_nll.dtype] * scale


@every_model
def test_a_saved_and_loaded_model_has_the_same_loss(name: str, tmp_path: Path) -> None:
    toy = VARIANTS[name].toy()
    rows = rows_of(toy)
    wanted = nll(toy, rows)
    tensors.save(tmp_path / "weights.safetensors", adaptable_parameters(toy.model))
    fresh = VARIANTS[name].toy(stirred=False)
    stir(fresh.model, seed=99)
    assert not torch.equal(nll(fresh, rows), wanted)
    loaded = tensors.load(tmp_path / "weights.safetensors")
    tensors.check_same_shape(loaded, adaptable_parameters(fresh.model), "these")
    assert not fresh.model.load_state_dict(loaded, strict=False).unexpected_keys
    assert torch.equal(nll(fresh, rows), wanted)


@every_model
def test_the_loss_is_the_mean_over_reply_tokens(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    loss = toy.model.loss(toy.model.batch(rows_of(toy)))
    assert loss.total.item() == pytest.approx(loss.nll.sum().item() / loss.tokens.sum().item(), rel=1e-12)
    assert loss.tokens.tolist() == [len(row.reply) for row in rows_of(toy)]
