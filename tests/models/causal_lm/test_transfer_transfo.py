from dataclasses import replace

import pytest
import torch
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Toy, part

from menura.adaptation.finetune import finetuned_weights
from menura.adaptation.inner_loop import InnerLoop, run_inner_loop
from menura.adaptation.weights import adaptable_parameters, loss_with
from menura.batches.encode import EncodedExchange
from menura.errors import ConfigError
from menura.models.causal_lm.transfer_transfo import FACTS as OF_FACTS
from menura.models.causal_lm.transfer_transfo import OWN, PARTNER, TransferTransfoConfig, marked
from menura.models.dialogue_model import ChoosesReplies, HasNegatives, RanksReplies, StandsOnBase
from menura.models.layers.adapters import Adapters

OTHERS = (part("o1", "hi", "i bake bread.", "oh?", "rye and wheat.", facts=("i am a baker.",)),)


def with_negatives(toy: Toy) -> list[EncodedExchange]:
    """Return exchanges of which the first two have a baker's replies as rivals."""
    negatives = tuple(exchange for dialogue in toy.dialogues(OTHERS) for exchange in dialogue)
    first, second, *rest = (exchange for dialogue in toy.dialogues(SUPPORT + QUERY) for exchange in dialogue)
    return [replace(first, negatives=negatives), replace(second, negatives=negatives[:1]), *rest]


@pytest.mark.parametrize("network", ["tiny", "gpt2"])
def test_it_starts_as_its_base(network: str) -> None:
    ours = replace(VARIANTS["transfer-transfo"], network=network).toy(stirred=False)
    base = replace(VARIANTS["houlsby"], network=network).toy(stirred=False)
    assert torch.equal(
        ours.model.loss(ours.batch(SUPPORT + QUERY)).nll, base.model.loss(base.batch(SUPPORT + QUERY)).nll
    )


def test_under_its_bare_weights_it_is_its_base_again() -> None:
    stirred, fresh = (VARIANTS["transfer-transfo"].toy(stirred=moved) for moved in (True, False))
    batch = stirred.batch(SUPPORT)
    wanted = fresh.model.loss(batch).nll
    assert not torch.allclose(stirred.model.loss(batch).nll, wanted)
    assert torch.equal(loss_with(stirred.model, stirred.model.neutral_weights(), batch).nll, wanted)


def test_each_token_is_marked_by_whose_it_is() -> None:
    toy = VARIANTS["transfer-transfo"].toy()
    exchange = toy.dialogues(SUPPORT)[0][1]
    found = marked(exchange, 1000)
    assert {token // 1000 for token in found.facts} == {OF_FACTS}
    runs = []
    for token in found.context:
        if not runs or runs[-1][0] != token // 1000:
            runs.append((token // 1000, []))
        runs[-1][1].append(token % 1000)
    assert [kind for kind, _ in runs] == [PARTNER, OWN, PARTNER, OWN]
    said = [toy.encoder.tokenizer.decode(ids) for _, ids in runs]
    assert [text.split("\n")[1] for text in said] == ["hi", "tick tock, hello!", "what is that noise?", ""]
    assert [token % 1000 for token in found.facts + found.context] == list(exchange.prefix)
    assert found.reply == exchange.reply


@pytest.mark.parametrize("kind", [OWN, PARTNER, OF_FACTS])
def test_each_kind_of_token_has_a_vector_of_its_own(kind: int) -> None:
    toy = VARIANTS["transfer-transfo"].toy(stirred=False)
    batch = toy.batch(SUPPORT[:1])
    before = toy.model.loss(batch).nll
    with torch.no_grad():
        toy.model.lm.token_type_embeddings[kind] += 0.5
    assert float((toy.model.loss(batch).nll - before).detach().abs().min()) > 1e-4


def test_whole_dialogues_before_a_context_keep_their_kinds() -> None:
    toy = VARIANTS["transfer-transfo"].toy()
    (exchange,), before = toy.dialogues(SUPPORT)[1], toy.dialogues(SUPPORT[:1])
    longer = toy.encoder.after(exchange, before, 400)
    kinds = [token // 1000 for token in marked(longer, 1000).context]
    assert kinds[-len(exchange.context) :] == [token // 1000 for token in marked(exchange, 1000).context]
    last = marked(before[0][-1], 1000)
    wanted = [token // 1000 for token in last.context] + [OWN] * (len(last.reply) + 1)
    assert kinds[: -len(exchange.context)] == wanted


def test_the_loss_is_the_replys_and_the_weighted_choice() -> None:
    toy = replace(VARIANTS["transfer-transfo"], settings={"next_utterance_weight": 0.5}).toy(double=True)
    exchanges = with_negatives(toy)
    loss = toy.model.loss(toy.model.batch(exchanges))
    plain = toy.model.loss(toy.model.batch([replace(exchange, negatives=()) for exchange in exchanges]))
    assert loss.parts["reply"].item() == pytest.approx(plain.total.item(), rel=1e-12)
    assert loss.total.item() == pytest.approx(plain.total.item() + 0.5 * loss.parts["choice"].item(), rel=1e-12)
    assert loss.nll.tolist() == pytest.approx(plain.nll.tolist(), rel=1e-12)
    assert not plain.parts


def test_the_choice_is_made_among_the_reply_and_its_rivals_only() -> None:
    toy = VARIANTS["transfer-transfo"].toy(double=True)
    exchanges = with_negatives(toy)
    each = []
    for exchange in exchanges[:2]:
        replies = [exchange.reply, *(rival.reply for rival in exchange.negatives)]
        batch = toy.model.batch([replace(exchange, reply=reply, negatives=()) for reply in replies])
        each.append(-toy.model.reply_scores(batch).log_softmax(0)[0].item())
    assert len(toy.model.reply_scores(batch)) == 2
    found = toy.model.loss(toy.model.batch(exchanges)).parts["choice"].item()
    assert found == pytest.approx(sum(each) / 2, rel=1e-10)


def test_scores_from_a_state_are_those_from_the_whole_sequence() -> None:
    toy = VARIANTS["transfer-transfo"].toy(double=True)
    exchange = toy.dialogues(SUPPORT)[0][1]
    texts = ("yes", "no, the clock has stopped for good", "", "yes", "a", "b", "c")
    batch = toy.model.batch([replace(exchange, reply=(*toy.encoder.tokenizer.encode(text), toy.end)) for text in texts])
    wanted = toy.model.choice(toy.model.lm.read(toy.model._marked(batch), 0)[1])
    begun = toy.model.prefill(toy.model.batch([exchange]))
    for found in (toy.model.reply_scores(batch, begun), toy.model.reply_scores(batch, begun)):
        assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-10)
        assert not found.requires_grad
    assert found[0] == pytest.approx(found[3].item(), rel=1e-12)
    assert len({round(score, 6) for score in found.tolist()}) == len(texts) - 1


def test_the_choice_trains_the_head_the_adapters_and_the_kinds() -> None:
    toy = VARIANTS["transfer-transfo"].toy()
    exchanges = with_negatives(toy)
    choosing = toy.model._chosen(toy.model.batch(exchanges), [0, 1])[1]
    gradients = torch.autograd.grad(choosing, list(adaptable_parameters(toy.model).values()))
    assert all(bool(gradient.any()) for gradient in gradients)
    assert {name.split(".")[0] for name in adaptable_parameters(toy.model)} == {"lm", "choice"}


def test_an_inner_loop_without_rivals_leaves_the_head_as_it_is() -> None:
    toy = VARIANTS["transfer-transfo"].toy()
    start = adaptable_parameters(toy.model)
    adapted = finetuned_weights(toy.model, toy.dialogues(SUPPORT), InnerLoop(lr=0.1), None)
    assert adapted.keys() == start.keys()
    assert torch.equal(adapted["choice.map.weight"], start["choice.map.weight"])
    assert not torch.equal(adapted["lm.token_type_embeddings"], start["lm.token_type_embeddings"])


def test_the_head_learns_which_reply_is_the_personas() -> None:
    """Replies of the persona hold a word that others' do not; which, the likelihood alone is never told."""
    toy = VARIANTS["transfer-transfo"].toy(stirred=False)
    tokenizer, end = toy.encoder.tokenizer, toy.end

    def exchange(number: int) -> EncodedExchange:
        (asked,) = toy.dialogues((part(f"d{number}", f"question {number}?", f"tick {number}"),))[0]
        others = (f"bread {number}", f"rye {number + 1}", f"flour {number + 2}")
        return replace(asked, negatives=tuple(replace(asked, reply=(*tokenizer.encode(text), end)) for text in others))

    def right(exchanges: list[EncodedExchange]) -> float:
        ranked = []
        for one in exchanges:
            replies = [one.reply, *(rival.reply for rival in one.negatives)]
            scores = toy.model.reply_scores(toy.model.batch([replace(one, reply=reply) for reply in replies]))
            ranked.append(scores.argmax() == 0)
        return sum(map(bool, ranked)) / len(ranked)

    train, held_out = [exchange(n) for n in range(8)], [exchange(n) for n in range(30, 50)]
    before = right(held_out)
    outer = torch.optim.Adam(adaptable_parameters(toy.model).values(), lr=0.01)
    for _ in range(30):
        outer.zero_grad()
        toy.model._chosen(toy.model.batch(train), range(len(train)))[1].backward()
        outer.step()
    assert before < 0.6
    assert right(held_out) > 0.9


def test_without_the_head_it_is_a_language_model_that_wants_no_rivals() -> None:
    toy = VARIANTS["transfer-transfo-lm"].toy()
    model = toy.model
    assert isinstance(model, HasNegatives)
    assert (model.num_negatives, model.chooses, model.choice) == (0, False, None)
    exchanges = with_negatives(toy)
    loss = model.loss(model.batch(exchanges))
    assert torch.equal(loss.total, model.loss(model.batch([replace(e, negatives=()) for e in exchanges])).total)
    assert not loss.parts


def test_it_has_the_abilities_it_is_asked_for() -> None:
    model = VARIANTS["transfer-transfo"].toy().model
    for ability in (HasNegatives, ChoosesReplies, RanksReplies, StandsOnBase):
        assert isinstance(model, ability), ability
    assert (model.num_negatives, model.num_choice_exchanges, model.chooses) == (3, 4, True)
    assert not isinstance(VARIANTS["houlsby"].toy().model, HasNegatives | ChoosesReplies)


def test_exact_meta_gradients_run_through_the_head() -> None:
    toy = VARIANTS["transfer-transfo"].toy(double=True)
    start = adaptable_parameters(toy.model)
    support = [tuple(with_negatives(toy)[:2])]
    adapted = run_inner_loop(toy.model, start, support, InnerLoop(lr=0.1), order="exact")
    query = toy.model.batch(with_negatives(toy)[:1])
    gradients = torch.autograd.grad(loss_with(toy.model, adapted, query).total, list(start.values()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_negatives": 0}, "model.num_negatives: 0"),
        ({"num_choice_exchanges": 0}, "model.num_choice_exchanges: 0"),
        ({"next_utterance_weight": -1.0}, "model.next_utterance_weight: -1"),
        ({"max_length": 31}, "model.max_length: 31"),
    ],
)
def test_settings_that_leave_nothing_to_choose_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TransferTransfoConfig("tiny", adapters=Adapters(), **settings)  # type: ignore[arg-type]


def test_facts_are_read_as_facts() -> None:
    toy = VARIANTS["transfer-transfo"].toy()
    exchange = toy.dialogues(SUPPORT)[0][0]
    assert toy.encoder.tokenizer.decode([token % 1000 for token in marked(exchange, 1000).facts]).count(FACTS[0]) == 1
