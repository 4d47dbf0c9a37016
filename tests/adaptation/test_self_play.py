from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy, part, spelled
from torch import Tensor

from menura.adaptation.finetune import Finetune
from menura.adaptation.self_play import (
    Games,
    Rewards,
    SelfPlay,
    advantages,
    discounted,
    openings,
    sampled,
    turns_of,
)
from menura.adaptation.weights import adaptable_parameters
from menura.batches.batch import Batch
from menura.batches.chat_format import turn_ids
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError

BAKER = part("o1", "hi", "i bake bread.", facts=("i am a baker.",))
QUICK = SelfPlay(start_after=0.0, num_games=3, num_replies=2, max_new_tokens=5)


def episode_of(toy: Toy) -> EncodedEpisode:
    """Return the clockmaker's episode; every exchange has a baker as its rival."""
    negatives = toy.dialogues((BAKER,))[0]
    support, query = (
        tuple(tuple(replace(e, negatives=negatives) for e in dialogue) for dialogue in toy.dialogues(parts))
        for parts in (SUPPORT, QUERY)
    )
    return EncodedEpisode("mira", support, query)


def games_of(toy: Toy, *, limit: int = 5, seed: int = 1, number: int = 1) -> Games:
    opening = list(openings(episode_of(toy), toy.encoder.chat_format))[number]
    return Games(toy.model, toy.model, opening, limit, torch.Generator().manual_seed(seed))


def shown(toy: Toy, ids: tuple[int, ...]) -> str:
    return spelled(toy.encoder.tokenizer, ids).replace("\n", "/")


def test_both_speakers_read_the_same_turns_each_from_its_own_side() -> None:
    toy = VARIANTS["p2-bot"].toy()
    rounds = games_of(toy).play(2, 2)
    assert [own for _, own in rounds] == [True, False, True]
    (first, partner, second) = (exchanges[0] for exchanges, _ in rounds)
    content = [tuple(token for token in e.reply if token != toy.end) for e in (first, partner)]
    chat_format = toy.encoder.chat_format
    assert first.context == games_of(toy).opening.context
    assert second.context == (
        *first.context[: -len(chat_format.reply_open)],
        *turn_ids(chat_format, content[0], own=True),
        *turn_ids(chat_format, content[1], own=False),
        *chat_format.reply_open,
    )
    asked = (toy.encoder.tokenizer.encode(text) for text in ("good evening", "half past six, good evening!", "tired?"))
    flipped = [turn_ids(chat_format, said, own=number % 2 == 0) for number, said in enumerate((*asked, content[0]))]
    assert partner.context == (*(token for turn in flipped for token in turn), *chat_format.reply_open)
    assert first.facts == second.facts == games_of(toy).opening.facts
    assert "baker" in shown(toy, partner.facts)
    for exchange in (first, partner, second):
        assert sum(tokens for _, tokens in exchange.turns) + len(chat_format.reply_open) == len(exchange.context)
        assert [own for own, _ in exchange.turns] == [own for own, _ in turns_of(exchange, chat_format) or ()]


def test_each_speakers_rivals_are_the_other() -> None:
    toy = VARIANTS["p2-bot"].toy()
    own, partner, _ = (exchanges[0] for exchanges, _ in games_of(toy).play(2, 2))
    assert [rival.facts for rival in partner.negatives] == [own.facts]
    assert [rival.facts for rival in own.negatives] == [partner.facts]


def test_what_is_sampled_follows_the_models_probabilities() -> None:
    toy = VARIANTS["p2-bot"].toy()
    exchange = toy.dialogues(SUPPORT)[0][0]
    with torch.no_grad():
        batch = toy.model.batch([exchange])
        log_probs, _ = toy.model.step(toy.model.prefill(batch), batch.prefix.ids[:, -1])
    wanted = log_probs[0].exp()
    drawn = sampled(toy.model, [exchange] * 1500, toy.end, 1, torch.Generator().manual_seed(0))
    found = torch.bincount(torch.tensor([reply[0] for reply in drawn]), minlength=len(wanted)) / 1500
    likely = wanted.argsort(descending=True)[:8]
    assert float((found[likely] - wanted[likely]).abs().max()) < 0.03


def test_a_sampled_reply_ends_with_its_end_token_or_at_the_limit() -> None:
    toy = VARIANTS["p2-bot"].toy()
    prompts = [toy.dialogues(SUPPORT)[0][0]] * 40
    free = sampled(toy.model, prompts, toy.end, 6, torch.Generator().manual_seed(0))
    end = free[0][2]  # any token that is drawn now and then
    replies = sampled(toy.model, prompts, end, 6, torch.Generator().manual_seed(0))
    assert all(end not in reply[:-1] for reply in replies)
    assert all(reply[-1] == end or len(reply) == 6 for reply in replies)
    assert {reply[-1] == end for reply in replies} == {True, False}
    assert len(replies[0]) == 3


def test_a_round_earns_what_followed_it_discounted() -> None:
    returns = discounted([torch.tensor([1.0, 0.0]), torch.tensor([2.0, 4.0]), torch.tensor([4.0, 8.0])], 0.5)
    assert [value.tolist() for value in returns] == [[3.0, 4.0], [4.0, 8.0], [4.0, 8.0]]


def test_an_advantage_is_over_the_mean_of_the_other_games() -> None:
    assert advantages(torch.tensor([1.0, 2.0, 6.0])).tolist() == [-3.0, -1.5, 4.5]
    assert advantages(torch.tensor([2.0, 2.0])).tolist() == [0.0, 0.0]


def test_the_policy_gradient_is_the_advantage_times_that_of_log_p() -> None:
    toy = VARIANTS["p2-bot"].toy(double=True)
    episode, weights = episode_of(toy), list(adaptable_parameters(toy.model).values())
    alone = replace(QUICK, num_replies=1, discount=0.0)
    plain = torch.autograd.grad(Finetune().objective(toy.model, episode).total, weights)
    ours = torch.autograd.grad(alone.objective(toy.model, episode).total, weights)
    difference = torch.cat([(a - b).reshape(-1) for a, b in zip(ours, plain, strict=True)]) / alone.policy_loss_weight

    opening = next(openings(episode, toy.encoder.chat_format))
    generator = seeded_as(toy, episode)
    ((exchanges, _),) = Games(toy.model, toy.model, opening, alone.max_new_tokens, generator).play(3, 1)
    found = toy.model.rewards(toy.model.batch(exchanges))
    worth = sum(getattr(Rewards(), name) * value for name, value in found.items())
    bare = [replace(exchange, negatives=()) for exchange in exchanges]
    nll = [toy.model.loss(toy.model.batch([exchange])).nll[0] for exchange in bare]
    wanted = torch.zeros_like(difference)
    for game, own in enumerate(nll):
        others = (worth.sum() - worth[game]) / 2
        gradients = torch.autograd.grad(-own, weights, allow_unused=True)
        flat = torch.cat(
            [(torch.zeros_like(w) if g is None else g).reshape(-1) for w, g in zip(weights, gradients, strict=True)]
        )
        wanted -= (worth[game] - others) * flat / 3
    assert float(difference.abs().max()) > 0
    assert float((difference - wanted).abs().max()) < 1e-10


def seeded_as(toy: Toy, episode: EncodedEpisode) -> torch.Generator:
    from menura.adaptation.self_play import _seeded_generator  # noqa: PLC0415  # the one test that must draw the same

    del toy
    return _seeded_generator(episode)


@dataclass
class Fond:
    """What judges in place of a model: a reply is worth the share of one token in it."""

    toy: Toy
    token: int
    limit: int = 512

    def rewards(self, batch: Batch) -> Mapping[str, Tensor]:
        worth = [e.reply.count(self.token) / max(len(e.reply), 1) for e in batch.exchanges]
        return {"coherence": torch.tensor(worth)}


def test_playing_makes_a_token_likelier_that_is_rewarded(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = VARIANTS["p2-bot"].toy()
    model, episode = toy.model, episode_of(toy)
    token = toy.encoder.tokenizer.encode("e")[0]
    monkeypatch.setattr(model, "rewards", Fond(toy, token).rewards)
    opening = toy.model.batch([next(openings(episode, toy.encoder.chat_format))])

    def chance() -> float:
        with torch.no_grad():
            log_probs, _ = model.step(model.prefill(opening), opening.prefix.ids[:, -1])
        return float(log_probs[0, token].exp())

    method = SelfPlay(
        start_after=0.0,
        policy_loss_weight=30.0,
        num_games=16,
        num_replies=1,
        max_new_tokens=4,
        rewards=Rewards(coherence=1.0),
    )
    before, outer = chance(), torch.optim.Adam(adaptable_parameters(model).values(), lr=0.02)
    for step in range(25):
        outer.zero_grad()
        # Another rival each step, as a training has it: the draws differ.
        turned = [
            (replace(e, negatives=(replace(e.negatives[0], dialogue_id=str(step), reply=(step,)),)),)
            for e in episode.query[0]
        ]
        method.objective(model, replace(episode, support=(), query=tuple(turned))).total.backward()
        outer.step()
    assert chance() > 4 * before


def test_the_same_episode_plays_the_same_games_and_another_others() -> None:
    toy = VARIANTS["p2-bot"].toy()
    episode = episode_of(toy)
    first, again = (QUICK.objective(toy.model, episode) for _ in range(2))
    assert torch.equal(first.total, again.total)
    assert {name: value.item() for name, value in first.parts.items()} == {n: v.item() for n, v in again.parts.items()}
    others = tuple(
        tuple(replace(e, negatives=(replace(e.negatives[0], reply=(70,)),)) for e in d) for d in episode.query
    )
    assert QUICK.objective(toy.model, replace(episode, query=others)).parts["fluency"] != first.parts["fluency"]


def test_torchs_own_stream_is_left_alone() -> None:
    toy = VARIANTS["p2-bot"].toy()
    before = torch.get_rng_state()
    QUICK.objective(toy.model, episode_of(toy))
    assert torch.equal(torch.get_rng_state(), before)


def test_its_loss_tells_the_real_replies_and_names_the_rewards() -> None:
    toy = VARIANTS["p2-bot"].toy()
    episode = episode_of(toy)
    plain, ours = Finetune().objective(toy.model, episode), QUICK.objective(toy.model, episode)
    assert torch.equal(ours.nll, plain.nll)
    assert torch.equal(ours.tokens, plain.tokens)
    assert set(ours.parts) - set(plain.parts) == {"fluency", "coherence"}


@pytest.mark.parametrize("method", [replace(QUICK, start_after=0.5), replace(QUICK, policy_loss_weight=0.0)])
def test_until_it_begins_it_is_pooled_training(method: SelfPlay) -> None:
    toy = VARIANTS["p2-bot"].toy()
    plain = Finetune().objective(toy.model, episode_of(toy))
    assert torch.equal(method.objective(toy.model, episode_of(toy), 0.49).total, plain.total)


def test_it_begins_at_its_share_of_the_training() -> None:
    toy = VARIANTS["p2-bot"].toy()
    plain = Finetune().objective(toy.model, episode_of(toy))
    ours = replace(QUICK, start_after=0.5).objective(toy.model, episode_of(toy), 0.5)
    assert not torch.equal(ours.total, plain.total)


def test_a_game_that_grows_too_long_for_the_model_ends_early() -> None:
    toy = VARIANTS["p2-bot"].toy()
    longest = len(games_of(toy).opening.prefix)
    toy.model.max_length = longest + 5
    assert len(games_of(toy).play(2, 3)) == 1
    toy.model.max_length = longest + 4
    assert games_of(toy).play(2, 3) == []
    plain = Finetune().objective(toy.model, episode_of(toy))
    toy.model.max_length = 4
    assert torch.equal(QUICK.objective(toy.model, episode_of(toy)).total, plain.total)


def test_no_game_begins_from_a_context_whose_first_turn_was_cut() -> None:
    toy = VARIANTS["p2-bot"].toy()
    encoder = replace(toy.encoder, max_length=60)
    cut = encoder.dialogue(part("long", "tell me of the goat " * 6, "she is old"), "mira")[0]
    assert turns_of(cut, toy.encoder.chat_format) is None
    negatives = toy.dialogues((BAKER,))[0]
    episode = EncodedEpisode("mira", (), ((replace(cut, negatives=negatives),),))
    assert not list(openings(episode, toy.encoder.chat_format))


def test_a_model_that_judges_nothing_cannot_play() -> None:
    toy = VARIANTS["transfer-transfo"].toy()
    with pytest.raises(ConfigError, match="judges what it says"):
        QUICK.objective(toy.model, episode_of(toy))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_games": 1}, "method.num_games: 1"),
        ({"num_replies": 0}, "method.num_replies: 0"),
        ({"max_new_tokens": 0}, "method.max_new_tokens: 0"),
        ({"start_after": 1.5}, "method.start_after: 1.5"),
        ({"discount": -0.1}, "method.discount: -0.1"),
        ({"policy_loss_weight": -1.0}, "method.policy_loss_weight: -1.0"),
    ],
)
def test_settings_that_play_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SelfPlay(**settings)
