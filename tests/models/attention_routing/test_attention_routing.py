"""Attention routing against all that it computes written out, and what it does at the edges."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_up import PROFILES, Toy, part
from small_routing import ALL, AR, by_hand, exchanges_of, routing, said, sinusoids, through
from small_routing import nll_of as nll_by_hand
from torch import Tensor

from menura.adaptation.finetune import Finetune, support_and_query_loss
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.weights import adaptable_parameters, loss_with, swapped_weights, trainable_parameters
from menura.batches.encode import EncodedEpisode, EncodedExchange
from menura.corpus.dialogue import Dialogue, Turn
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError, DataError
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.layers import SharedAttention
from menura.models.attention_routing.model import MASK
from menura.models.dialogue_model import Loss, nll_of, weighing
from menura.tasks.task import DialogueView

WAYS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "release": {"preset": "release"},
    "paper": {"preset": "paper", "persona_path": "both", "strength": 0.3},
    "ar": AR,
    "ar, a quarter": {**AR, "strength": 0.25},
    "no-rezero": {"rezero": False},
    "no-albert": {"embedding": 0, "groups": 1},
    "no-factor-ff": {"feed_forward": "full", "preset": "release"},
    "no-memn2n": {"memory": False, "strength": 0.6},
    "slots": {"persona_path": "memory_stream", "strength": 0.7, "hops": 2},
    "layer-wise": {"persona_path": "both", "hop_tying": "layer_wise", "hops": 2},
    "layer-wise release": {"preset": "release", "hop_tying": "layer_wise"},
    "predicted": {"persona_path": "both", "strength_by": "predicted"},
    "release without groups": {"preset": "release", "groups": 1, "memory": False},
}
every_way = pytest.mark.parametrize("way", WAYS)


def nll(toy: Toy, rows: list[EncodedExchange]) -> list[float]:
    with torch.no_grad():
        found: list[float] = toy.model.loss(toy.model.batch(rows)).nll.tolist()
    return found


@every_way
def test_the_loss_is_that_of_the_formulas_written_out(way: str) -> None:
    toy = routing(**WAYS[way])
    rows = exchanges_of(toy)[1:4]
    with torch.no_grad():
        wanted = [float(by_hand(toy.model, row)) for row in rows]
    assert nll(toy, rows) == pytest.approx(wanted, rel=1e-10)


def test_places_are_sines_and_cosines_of_falling_rates() -> None:
    found = sinusoids(3, 4, torch.zeros(1, 6, dtype=torch.float64))
    for row, place in enumerate(range(3, 7)):
        for k in range(3):
            angle = torch.tensor(place / 10000 ** (2 * k / 6), dtype=torch.float64)
            assert found[row, 2 * k].item() == pytest.approx(angle.sin().item(), abs=1e-6)
            assert found[row, 2 * k + 1].item() == pytest.approx(angle.cos().item(), abs=1e-6)
    assert sinusoids(0, 2, torch.zeros(1, 5)).shape == (2, 5)


def test_the_mark_of_a_lost_span_is_the_vocabularys() -> None:
    assert routing().encoder.tokenizer.control("<mask>") == MASK


# The second task and the predictor


@pytest.mark.parametrize("settings", [AR, {"auxiliary": "lm"}, {"auxiliary": "lm", "preset": "release"}])
def test_the_second_task_lm_reads_the_reply_alone(settings: dict[str, Any]) -> None:
    toy = routing(**settings)
    rows = exchanges_of(toy)[:3]
    with torch.no_grad():
        found = toy.model.auxiliary_nll(toy.model.batch(rows), 0)[0].tolist()
        wanted = [float(nll_by_hand(toy.model, row, (None, None), 1.0, "auxiliary")) for row in rows]
    assert found == pytest.approx(wanted, rel=1e-10)


def test_the_second_task_lm_says_the_context_too_where_it_is_told_to() -> None:
    toy = routing(auxiliary="lm", auxiliary_text="context_and_reply")
    rows = exchanges_of(toy)[:3]
    batch = toy.model.batch(rows)
    whole = [replace(row, reply=(*row.context[:-1], *row.reply)) for row in rows]
    with torch.no_grad():
        found, tokens = toy.model.auxiliary_nll(batch, 0)
        wanted = [float(nll_by_hand(toy.model, row, (None, None), 1.0, "auxiliary")) for row in whole]
        with toy.model.dropout(0):
            learnt = toy.model.eval().loss(batch)
    assert found.tolist() == pytest.approx(wanted, rel=1e-10)
    assert tokens.tolist() == [len(row.reply) for row in whole]
    assert all(len(row.context) > 1 for row in rows)
    assert learnt.parts["auxiliary"].item() == pytest.approx(sum(wanted) / int(tokens.sum()))
    assert learnt.tokens.tolist() == [len(row.reply) for row in rows]


@pytest.mark.parametrize("settings", [{}, {"preset": "release"}])
def test_the_second_task_mlm_reads_what_is_left_of_the_reply(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = routing(**settings)
    model, rows = toy.model, exchanges_of(toy)[:3]
    left = "menura.models.attention_routing.model.infilled"
    monkeypatch.setattr(left, lambda ids, mask, noise, bart: (ids[0], mask, *ids[3:]))
    with torch.no_grad():
        found = model.auxiliary_nll(model.batch(rows), 0)[0].tolist()
        wanted = []
        for row in rows:
            ids = (row.prefix[-1], MASK, *row.reply[2:])
            read = through(model, 0, said(model, ids, "auxiliary"))
            wanted.append(float(nll_by_hand(model, row, (read, None), 1.0, "reply")))
    assert found == pytest.approx(wanted, rel=1e-10)


def test_pooled_training_lowers_the_sum_of_eq_3() -> None:
    settings = {"persona_path": "both", "strength_by": "labelled", "dropout": 0.0, "auxiliary": "lm"}
    toy = routing(**settings, auxiliary_weight=0.3, predictor_weight=0.7)
    model, rows = toy.model, exchanges_of(toy)
    batch = model.batch([replace(row, expresses_profile=bool(index % 2)) for index, row in enumerate(rows)])
    with torch.no_grad(), model.dropout(3):
        loss = model.loss(batch)
    labels = torch.tensor([float(index % 2) for index in range(len(rows))], dtype=torch.float64)
    with torch.no_grad():
        tokens = sum(len(row.reply) for row in rows)
        # In training a is what the reply does say of the persona.
        with model.at_strength(0.0):
            without = nll(toy, rows)
        with model.at_strength(1.0):
            wholly = nll(toy, rows)
        dialogue = [one if index % 2 else none for index, (one, none) in enumerate(zip(wholly, without, strict=True))]
        second = model.auxiliary_nll(batch, 0)[0].sum() / tokens
        told = model.prefill(batch).predicted.sigmoid()
        weighed = -(labels * told.log() + (1 - labels) * (1 - told).log()).mean()
    assert loss.nll.tolist() == pytest.approx(dialogue, rel=1e-10)
    assert loss.total.item() == pytest.approx(sum(dialogue) / tokens + 0.3 * second.item() + 0.7 * weighed.item())
    assert loss.parts["auxiliary"].item() == pytest.approx(second.item())
    assert loss.parts["predictor"].item() == pytest.approx(weighed.item())


def test_a_reply_that_names_an_attribute_expresses_it() -> None:
    toy = routing()
    dialogue = part("d", "who?", "fern, of course.", "when?", "never.")
    assert [exchange.expresses_profile for exchange in toy.dialogues([dialogue])[0]] == [True, False]


# What there is less of


@every_way
def test_a_prompt_without_context_or_profile_is_answered(way: str) -> None:
    toy = routing(**WAYS[way])
    empty = toy.encoder.prompt((), "mira", room=8)
    untold = toy.encoder.prompt((Turn("guest", "hello there"),), "mira", room=8)
    full = toy.encoder.prompt((Turn("guest", "hello there"),), "mira", profiles=PROFILES, room=8)
    bare = EncodedExchange("", "", (), (empty.context[-1],), ())
    rows = [empty, untold, full, bare]
    together = generate(toy.model, toy.model.batch(rows), Greedy(), end=toy.end, max_new_tokens=4, seeds=range(4))
    alone = [
        generate(toy.model, toy.model.batch([r]), Greedy(), end=toy.end, max_new_tokens=4, seeds=[0])[0] for r in rows
    ]
    assert together == alone
    with_replies = [replace(row, reply=(70, 71, toy.end)) for row in rows]
    separate = [nll(toy, [row])[0] for row in with_replies]
    assert nll(toy, with_replies) == pytest.approx(separate, rel=1e-10)


def test_what_is_absent_adds_nothing_not_even_a_bias() -> None:
    toy = routing(memory=False)
    row = exchanges_of(toy)[2]
    bare = replace(row, context=row.context[-1:], turns=(), turn_profiles=(), profiles=())
    wanted = nll_by_hand(toy.model, bare, (None, None), 1.0, "reply").item()
    assert nll(toy, [bare]) == pytest.approx([wanted], rel=1e-10)
    assert nll(toy, [bare, row])[0] == pytest.approx(wanted, rel=1e-10)


def test_a_context_cut_on_the_left_keeps_whose_tokens_are_whose() -> None:
    toy = routing()
    short = replace(toy.encoder, max_length=30)
    dialogue = part("d", "x" * 50, "tick", "tock", "yes.")
    whole, cut = short.dialogue(dialogue, "mira")
    assert (len(whole.context), whole.turns, whole.turn_profiles) == (25, ((False, 24),), (1,))
    assert [count for _, count in cut.turns] == [5, 5]
    assert cut.turn_profiles == (0, 1)
    with torch.no_grad():
        wanted = [float(by_hand(toy.model, row)) for row in (whole, cut)]
    assert nll(toy, [whole, cut]) == pytest.approx(wanted, rel=1e-10)


def test_each_of_many_speakers_brings_a_profile() -> None:
    toy = routing()
    people = {**PROFILES, "owl": {"pet": ("mouse",)}, "ghost": {}}
    turns = tuple(Turn(who, f"i am {who}") for who in ("guest", "owl", "ghost", "mira"))
    dialogue = DialogueView(Dialogue("many", turns, profiles=people), "mira")
    (exchange,) = toy.encoder.dialogue(dialogue, "mira")
    assert exchange.turn_profiles == (1, 2, 3)
    slots = toy.encoder.profile.slots
    assert exchange.profiles == tuple(slots(people[who]) for who in ("mira", "guest", "owl", "ghost"))
    with torch.no_grad():
        assert nll(toy, [exchange]) == pytest.approx([float(by_hand(toy.model, exchange))], rel=1e-10)
    changed = replace(exchange, turn_profiles=(1, 2, 1))
    assert nll(toy, [changed]) != pytest.approx(nll(toy, [exchange]), rel=1e-6)


@pytest.mark.parametrize("way", ["fixed", "ar"])
def test_dialogues_put_before_a_prompt_bring_who_said_what(way: str) -> None:
    toy = routing(**WAYS[way])
    people = {**PROFILES, "owl": {"pet": ("mouse",)}}
    turns = (Turn("owl", "who?"), Turn("mira", "me."))
    (first,) = toy.dialogues(ALL[:1])
    (second,) = toy.dialogues([DialogueView(Dialogue("owls", turns, profiles=people), "mira")])
    long = toy.encoder.after(second[0], [first, first[:1]], 500)
    last = (*first[-1].context, *first[-1].reply, *first[0].context, *first[0].reply)
    assert long.context == (*last, *second[0].context)
    told = [toy.encoder.profile.slots(people[who]) for who in ("mira", "guest", "owl")]
    assert [long.profiles[speaker] for speaker in long.turn_profiles] == [told[each] for each in (1, 0, 1, 0, 1, 0, 2)]
    assert long.profiles[0] == told[0]
    with torch.no_grad():
        assert nll(toy, [long]) == pytest.approx([float(by_hand(toy.model, long))], rel=1e-10)


# How it is trained


def gradients(toy: Toy, seed: int = 5) -> list[Tensor]:
    rows = exchanges_of(toy)
    with toy.model.dropout(seed):
        loss = toy.model.loss(toy.model.batch(rows))
    return list(torch.autograd.grad(loss.total, list(trainable_parameters(toy.model).values()), allow_unused=True))


@pytest.mark.parametrize("preset", ["fixed", "release"])
def test_what_is_computed_again_gives_the_same_gradient(preset: str) -> None:
    again, kept = (gradients(routing(preset=preset, keep_activations=keep, dropout=0.4)) for keep in (False, True))
    other = gradients(routing(preset=preset, keep_activations=True, dropout=0.4), seed=6)
    assert all(torch.equal(one, two) for one, two in zip(again, kept, strict=True) if one is not None)
    assert not all(torch.equal(one, two) for one, two in zip(other, kept, strict=True) if one is not None)


def test_what_is_computed_again_is_computed_with_the_weights_it_was_computed_with() -> None:
    found = []
    for keep in (False, True):
        model = (toy := routing(keep_activations=keep, dropout=0.2)).model
        weights = {name: (1.5 * value).detach().requires_grad_() for name, value in adaptable_parameters(model).items()}
        with model.dropout(1):
            loss = loss_with(model, weights, model.batch(exchanges_of(toy)))
        found.append(torch.autograd.grad(loss.total, list(weights.values()), allow_unused=True))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True) if one is not None)


def test_training_can_be_differentiated_twice() -> None:
    found = []
    for keep in (False, True):
        toy = routing(keep_activations=keep, dropout=0.2)
        weight = toy.model.layers[0].network.widen.weight
        with toy.model.dropout(1):
            loss = toy.model.loss(toy.model.batch(exchanges_of(toy)[:2]))
        (first,) = torch.autograd.grad(loss.total, [weight], create_graph=True)
        (second,) = torch.autograd.grad((first**2).sum(), [weight])
        found.append(second)
    assert float(found[1].abs().max()) > 0
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=0)


@pytest.mark.parametrize("way", ["fixed", "ar"])
def test_what_is_left_out_comes_from_the_seed_and_touches_no_other_randomness(way: str) -> None:
    toy = routing(**{**WAYS[way], "dropout": 0.3})
    batch = toy.model.batch(exchanges_of(toy))
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    totals = []
    for seed in (1, 1, 2):
        with toy.model.dropout(seed):
            assert toy.model.training
            totals.append(toy.model.loss(batch).total.item())
    assert torch.equal(torch.rand(3), wanted)
    assert totals[0] == totals[1] != totals[2]
    assert not toy.model.training
    assert toy.model.loss(batch).parts == {}


def test_a_reply_of_one_token_leaves_out_shares_of_attention_in_training_as_longer_ones_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy = routing(auxiliary="none")
    rows = [replace(row, reply=(toy.end,)) for row in exchanges_of(toy)]
    monkeypatch.delattr(SharedAttention, "heard_of_said")  # by which a token is said, and nothing is left out
    with toy.model.dropout(0):
        assert toy.model.loss(toy.model.batch(rows)).total.isfinite()


@pytest.mark.parametrize("way", ["fixed", "ar", "no-albert"])
def test_masks_are_of_the_format_that_attention_computes_in(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = routing(**WAYS[way], double=False)
    formats, heard = set(), SharedAttention.attend

    def watched(self: SharedAttention, q: Tensor, kept: Any, shut: Tensor) -> Tensor:
        formats.add((q.dtype, shut.dtype))
        return heard(self, q, kept, shut)

    monkeypatch.setattr(SharedAttention, "attend", watched)
    with torch.autocast("cpu", torch.bfloat16), toy.model.dropout(0):
        toy.model.loss(toy.model.batch(exchanges_of(toy)[:3]))
    assert formats == {(torch.bfloat16, torch.bfloat16)}


def test_a_token_that_is_said_where_something_is_learnt_has_a_gradient() -> None:
    toy = routing()
    batch = toy.model.batch(exchanges_of(toy)[:2])
    said: list[Tensor] = []
    for grows in (False, True):
        with torch.set_grad_enabled(grows):
            state = toy.model.prefill(batch)
            for _ in range(3):
                scores, state = toy.model.step_logits(state, torch.tensor([9, 9]))
        said.append(scores)
        assert scores.requires_grad == grows
    torch.testing.assert_close(*said, rtol=0, atol=1e-12)
    told = torch.autograd.grad(said[1][:, 9].sum(), list(adaptable_parameters(toy.model).values()), allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in told)


def test_pooled_training_lowers_the_loss_and_leaves_dead_weights_alone() -> None:
    toy = routing(preset="release", dead="stubs", rezero=True, stirred=False)
    model = toy.model
    before = [value.clone() for value in model.dead]
    assert len(before) == 2 * len(model.layers)
    assert not [name for name in trainable_parameters(model) if name.startswith("dead")]
    episode = EncodedEpisode("mira", toy.dialogues(ALL), ())
    optimizer = torch.optim.AdamW(trainable_parameters(model).values(), lr=3e-3)
    rows = exchanges_of(toy)
    begun = sum(nll(toy, rows))
    for _ in range(12):
        optimizer.zero_grad()
        support_and_query_loss(model, episode).total.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    assert sum(nll(toy, rows)) < 0.9 * begun
    assert all(torch.equal(one, two) for one, two in zip(before, model.dead, strict=True))
    assert isinstance(Finetune().adapt(model, toy.dialogues(ALL[:1])), Mapping)


# How much the persona weighs


def test_strength_moves_what_is_said_and_comes_back() -> None:
    toy = routing(persona_path="memory_stream", strength=0.5)
    rows = exchanges_of(toy)
    usual = nll(toy, rows)
    found = []
    for strength in (0.0, 0.5, 1.0):
        with weighing(toy.model, strength):
            found.append(nll(toy, rows))
    assert found[1] == usual == nll(toy, rows)
    assert found[0] != found[1] != found[2]
    with pytest.raises(ConfigError, match="strength"), weighing(toy.model, 1.5):
        pass


def test_a_persona_s_stream_holds_its_values_or_where_that_is_set_each_of_their_words() -> None:
    for slots in ("values", "tokens"):
        toy = routing(persona_path="memory_stream", slots=slots)
        told = ((2, (4, 5, 6)), (3, (5,)))
        row = replace(exchanges_of(toy)[0], profiles=(told,), turn_profiles=())
        persona = toy.model.prefill(toy.model.batch([row])).persona
        assert int(persona.real.sum()) == {"values": 2, "tokens": 6}[slots]


def test_only_those_whose_replies_are_said_are_read_as_streams() -> None:
    toy = routing(memory=False)
    row = exchanges_of(toy)[0]
    told = row.profiles[0]
    rows = [replace(row, profiles=(told, ((2, (6,)),)), turn_profiles=tuple(1 for _ in row.turns)) for _ in range(2)]
    other = replace(row, profiles=(((2, (5,)),), told))
    state = toy.model.prefill(toy.model.batch([*rows, other]))
    assert len(state.persona.real) == 2
    assert state.persona.row.tolist() == [0, 0, 1]


def test_a_strength_that_is_set_overrides_one_that_is_predicted() -> None:
    predicted = routing(persona_path="both", strength_by="predicted")
    given = routing(persona_path="both", strength=0.2)
    rows = exchanges_of(predicted)
    given.model.load_state_dict(predicted.model.state_dict(), strict=False)
    with weighing(predicted.model, 0.2):
        assert nll(predicted, rows) == nll(given, rows)
    assert nll(predicted, rows) != nll(given, rows)


@pytest.mark.parametrize("way", ["ar", "slots", "no-memn2n"])
@torch.no_grad()
def test_rows_that_share_a_persona_say_what_each_says_alone(way: str) -> None:
    toy = routing(**WAYS[way])
    model, profile = toy.model, exchanges_of(toy)[0].profiles[:1]
    rows = [replace(row, profiles=profile, turn_profiles=tuple(0 for _ in row.turns)) for row in exchanges_of(toy)[:3]]

    def scores_of(rows: Sequence[EncodedExchange], said: Tensor) -> Tensor:
        state, scores = model.prefill(model.batch(rows)), []
        assert len(state.persona.real) == 1
        for last in said.T:
            found, state = model.step(state, last)
            scores.append(found)
        return torch.stack(scores, 1)

    said = torch.tensor([[9, 10, 11, 12], [12, 9, 9, 20], [30, 31, 9, 7]])
    alone = [scores_of([row], tokens[None]) for row, tokens in zip(rows, said, strict=True)]
    torch.testing.assert_close(scores_of(rows, said), torch.cat(alone), rtol=0, atol=1e-12)


def test_gates_and_how_much_a_persona_weighs_can_be_all_that_adapts() -> None:
    toy = routing(persona_path="both", strength_by="predicted", dropout=0.0, auxiliary="none")
    model, batch = toy.model, toy.model.batch(exchanges_of(toy)[:3])
    start = {name: value.detach().clone() for name, value in adaptable_parameters(model).items()}
    method = Finetune(InnerLoop(lr=0.05, epochs=2), trainable="gates,predictor")
    weights = method.adapt(model, toy.dialogues(ALL[:1]))
    moved = {name for name, value in weights.items() if not torch.equal(value, start[name])}
    assert moved == {"gates", "predictor.weight", "predictor.bias"}
    with torch.no_grad():
        before = model.prefill(batch).strength
        with swapped_weights(model, weights):
            assert (model.prefill(batch).strength - before).abs().min() > 1e-4


def test_replies_scored_together_share_what_was_read() -> None:
    toy = routing(memory=False)
    row = exchanges_of(toy)[2]
    rows = [replace(row, reply=(*toy.encoder.tokenizer.encode(text), toy.end)) for text in ("yes", "no, never", "")]
    with torch.no_grad():
        assert nll_of(toy.model, toy.model.batch(rows)).tolist() == pytest.approx(nll(toy, rows), rel=1e-10)


# Bad input


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"strength": 1.5}, "model.strength: 1.5"),
        ({"strength": float("nan")}, "model.strength: nan"),
        ({"num_layers": 6, "groups": 4}, "6 layers cannot be 4 times the same stack"),
        ({"num_heads": 3, "hidden_size": 32}, "a width of 32 cannot be shared by 3 heads"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"hops": 0}, "model.hops"),
        ({"tied": True}, "model.tied"),
        ({"strength_by": "predicted"}, "model.strength_by"),
        ({"auxiliary_text": "context_and_reply"}, "model.auxiliary_text: only lm says a context"),
        ({"unexpressed_share": 1.5}, "model.unexpressed_share: 1.5"),
        ({"lent_share": -0.1}, "model.lent_share: -0.1"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        AttentionRoutingConfig(**settings)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        AttentionRoutingConfig(strength=2, num_layers=6, groups=4, num_heads=0)
    assert len(caught.value.problems) == 3


def test_attributes_that_the_model_does_not_know_are_all_listed_and_not_passed_over() -> None:
    toy = routing()
    people = {"mira": {"craft": ("clocks",), "height": ("tall",), "sign": ("leo",)}}
    dialogue = DialogueView(Dialogue("d", (Turn("guest", "hi"), Turn("mira", "hello")), profiles=people), "mira")
    with pytest.raises(DataError) as caught:
        toy.encoder.dialogue(dialogue, "mira")
    assert len(caught.value.problems) == 2
    assert all(name in str(caught.value) for name in ("height", "sign"))
    assert not toy.encoder.cut


def test_what_is_in_no_vocabulary_and_what_is_not_told_is_counted() -> None:
    toy = routing()
    people = {"mira": {"craft": ("clocks",)}}
    dialogue = DialogueView(Dialogue("d", (Turn("guest", "hi ✿✿"), Turn("mira", "abcde")), profiles=people), "mira")
    toy.encoder.dialogue(dialogue, "mira")
    assert toy.encoder.profile.missing == Counter(pet=2, craft=1)
    assert "20.00% of what is said is not in the vocabulary" in toy.encoder.unknown_text
    assert "2 profiles do not tell pet" in toy.encoder.unknown_text


def test_facts_that_are_not_read_take_no_room() -> None:
    toy = routing()
    short = replace(toy.encoder, max_length=30)
    (exchange,) = short.dialogue(part("d", "hello", "hi there", facts=["x" * 100]), "mira")
    assert not exchange.facts
    assert not short.cut


def test_training_by_labels_learns_from_what_says_something_and_from_a_share_of_the_rest() -> None:
    alone = {"auxiliary": "none", "predictor_weight": 0.0, "dropout": 0.0}
    settings: dict[str, Any] = {"memory": False, "strength_by": "labelled", **alone}
    voices = [routing(**settings, unexpressed_share=share) for share in (1.0, 0.0)]
    rows = [replace(row, expresses_profile=place % 3 == 0) for place, row in enumerate(exchanges_of(voices[0]))]
    plain, thinned = (trained_loss(toy, rows) for toy in voices)
    said = torch.tensor([row.expresses_profile for row in rows])
    assert 0 < said.sum() < len(rows)
    torch.testing.assert_close(thinned.nll, plain.nll[said])
    torch.testing.assert_close(thinned.total, thinned.nll.sum() / plain.tokens[said].sum())


def test_a_reply_that_is_lent_a_profile_is_learnt_as_its_lenders() -> None:
    alone = {"auxiliary": "none", "predictor_weight": 0.0, "dropout": 0.0, "unexpressed_share": 0.0}
    toy = routing(memory=False, strength_by="labelled", lent_share=1.0, **alone)
    first = exchanges_of(toy)[0]
    lender = first.profiles[0][:1]
    able = replace(first, lent_profiles=(((lender[0], lender),),), expresses_profile=False)
    as_lent = replace(first, profiles=(lender, *first.profiles[1:]), expresses_profile=True)
    found, wanted = (trained_loss(toy, [row]).nll for row in (able, as_lent))
    torch.testing.assert_close(found, wanted)
    assert (found - trained_loss(toy, [replace(first, expresses_profile=True)]).nll).abs().min() > 1e-6


def test_graded_strengths_of_training_lie_between_those_of_the_labels() -> None:
    alone = {"auxiliary": "none", "predictor_weight": 0.0, "dropout": 0.0}
    voices = [routing(memory=False, strength_by=by, **alone) for by in ("labelled", "graded")]
    rows = [replace(row, expresses_profile=place % 2 == 0) for place, row in enumerate(exchanges_of(voices[0]))]
    by_label, by_grade = (trained_loss(toy, rows).nll for toy in voices)
    assert (by_label - by_grade).abs().min() > 1e-6
    assert trained_loss(voices[1], rows).nll.tolist() == by_grade.tolist()


def trained_loss(toy: Toy, rows: Sequence[EncodedExchange]) -> Loss:
    with toy.model.dropout(0), torch.no_grad():
        loss: Loss = toy.model.loss(toy.model.batch(rows))
    return loss
