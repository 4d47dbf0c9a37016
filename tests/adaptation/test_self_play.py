from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Voice, part
from torch import Tensor

from menura.adaptation.plain import Finetune
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
from menura.adaptation.weights import adaptable
from menura.batches.batch import Batch
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError

BAKER = part("o1", "hi", "i bake bread.", facts=("i am a baker.",))
QUICK = SelfPlay(begins=0.0, games=3, turns=2, limit=5)


def episode_of(voice: Voice) -> EncodedEpisode:
    """Return the clockmaker's episode; every exchange has a baker as its rival."""
    rivals = voice.dialogues((BAKER,))[0]
    support, query = (
        tuple(tuple(replace(e, rivals=rivals) for e in dialogue) for dialogue in voice.dialogues(parts))
        for parts in (SUPPORT, QUERY)
    )
    return EncodedEpisode("mira", support, query)


def games_of(voice: Voice, *, limit: int = 5, seed: int = 1, number: int = 1) -> Games:
    opening = list(openings(episode_of(voice), voice.encoder.layout))[number]
    return Games(voice.model, voice.model, opening, limit, torch.Generator().manual_seed(seed))


def shown(voice: Voice, ids: tuple[int, ...]) -> str:
    return voice.encoder.tokens._tokenizer.decode(list(ids), skip_special_tokens=False).replace("\n", "/")


def test_both_speakers_read_the_same_turns_each_from_its_own_side() -> None:
    voice = VARIANTS["p2-bot"].voice()
    rounds = games_of(voice).play(2, 2)
    assert [own for _, own in rounds] == [True, False, True]
    (first, partner, second) = (exchanges[0] for exchanges, _ in rounds)
    content = [tuple(token for token in e.reply if token != voice.end) for e in (first, partner)]
    layout = voice.encoder.layout
    assert first.context == games_of(voice).opening.context
    assert second.context == (
        *first.context[: -len(layout.reply_open)],
        *layout.turn(content[0], own=True),
        *layout.turn(content[1], own=False),
        *layout.reply_open,
    )
    asked = (voice.encoder.tokens.encode(text) for text in ("good evening", "half past six, good evening!", "tired?"))
    flipped = [layout.turn(said, own=number % 2 == 0) for number, said in enumerate((*asked, content[0]))]
    assert partner.context == (*(token for turn in flipped for token in turn), *layout.reply_open)
    assert first.facts == second.facts == games_of(voice).opening.facts
    assert "baker" in shown(voice, partner.facts)
    for exchange in (first, partner, second):
        assert sum(tokens for _, tokens in exchange.turns) + len(layout.reply_open) == len(exchange.context)
        assert [own for own, _ in exchange.turns] == [own for own, _ in turns_of(exchange, layout) or ()]


def test_each_speakers_rivals_are_the_other() -> None:
    voice = VARIANTS["p2-bot"].voice()
    own, partner, _ = (exchanges[0] for exchanges, _ in games_of(voice).play(2, 2))
    assert [rival.facts for rival in partner.rivals] == [own.facts]
    assert [rival.facts for rival in own.rivals] == [partner.facts]


def test_what_is_sampled_follows_the_models_probabilities() -> None:
    voice = VARIANTS["p2-bot"].voice()
    exchange = voice.dialogues(SUPPORT)[0][0]
    with torch.no_grad():
        batch = voice.model.batch([exchange])
        log_probs, _ = voice.model.advance(voice.model.begin(batch), batch.prefix.ids[:, -1])
    wanted = log_probs[0].exp()
    drawn = sampled(voice.model, [exchange] * 1500, voice.end, 1, torch.Generator().manual_seed(0))
    found = torch.bincount(torch.tensor([reply[0] for reply in drawn]), minlength=len(wanted)) / 1500
    likely = wanted.argsort(descending=True)[:8]
    assert float((found[likely] - wanted[likely]).abs().max()) < 0.03


def test_a_sampled_reply_ends_with_its_end_token_or_at_the_limit() -> None:
    voice = VARIANTS["p2-bot"].voice()
    prompts = [voice.dialogues(SUPPORT)[0][0]] * 40
    free = sampled(voice.model, prompts, voice.end, 6, torch.Generator().manual_seed(0))
    end = free[0][2]  # any token that is drawn now and then
    replies = sampled(voice.model, prompts, end, 6, torch.Generator().manual_seed(0))
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
    voice = VARIANTS["p2-bot"].voice(double=True)
    episode, weights = episode_of(voice), list(adaptable(voice.model).values())
    alone = replace(QUICK, turns=1, discount=0.0)
    plain = torch.autograd.grad(Finetune().objective(voice.model, episode).total, weights)
    ours = torch.autograd.grad(alone.objective(voice.model, episode).total, weights)
    difference = torch.cat([(a - b).reshape(-1) for a, b in zip(ours, plain, strict=True)]) / alone.play

    opening = next(openings(episode, voice.encoder.layout))
    stream = seeded_as(voice, episode)
    ((exchanges, _),) = Games(voice.model, voice.model, opening, alone.limit, stream).play(3, 1)
    found = voice.model.rewards(voice.model.batch(exchanges))
    worth = sum(getattr(Rewards(), name) * value for name, value in found.items())
    bare = [replace(exchange, rivals=()) for exchange in exchanges]
    nats = [voice.model.loss(voice.model.batch([exchange])).nats[0] for exchange in bare]
    wanted = torch.zeros_like(difference)
    for game, own in enumerate(nats):
        others = (worth.sum() - worth[game]) / 2
        gradients = torch.autograd.grad(-own, weights, allow_unused=True)
        flat = torch.cat(
            [(torch.zeros_like(w) if g is None else g).reshape(-1) for w, g in zip(weights, gradients, strict=True)]
        )
        wanted -= (worth[game] - others) * flat / 3
    assert float(difference.abs().max()) > 0
    assert float((difference - wanted).abs().max()) < 1e-10


def seeded_as(voice: Voice, episode: EncodedEpisode) -> torch.Generator:
    from menura.adaptation.self_play import _stream  # noqa: PLC0415  # the one test that must draw the same

    del voice
    return _stream(episode)


@dataclass
class Fond:
    """What judges in place of a model: a reply is worth the share of one token in it."""

    voice: Voice
    token: int
    limit: int = 512

    def rewards(self, batch: Batch) -> Mapping[str, Tensor]:
        worth = [e.reply.count(self.token) / max(len(e.reply), 1) for e in batch.exchanges]
        return {"coherence": torch.tensor(worth)}


def test_playing_makes_a_token_likelier_that_is_rewarded(monkeypatch: pytest.MonkeyPatch) -> None:
    voice = VARIANTS["p2-bot"].voice()
    model, episode = voice.model, episode_of(voice)
    token = voice.encoder.tokens.encode("e")[0]
    monkeypatch.setattr(model, "rewards", Fond(voice, token).rewards)
    opening = voice.model.batch([next(openings(episode, voice.encoder.layout))])

    def chance() -> float:
        with torch.no_grad():
            log_probs, _ = model.advance(model.begin(opening), opening.prefix.ids[:, -1])
        return float(log_probs[0, token].exp())

    method = SelfPlay(begins=0.0, play=30.0, games=16, turns=1, limit=4, rewards=Rewards(coherence=1.0))
    before, outer = chance(), torch.optim.Adam(adaptable(model).values(), lr=0.02)
    for step in range(25):
        outer.zero_grad()
        # Another rival each step, as a training has it: the draws differ.
        turned = [
            (replace(e, rivals=(replace(e.rivals[0], dialogue_id=str(step), reply=(step,)),)),)
            for e in episode.query[0]
        ]
        method.objective(model, replace(episode, support=(), query=tuple(turned))).total.backward()
        outer.step()
    assert chance() > 4 * before


def test_the_same_episode_plays_the_same_games_and_another_others() -> None:
    voice = VARIANTS["p2-bot"].voice()
    episode = episode_of(voice)
    first, again = (QUICK.objective(voice.model, episode) for _ in range(2))
    assert torch.equal(first.total, again.total)
    assert {name: value.item() for name, value in first.parts.items()} == {n: v.item() for n, v in again.parts.items()}
    others = tuple(tuple(replace(e, rivals=(replace(e.rivals[0], reply=(70,)),)) for e in d) for d in episode.query)
    assert QUICK.objective(voice.model, replace(episode, query=others)).parts["fluency"] != first.parts["fluency"]


def test_torchs_own_stream_is_left_alone() -> None:
    voice = VARIANTS["p2-bot"].voice()
    before = torch.get_rng_state()
    QUICK.objective(voice.model, episode_of(voice))
    assert torch.equal(torch.get_rng_state(), before)


def test_its_loss_tells_the_real_replies_and_names_the_rewards() -> None:
    voice = VARIANTS["p2-bot"].voice()
    episode = episode_of(voice)
    plain, ours = Finetune().objective(voice.model, episode), QUICK.objective(voice.model, episode)
    assert torch.equal(ours.nats, plain.nats)
    assert torch.equal(ours.tokens, plain.tokens)
    assert set(ours.parts) - set(plain.parts) == {"fluency", "coherence"}


@pytest.mark.parametrize("method", [replace(QUICK, begins=0.5), replace(QUICK, play=0.0)])
def test_until_it_begins_it_is_pooled_training(method: SelfPlay) -> None:
    voice = VARIANTS["p2-bot"].voice()
    plain = Finetune().objective(voice.model, episode_of(voice))
    assert torch.equal(method.objective(voice.model, episode_of(voice), 0.49).total, plain.total)


def test_it_begins_at_its_share_of_the_training() -> None:
    voice = VARIANTS["p2-bot"].voice()
    plain = Finetune().objective(voice.model, episode_of(voice))
    ours = replace(QUICK, begins=0.5).objective(voice.model, episode_of(voice), 0.5)
    assert not torch.equal(ours.total, plain.total)


def test_a_game_that_grows_too_long_for_the_model_ends_early() -> None:
    voice = VARIANTS["p2-bot"].voice()
    longest = len(games_of(voice).opening.prefix)
    voice.model.limit = longest + 5
    assert len(games_of(voice).play(2, 3)) == 1
    voice.model.limit = longest + 4
    assert games_of(voice).play(2, 3) == []
    plain = Finetune().objective(voice.model, episode_of(voice))
    voice.model.limit = 4
    assert torch.equal(QUICK.objective(voice.model, episode_of(voice)).total, plain.total)


def test_no_game_begins_from_a_context_whose_first_turn_was_cut() -> None:
    voice = VARIANTS["p2-bot"].voice()
    encoder = replace(voice.encoder, limit=60)
    cut = encoder.dialogue(part("long", "tell me of the goat " * 6, "she is old"), "mira")[0]
    assert turns_of(cut, voice.encoder.layout) is None
    rivals = voice.dialogues((BAKER,))[0]
    episode = EncodedEpisode("mira", (), ((replace(cut, rivals=rivals),),))
    assert not list(openings(episode, voice.encoder.layout))


def test_a_model_that_judges_nothing_cannot_play() -> None:
    voice = VARIANTS["transfer-transfo"].voice()
    with pytest.raises(ConfigError, match="judges what it says"):
        QUICK.objective(voice.model, episode_of(voice))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"games": 1}, "method.games: 1"),
        ({"turns": 0}, "method.turns: 0"),
        ({"limit": 0}, "method.limit: 0"),
        ({"begins": 1.5}, "method.begins: 1.5"),
        ({"discount": -0.1}, "method.discount: -0.1"),
        ({"play": -1.0}, "method.play: -1.0"),
    ],
)
def test_settings_that_play_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SelfPlay(**settings)
