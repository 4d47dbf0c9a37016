"""Mutual self-play: two personas talk, and policy gradient maximises the rewards (P2 Bot: Liu et al., 2020).

Shape letters: B parallel games, V vocabulary.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from menura.adaptation.finetune import AdaptsByInnerLoop, support_and_query_loss
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.weights import selected_parameters
from menura.batches.chat_format import ChatFormat, turn_ids
from menura.batches.encode import EncodedEpisode, EncodedExchange, Ids
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, Loss, RewardsReplies

Turn = tuple[bool, Ids]  # whether it is the episode's persona's (not the partner's), and the tokens


@dataclass(frozen=True)
class Rewards:
    """The weight of each reward, which is in 0..1; rewards that a model cannot compute are left out.

    ``fluency``: the reply's likelihood by the base alone; ``coherence``: the next-utterance head's probability that it
    follows; ``perception``: the receiver's probability that it is of the persona's facts, not of a negative's.
    """

    fluency: float = 0.4
    coherence: float = 0.1
    perception: float = 0.5


@dataclass(frozen=True)
class SelfPlay(AdaptsByInnerLoop):
    """Minimise the pooled loss plus ``policy_loss_weight`` times the policy loss of self-play.

    After the share ``start_after`` (0..1) of training, ``num_games`` games continue a dialogue of the episode at an
    exchange with negatives, for ``num_replies`` replies of the persona of at most ``max_new_tokens`` tokens each; the
    partner has the facts of a negative. Only the persona's replies are trained, as in the paper, but both speakers use
    the present weights. The return of a reply is its own rewards and those of all later turns, of both speakers,
    discounted by ``discount`` per turn.
    """

    name: ClassVar[str] = "self-play"
    has_inner_loop: ClassVar[bool] = True

    inner: InnerLoop = field(default_factory=InnerLoop)
    trainable: str = ""  # as in Finetune
    policy_loss_weight: float = 0.1
    start_after: float = 0.5
    num_games: int = 4
    num_replies: int = 2
    max_new_tokens: int = 24
    discount: float = 0.5
    rewards: Rewards = field(default_factory=Rewards)

    second_order = False

    def __post_init__(self) -> None:
        """Refuse settings without a game, or with only one, which has no baseline."""
        for name, least in (("num_games", 2), ("num_replies", 1), ("max_new_tokens", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must be at least {least}")
        for name in ("start_after", "discount"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must lie between 0 and 1")
        if self.policy_loss_weight < 0:
            raise ConfigError(f"method.policy_loss_weight: {self.policy_loss_weight}, must not be negative")

    def attach(self, model: DialogueModel[Any]) -> None:
        """Add nothing, check only: ConfigError for a model without rewards, or with nothing to adapt."""
        _with_rewards(model)
        selected_parameters(model, self.trainable)

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the pooled loss; once games are played, plus the policy loss of the rewards (REINFORCE).

        ``progress`` is the share of training done, 0 to 1; games begin at ``start_after``. Random numbers are seeded by
        the episode. ``parts`` has the mean rewards. Raises ConfigError for a model without rewards.
        """
        supervised = support_and_query_loss(model, episode)
        comparable = any(e.negatives for e in chain.from_iterable(episode.query + episode.support))
        if progress < self.start_after or not self.policy_loss_weight or not comparable:
            return supervised
        rewarding = _with_rewards(model)
        opening = next(openings(episode, rewarding.chat_format), None)
        if opening is None:
            return supervised
        games = Games(model, rewarding, opening, self.max_new_tokens, _seeded_generator(episode))
        played = games.play(self.num_games, self.num_replies)
        if not played:
            return supervised
        found = [rewarding.rewards(model.batch(exchanges)) for exchanges, _ in played]
        returns = discounted([self._worth(rewards) for rewards in found], self.discount)
        learnt = [(*turn, value) for turn, value in zip(played, returns, strict=True) if turn[1]]
        # Negatives are for rewards: with them the loss would train the head on generated replies.
        said = model.batch([replace(exchange, negatives=()) for exchanges, _, _ in learnt for exchange in exchanges])
        policy = (torch.cat([advantages(value) for _, _, value in learnt]) * model.loss(said).nll).mean()
        total = supervised.total + self.policy_loss_weight * policy
        return Loss(total, supervised.nll, supervised.tokens, {**supervised.parts, **_means(found)})

    def _worth(self, rewards: Mapping[str, Tensor]) -> Tensor:
        """Return (B,) the weighted sum of rewards."""
        return torch.stack([getattr(self.rewards, name) * value for name, value in rewards.items()]).sum(0)


@dataclass(frozen=True)
class Games:
    """Dialogues of a model with itself, in parallel, all from one opening.

    ``reward_model`` is the same model, as one that scores replies (``RewardsReplies``): here it gives the chat format
    and the longest sequence.
    """

    model: DialogueModel[Any]
    reward_model: RewardsReplies
    opening: EncodedExchange
    max_new_tokens: int
    generator: torch.Generator

    def play(self, num_games: int, num_replies: int) -> list[tuple[list[EncodedExchange], bool]]:
        """Return every round: each game's reply, as an exchange, and whether the persona said it.

        The persona has the first and the last turn, ``num_replies`` in all. Games end early if a further turn could be
        too long for the model.
        """
        said: list[list[Turn]] = [
            list(turns_of(self.opening, self.reward_model.chat_format) or ()) for _ in range(num_games)
        ]
        rounds: list[tuple[list[EncodedExchange], bool]] = []
        for number in range(2 * num_replies - 1):
            own = number % 2 == 0
            prompts = [self._prompt(turns_so_far, own=own) for turns_so_far in said]
            if max(len(prompt.prefix) for prompt in prompts) + self.max_new_tokens > self.reward_model.max_length:
                break
            replies = sampled(
                self.model, prompts, self.reward_model.chat_format.end, self.max_new_tokens, self.generator
            )
            rounds.append(([replace(p, reply=reply) for p, reply in zip(prompts, replies, strict=True)], own))
            for turns_so_far, reply in zip(said, replies, strict=True):
                turns_so_far.append(
                    (own, tuple(token for token in reply if token != self.reward_model.chat_format.end))
                )
        return rounds

    def _prompt(self, said: Sequence[Turn], *, own: bool) -> EncodedExchange:
        """Format the dialogue as the prompt of the next speaker: the persona, or a negative as its partner."""
        chat_format, partner = self.reward_model.chat_format, self.opening.negatives[0]
        pieces = [(whose == own, turn_ids(chat_format, words, own=whose == own)) for whose, words in said]
        context = (*chain.from_iterable(piece for _, piece in pieces), *chat_format.reply_open)
        turns = tuple((mine, len(piece)) for mine, piece in pieces)
        if own:
            return replace(self.opening, context=context, turns=turns, reply=())
        bare = replace(self.opening, negatives=())
        return replace(bare, facts=partner.facts, context=context, turns=turns, reply=(), negatives=(bare,))


@torch.no_grad()
def sampled(
    model: DialogueModel[Any],
    prompts: Sequence[EncodedExchange],
    end: int,
    max_new_tokens: int,
    generator: torch.Generator,
) -> list[Ids]:
    """Return replies sampled from the model's whole distribution, the end token included if it was drawn.

    The distribution is not truncated (top-p): the gradient of log p would then be that of another distribution.
    """
    batch = model.batch(prompts)
    state, last = model.prefill(batch), batch.prefix.ids[:, -1]
    replies: list[list[int]] = [[] for _ in prompts]
    for _ in range(max_new_tokens):
        log_probs, state = model.step(state, last)  # (B, V)
        drawn = torch.multinomial(log_probs.double().exp().cpu(), 1, generator=generator)[:, 0]
        running = [reply for reply in replies if not reply or reply[-1] != end]
        if not running:
            break
        for reply, token in zip(replies, drawn.tolist(), strict=True):
            if not reply or reply[-1] != end:
                reply.append(token)
        last = drawn.to(last.device)
    return [tuple(reply) for reply in replies]


def openings(episode: EncodedEpisode, chat_format: ChatFormat) -> Iterator[EncodedExchange]:
    """Yield possible openings of a game: exchanges with a negative and a context that either speaker can read."""
    exchanges = chain.from_iterable(episode.query + episode.support)
    return (e for e in exchanges if e.negatives and turns_of(e, chat_format) is not None)


def turns_of(exchange: EncodedExchange, chat_format: ChatFormat) -> tuple[Turn, ...] | None:
    """Return the turns of a context; None if the first was truncated."""
    found: list[Turn] = []
    start = 0
    for own, tokens in exchange.turns:
        words = chat_format.content(exchange.context[start : start + tokens], own=own)
        if words is None:
            return None
        found.append((own, words))
        start += tokens
    return tuple(found)


def discounted(worths: Sequence[Tensor], discount: float) -> list[Tensor]:
    """Return the discounted return (B,) of each round: its own reward and, per round ``discount``, the later ones."""
    returns: list[Tensor] = []
    for worth in reversed(worths):
        returns.append(worth + discount * returns[-1] if returns else worth)
    return returns[::-1]


def advantages(returns: Tensor) -> Tensor:
    """Return (B,) each game's return minus the mean return of the other games of its round.

    The mean of the others does not depend on this game's samples, so it does not bias the gradient.
    """
    others = (returns.sum() - returns) / (len(returns) - 1)
    return returns - others


def _means(found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    names = dict.fromkeys(name for rewards in found for name in rewards)
    return {name: torch.stack([rewards[name].mean() for rewards in found if name in rewards]).mean() for name in names}


def _with_rewards(model: DialogueModel[Any]) -> RewardsReplies:
    if not isinstance(model, RewardsReplies):
        raise ConfigError(
            "self-play needs a model that judges what it says", hint="--set model=p2_bot", code="method_misfit"
        )
    return model


def _seeded_generator(episode: EncodedEpisode) -> torch.Generator:
    """Return a generator seeded by the episode alone, its negatives included, which differ from step to step."""
    exchanges = chain.from_iterable(episode.support + episode.query)
    said = [(e.ids, [negative.ids for negative in e.negatives]) for e in exchanges]
    digest = hashlib.sha256(repr((episode.persona_id, said)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:6]))
