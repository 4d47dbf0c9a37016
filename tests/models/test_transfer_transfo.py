from dataclasses import replace

import pytest
import torch
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Voice, part

from menura.adaptation.descent import Descent, descend
from menura.adaptation.plain import fitted
from menura.adaptation.weights import adaptable, loss_with
from menura.batches.encode import EncodedExchange
from menura.errors import ConfigError
from menura.models.dialogue_model import ChoosesReplies, LearnsFromRivals, RanksReplies, StandsOnBase
from menura.models.parts.adapters import Adapters
from menura.models.transfer_transfo import FACTS as OF_FACTS
from menura.models.transfer_transfo import OWN, PARTNER, TransferTransfoConfig, marked

OTHERS = (part("o1", "hi", "i bake bread.", "oh?", "rye and wheat.", facts=("i am a baker.",)),)


def with_rivals(voice: Voice) -> list[EncodedExchange]:
    """Return exchanges of which the first two have a baker's replies as rivals."""
    rivals = tuple(exchange for dialogue in voice.dialogues(OTHERS) for exchange in dialogue)
    first, second, *rest = (exchange for dialogue in voice.dialogues(SUPPORT + QUERY) for exchange in dialogue)
    return [replace(first, rivals=rivals), replace(second, rivals=rivals[:1]), *rest]


@pytest.mark.parametrize("network", ["tiny", "gpt2"])
def test_it_starts_as_its_base(network: str) -> None:
    ours = replace(VARIANTS["transfer-transfo"], network=network).voice(stirred=False)
    base = replace(VARIANTS["houlsby"], network=network).voice(stirred=False)
    assert torch.equal(
        ours.model.loss(ours.batch(SUPPORT + QUERY)).nats, base.model.loss(base.batch(SUPPORT + QUERY)).nats
    )


def test_under_its_bare_weights_it_is_its_base_again() -> None:
    stirred, fresh = (VARIANTS["transfer-transfo"].voice(stirred=moved) for moved in (True, False))
    batch = stirred.batch(SUPPORT)
    wanted = fresh.model.loss(batch).nats
    assert not torch.allclose(stirred.model.loss(batch).nats, wanted)
    assert torch.equal(loss_with(stirred.model, stirred.model.bare_weights(), batch).nats, wanted)


def test_each_token_is_marked_by_whose_it_is() -> None:
    voice = VARIANTS["transfer-transfo"].voice()
    exchange = voice.dialogues(SUPPORT)[0][1]
    found = marked(exchange, 1000)
    assert {token // 1000 for token in found.facts} == {OF_FACTS}
    runs = []
    for token in found.context:
        if not runs or runs[-1][0] != token // 1000:
            runs.append((token // 1000, []))
        runs[-1][1].append(token % 1000)
    assert [kind for kind, _ in runs] == [PARTNER, OWN, PARTNER, OWN]
    said = [voice.encoder.tokens.decode(ids) for _, ids in runs]
    assert [text.split("\n")[1] for text in said] == ["hi", "tick tock, hello!", "what is that noise?", ""]
    assert [token % 1000 for token in found.facts + found.context] == list(exchange.prefix)
    assert found.reply == exchange.reply


@pytest.mark.parametrize("kind", [OWN, PARTNER, OF_FACTS])
def test_each_kind_of_token_has_a_vector_of_its_own(kind: int) -> None:
    voice = VARIANTS["transfer-transfo"].voice(stirred=False)
    batch = voice.batch(SUPPORT[:1])
    before = voice.model.loss(batch).nats
    with torch.no_grad():
        voice.model.voice.kind_rows[kind] += 0.5
    assert float((voice.model.loss(batch).nats - before).detach().abs().min()) > 1e-4


def test_whole_dialogues_before_a_context_keep_their_kinds() -> None:
    voice = VARIANTS["transfer-transfo"].voice()
    (exchange,), before = voice.dialogues(SUPPORT)[1], voice.dialogues(SUPPORT[:1])
    longer = voice.encoder.after(exchange, before, 400)
    kinds = [token // 1000 for token in marked(longer, 1000).context]
    assert kinds[-len(exchange.context) :] == [token // 1000 for token in marked(exchange, 1000).context]
    last = marked(before[0][-1], 1000)
    wanted = [token // 1000 for token in last.context] + [OWN] * (len(last.reply) + 1)
    assert kinds[: -len(exchange.context)] == wanted


def test_the_loss_is_the_replys_and_the_weighted_choice() -> None:
    voice = replace(VARIANTS["transfer-transfo"], settings={"choice_weight": 0.5}).voice(double=True)
    exchanges = with_rivals(voice)
    loss = voice.model.loss(voice.model.batch(exchanges))
    plain = voice.model.loss(voice.model.batch([replace(exchange, rivals=()) for exchange in exchanges]))
    assert loss.parts["reply"].item() == pytest.approx(plain.total.item(), rel=1e-12)
    assert loss.total.item() == pytest.approx(plain.total.item() + 0.5 * loss.parts["choice"].item(), rel=1e-12)
    assert loss.nats.tolist() == pytest.approx(plain.nats.tolist(), rel=1e-12)
    assert not plain.parts


def test_the_choice_is_made_among_the_reply_and_its_rivals_only() -> None:
    voice = VARIANTS["transfer-transfo"].voice(double=True)
    exchanges = with_rivals(voice)
    each = []
    for exchange in exchanges[:2]:
        replies = [exchange.reply, *(rival.reply for rival in exchange.rivals)]
        batch = voice.model.batch([replace(exchange, reply=reply, rivals=()) for reply in replies])
        each.append(-voice.model.reply_scores(batch).log_softmax(0)[0].item())
    assert len(voice.model.reply_scores(batch)) == 2
    found = voice.model.loss(voice.model.batch(exchanges)).parts["choice"].item()
    assert found == pytest.approx(sum(each) / 2, rel=1e-10)


def test_scores_from_a_state_are_those_from_the_whole_sequence() -> None:
    voice = VARIANTS["transfer-transfo"].voice(double=True)
    exchange = voice.dialogues(SUPPORT)[0][1]
    texts = ("yes", "no, the clock has stopped for good", "", "yes", "a", "b", "c")
    batch = voice.model.batch(
        [replace(exchange, reply=(*voice.encoder.tokens.encode(text), voice.end)) for text in texts]
    )
    wanted = voice.model.choice(voice.model.voice.read(voice.model._marked(batch), 0)[1])
    begun = voice.model.begin(voice.model.batch([exchange]))
    for found in (voice.model.reply_scores(batch, begun), voice.model.reply_scores(batch, begun)):
        assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-10)
        assert not found.requires_grad
    assert found[0] == pytest.approx(found[3].item(), rel=1e-12)
    assert len({round(score, 6) for score in found.tolist()}) == len(texts) - 1


def test_the_choice_trains_the_head_the_adapters_and_the_kinds() -> None:
    voice = VARIANTS["transfer-transfo"].voice()
    exchanges = with_rivals(voice)
    choosing = voice.model._chosen(voice.model.batch(exchanges), [0, 1])[1]
    gradients = torch.autograd.grad(choosing, list(adaptable(voice.model).values()))
    assert all(bool(gradient.any()) for gradient in gradients)
    assert {name.split(".")[0] for name in adaptable(voice.model)} == {"voice", "choice"}


def test_an_inner_loop_without_rivals_leaves_the_head_as_it_is() -> None:
    voice = VARIANTS["transfer-transfo"].voice()
    start = adaptable(voice.model)
    adapted = fitted(voice.model, voice.dialogues(SUPPORT), Descent(rate=0.1), None)
    assert adapted.keys() == start.keys()
    assert torch.equal(adapted["choice.map.weight"], start["choice.map.weight"])
    assert not torch.equal(adapted["voice.kind_rows"], start["voice.kind_rows"])


def test_the_head_learns_which_reply_is_the_personas() -> None:
    """Replies of the persona hold a word that others' do not; which, the likelihood alone is never told."""
    voice = VARIANTS["transfer-transfo"].voice(stirred=False)
    tokens, end = voice.encoder.tokens, voice.end

    def exchange(number: int) -> EncodedExchange:
        (asked,) = voice.dialogues((part(f"d{number}", f"question {number}?", f"tick {number}"),))[0]
        others = (f"bread {number}", f"rye {number + 1}", f"flour {number + 2}")
        return replace(asked, rivals=tuple(replace(asked, reply=(*tokens.encode(text), end)) for text in others))

    def right(exchanges: list[EncodedExchange]) -> float:
        ranked = []
        for one in exchanges:
            replies = [one.reply, *(rival.reply for rival in one.rivals)]
            scores = voice.model.reply_scores(voice.model.batch([replace(one, reply=reply) for reply in replies]))
            ranked.append(scores.argmax() == 0)
        return sum(map(bool, ranked)) / len(ranked)

    train, held_out = [exchange(n) for n in range(8)], [exchange(n) for n in range(30, 50)]
    before = right(held_out)
    outer = torch.optim.Adam(adaptable(voice.model).values(), lr=0.01)
    for _ in range(30):
        outer.zero_grad()
        voice.model._chosen(voice.model.batch(train), range(len(train)))[1].backward()
        outer.step()
    assert before < 0.6
    assert right(held_out) > 0.9


def test_without_the_head_it_is_a_language_model_that_wants_no_rivals() -> None:
    voice = VARIANTS["transfer-transfo-lm"].voice()
    model = voice.model
    assert isinstance(model, LearnsFromRivals)
    assert (model.rivals, model.chooses, model.choice) == (0, False, None)
    exchanges = with_rivals(voice)
    loss = model.loss(model.batch(exchanges))
    assert torch.equal(loss.total, model.loss(model.batch([replace(e, rivals=()) for e in exchanges])).total)
    assert not loss.parts


def test_it_has_the_abilities_it_is_asked_for() -> None:
    model = VARIANTS["transfer-transfo"].voice().model
    for ability in (LearnsFromRivals, ChoosesReplies, RanksReplies, StandsOnBase):
        assert isinstance(model, ability), ability
    assert (model.rivals, model.choices, model.chooses) == (3, 4, True)
    assert not isinstance(VARIANTS["houlsby"].voice().model, LearnsFromRivals | ChoosesReplies)


def test_exact_meta_gradients_run_through_the_head() -> None:
    voice = VARIANTS["transfer-transfo"].voice(double=True)
    start = adaptable(voice.model)
    support = [tuple(with_rivals(voice)[:2])]
    adapted = descend(voice.model, start, support, Descent(rate=0.1), order="exact")
    query = voice.model.batch(with_rivals(voice)[:1])
    gradients = torch.autograd.grad(loss_with(voice.model, adapted, query).total, list(start.values()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rivals": 0}, "model.rivals: 0"),
        ({"choices": 0}, "model.choices: 0"),
        ({"choice_weight": -1.0}, "model.choice_weight: -1"),
        ({"limit": 31}, "model.limit: 31"),
    ],
)
def test_settings_that_leave_nothing_to_choose_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TransferTransfoConfig("tiny", adapters=Adapters(), **settings)  # type: ignore[arg-type]


def test_facts_are_read_as_facts() -> None:
    voice = VARIANTS["transfer-transfo"].voice()
    exchange = voice.dialogues(SUPPORT)[0][0]
    assert voice.encoder.tokens.decode([token % 1000 for token in marked(exchange, 1000).facts]).count(FACTS[0]) == 1
