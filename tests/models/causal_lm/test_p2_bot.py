from dataclasses import replace

import pytest
import torch
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Toy, part
from torch import nn

from menura.adaptation.weights import adaptable_parameters, loss_with
from menura.batches.encode import EncodedExchange
from menura.errors import ConfigError
from menura.models.causal_lm.p2_bot import P2BotConfig, Receiver
from menura.models.dialogue_model import RewardsReplies
from menura.models.layers.adapters import Adapters

BAKER = ("i am a baker.", "my bread is rye.")
OTHERS = (part("o1", "hi", "i bake bread.", facts=BAKER),)


def rivals_of(toy: Toy) -> tuple[EncodedExchange, ...]:
    return tuple(exchange for dialogue in toy.dialogues(OTHERS) for exchange in dialogue)


def exchange_with(toy: Toy, reply: str) -> EncodedExchange:
    """Return the clockmaker's first exchange with another reply, and a baker as its rival."""
    ids = (*toy.encoder.tokenizer.encode(reply), toy.end)
    return replace(toy.dialogues(SUPPORT)[0][0], reply=ids, negatives=rivals_of(toy))


def test_the_loss_is_the_transmitters_and_the_weighted_perception() -> None:
    toy = replace(VARIANTS["p2-bot"], settings={"perception_weight": 0.25}).toy(double=True)
    batch = toy.model.batch([exchange_with(toy, "tick tock")])
    loss, within = toy.model.loss(batch), toy.model.transmitter.loss(batch)
    assert set(loss.parts) == {"reply", "choice", "receiver"}
    assert loss.total.item() == pytest.approx(within.total.item() + 0.25 * loss.parts["receiver"].item(), rel=1e-12)
    right = toy.model.rewards(batch)["perception"][0]
    assert loss.parts["receiver"].item() == pytest.approx(-right.log().item(), rel=1e-10)


def test_without_the_choice_head_it_still_wants_rivals_to_perceive() -> None:
    toy = replace(VARIANTS["p2-bot"], settings={"next_utterance_weight": 0.0}).toy()
    assert (toy.model.num_negatives, toy.model.chooses) == (3, False)
    batch = toy.model.batch([exchange_with(toy, "tick tock")])
    assert set(toy.model.loss(batch).parts) == {"reply", "receiver"}
    assert set(toy.model.rewards(batch)) == {"fluency", "perception"}


def test_perceiving_trains_the_receiver_and_nothing_else() -> None:
    toy = VARIANTS["p2-bot"].toy()
    weights = adaptable_parameters(toy.model)
    (scores,) = toy.model._perceived(toy.model.batch([exchange_with(toy, "i mend clocks")]))
    gradients = torch.autograd.grad(scores.softmax(0)[0], list(weights.values()), allow_unused=True)
    reached = {name for name, found in zip(weights, gradients, strict=True) if found is not None and found.any()}
    assert reached == {"receiver.map.weight", "receiver.weight.weight", "receiver.sharpness"}


def test_the_receiver_learns_whose_facts_a_reply_tells_of() -> None:
    """On words that it was never trained on: it learns to compare, not the facts."""
    torch.manual_seed(0)
    words = nn.functional.normalize(torch.randn(60, 64), dim=1)
    receiver = Receiver(64, 32)

    def right(first: int) -> torch.Tensor:
        facts = torch.stack([words[first : first + 3], words[first + 3 : first + 6]])
        noise = words[54:57]
        reply = torch.cat([words[first : first + 1], noise]).expand(2, -1, -1)
        real = [torch.ones(x.shape[:2], dtype=torch.bool) for x in (facts, reply)]
        return receiver(facts, real[0], reply, real[1]).log_softmax(0)[0]

    held_out = [36, 42, 48]
    before = torch.stack([right(n) for n in held_out]).detach().exp()
    outer = torch.optim.Adam(receiver.parameters(), lr=0.02)
    for _ in range(60):
        outer.zero_grad()
        (-torch.stack([right(n) for n in range(0, 36, 6)]).mean()).backward()
        outer.step()
    after = torch.stack([right(n) for n in held_out]).detach().exp()
    assert float(before.min()) < 0.9
    assert float(after.min()) > 0.9


def test_padding_changes_no_perception() -> None:
    torch.manual_seed(0)
    receiver = Receiver(8, 4)
    nn.init.normal_(receiver.weight.weight)
    facts, reply = torch.randn(1, 3, 8), torch.randn(1, 2, 8)
    alone = receiver(facts, torch.ones(1, 3, dtype=torch.bool), reply, torch.ones(1, 2, dtype=torch.bool))
    filled = [nn.functional.pad(x, (0, 0, 0, 4), value=3.0) for x in (facts, reply)]
    masks = [torch.arange(7)[None] < 3, torch.arange(6)[None] < 2]
    assert receiver(filled[0], masks[0], filled[1], masks[1]).item() == pytest.approx(alone.item(), rel=1e-6)


def test_nothing_said_and_nothing_known_score_zero_without_a_broken_gradient() -> None:
    receiver = Receiver(8, 4)
    none, some = torch.zeros(1, 2, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    vectors = torch.randn(1, 2, 8)
    for facts_mask, reply_mask in ((none, some), (some, none)):
        score = receiver(vectors, facts_mask, vectors, reply_mask)
        assert score.item() == 0
        score.backward()
        assert all(bool(p.grad.isfinite().all()) for p in receiver.parameters() if p.grad is not None)
    assert receiver(vectors[:, :0], none[:, :0], vectors, some).item() == 0


def test_fluency_is_the_bases_own_probability_of_the_words_alone() -> None:
    toy = VARIANTS["p2-bot"].toy(double=True)
    base = VARIANTS["houlsby"].toy(stirred=False, double=True)
    exchange = exchange_with(toy, "tick tock")
    opened, words = toy.encoder.chat_format.reply_open, exchange.reply[:-1]
    alone = base.model.loss(base.model.batch([EncodedExchange("", "", (), opened, words)]))
    wanted = (-alone.nll / len(words)).exp().item()
    found = toy.model.rewards(toy.model.batch([exchange, replace(exchange, reply=words)]))["fluency"]
    assert found.tolist() == pytest.approx([wanted] * 2, rel=1e-6)


def test_silence_is_not_fluent() -> None:
    toy = VARIANTS["p2-bot"].toy()
    silent = [exchange_with(toy, ""), replace(exchange_with(toy, ""), reply=())]
    found = toy.model.rewards(toy.model.batch(silent))
    assert found["fluency"].tolist() == [0, 0]
    assert all(bool(value.isfinite().all()) for value in found.values())


def test_rewards_are_shares_and_coherence_is_the_heads_choice() -> None:
    toy = VARIANTS["p2-bot"].toy(double=True)
    exchange = exchange_with(toy, "i mend clocks, forty of them")
    found = toy.model.rewards(toy.model.batch([exchange]))
    assert set(found) == {"fluency", "coherence", "perception"}
    assert all(0 <= value.item() <= 1 and not value.requires_grad for value in found.values())
    replies = [exchange.reply, exchange.negatives[0].reply]
    scores = toy.model.reply_scores(toy.model.batch([replace(exchange, reply=reply) for reply in replies]))
    assert found["coherence"].item() == pytest.approx(scores.softmax(0)[0].item(), rel=1e-10)


def test_a_reply_cut_before_its_end_is_judged_as_if_it_had_ended() -> None:
    toy = VARIANTS["p2-bot"].toy(double=True)
    whole = exchange_with(toy, "tick tock")
    found = toy.model.rewards(toy.model.batch([whole, replace(whole, reply=whole.reply[:-1])]))["coherence"]
    assert found[0].item() == pytest.approx(found[1].item(), rel=1e-12)


def test_where_nobody_has_facts_there_is_nothing_to_perceive() -> None:
    toy = VARIANTS["p2-bot"].toy()
    bare = replace(exchange_with(toy, "tick"), facts=())
    assert "perception" not in toy.model.rewards(toy.model.batch([bare]))
    assert "receiver" not in toy.model.loss(toy.model.batch([bare])).parts


def test_an_inner_loop_without_rivals_leaves_head_and_receiver_as_they_are() -> None:
    toy = VARIANTS["p2-bot"].toy()
    weights = adaptable_parameters(toy.model)
    loss = loss_with(toy.model, weights, toy.batch(SUPPORT + QUERY))
    gradients = dict(zip(weights, torch.autograd.grad(loss.total, list(weights.values())), strict=True))
    still = {name for name, gradient in gradients.items() if not gradient.any()}
    assert {name.rpartition(".")[0] for name in still} == {
        "receiver",
        "receiver.map",
        "receiver.weight",
        "transmitter.choice.map",
    }


def test_it_judges_what_it_says() -> None:
    model = VARIANTS["p2-bot"].toy().model
    assert isinstance(model, RewardsReplies)
    assert not isinstance(VARIANTS["transfer-transfo"].toy().model, RewardsReplies)
    assert model.max_length == 512


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapters": Adapters("none")}, "must stay as it is"),
        ({"train_base": True}, "must stay as it is"),
        ({"receiver_size": 0}, "model.receiver_size: 0"),
        ({"perception_weight": -1.0}, "model.perception_weight: -1"),
    ],
)
def test_settings_that_cannot_judge_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        P2BotConfig("tiny", **settings)  # type: ignore[arg-type]


def test_facts_are_what_the_receiver_reads() -> None:
    toy = VARIANTS["p2-bot"].toy(double=True)
    exchange = exchange_with(toy, "i mend clocks.")
    own = toy.model.rewards(toy.model.batch([exchange]))["perception"].item()
    turned = replace(exchange, facts=exchange.negatives[0].facts, negatives=(replace(exchange, negatives=()),))
    other = toy.model.rewards(toy.model.batch([turned]))["perception"].item()
    assert own + other == pytest.approx(1, rel=1e-10)
    assert own != other
    assert FACTS[0] in toy.encoder.tokenizer.decode(exchange.facts)
