"""Query exchanges become samples: the reference's NLL, the generated reply, the reference's rank."""

import hashlib
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from menura.adaptation.weights import swapped_weights
from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange, Encoder
from menura.decoding.candidates import RankedReply, Ranker, Ranking, candidates
from menura.decoding.generate import Decoding, generate
from menura.evaluation.systems import UNCHANGED, System
from menura.metrics.hits import draw_candidates, rank_of
from menura.metrics.score import Sample
from menura.models.dialogue_model import (
    ChoosesReplies,
    DialogueModel,
    HasAuxiliaryTask,
    HasLatents,
    caching,
    nll_of,
    weighing,
)

ROWS_AT_ONCE = 16  # prompts generated in one batch: bounds memory, changes no reply


@dataclass
class Outputs:
    """The outputs of one or several folds: samples, and the cost of the replies."""

    scored: list[Sample] = field(default_factory=list)  # every query exchange, nothing generated
    generated: list[Sample] = field(default_factory=list)  # exchanges with a reply and ranks
    context_tokens: int = 0  # of all likely exchanges
    reply_tokens: int = 0
    reply_seconds: float = 0.0  # prefill and decoding, in sequence
    log_posteriors: list[Tensor] = field(default_factory=list)  # (B, K) each, of models with latents

    def add(self, other: "Outputs") -> None:
        """Add the outputs of another."""
        self.scored += other.scored
        self.generated += other.generated
        self.log_posteriors += other.log_posteriors
        self.context_tokens += other.context_tokens
        self.reply_tokens += other.reply_tokens
        self.reply_seconds += other.reply_seconds


@dataclass
class Evaluator:
    """Scores exchanges under given weights; replies are generated for ``replies`` exchanges of each fold (0 = all)."""

    model: DialogueModel[Any]
    encoder: Encoder
    decoding: Decoding
    max_new_tokens: int  # per reply
    replies: int
    candidates: int  # 0: nothing is ranked
    pool: Sequence[str]  # the replies from which distractors are drawn
    seed: int
    generates: bool = True
    ranking: Ranking = Ranking()  # of the candidates of a model with latents
    rank: Ranker | None = None  # replaces the ranking
    strength: float | None = None  # the weight of every persona; None: the model's own
    min_new_tokens: int = 0  # before a reply may end
    second_task: bool = False  # whether the model's auxiliary task is scored, too

    @torch.no_grad()
    def evaluate(self, folds: Sequence[Sequence[EncodedExchange]], system: System, *, prompt_limit: int = 0) -> Outputs:
        """Evaluate each fold's exchanges under a persona's weights, with what it reads before a context, and its cache.

        What it reads before a context leaves a sequence at ``prompt_limit`` tokens.
        """
        found = Outputs()
        chosen: list[tuple[int, EncodedExchange, Sample]] = []
        with self._under(system):
            for own in filter(None, folds):  # a persona that said nothing of itself is asked nothing
                exchanges = self._read_before(own, system, prompt_limit)
                samples = self._likelihoods(exchanges, found)
                if self.second_task and isinstance(self.model, HasAuxiliaryTask) and self.model.has_second_task:
                    samples = self._auxiliary(self.model, exchanges, samples)
                found.scored += samples
                found.context_tokens += sum(len(e.prefix) for e in exchanges)
                chosen += zip(range(self.replies or len(exchanges)), exchanges, samples, strict=False)
            # Generating and ranking take most of the time: they are skipped if only likelihoods are needed.
            if self.generates:
                self._generate(chosen, found)
        return found

    @torch.no_grad()
    def nll(
        self, folds: Sequence[Sequence[EncodedExchange]], system: System = UNCHANGED, *, prompt_limit: int = 0
    ) -> list[list[float]]:
        """Return −log p (nats) of each fold's replies under a persona, and nothing else."""
        with self._under(system):
            return [
                self.model.loss(self.model.batch(self._read_before(own, system, prompt_limit))).nll.tolist()
                for own in folds
            ]

    @contextmanager
    def _under(self, system: System) -> Iterator[None]:
        model = self.model
        with swapped_weights(model, system.weights), weighing(model, self.strength), caching(model, system.cache):
            yield

    def _read_before(self, own: Sequence[EncodedExchange], system: System, limit: int) -> list[EncodedExchange]:
        before = system.before
        return [self.encoder.after(e, before(e), limit) for e in own] if before else list(own)

    def _likelihoods(self, exchanges: Sequence[EncodedExchange], found: Outputs) -> list[Sample]:
        """Return each reference's NLL; with latents, also under the best and the posterior's likeliest latent."""
        batch = self.model.batch(exchanges)
        if not self._acts:
            each = self.model.loss(batch).nll.tolist()
            return [self._sample(exchange, nll) for exchange, nll in zip(exchanges, each, strict=True)]
        assert isinstance(self.model, HasLatents)
        under_latents = self.model.latent_nll(batch)
        found.log_posteriors.append(under_latents.log_posterior)
        columns = (under_latents.mixture.tolist(), under_latents.posterior.tolist(), under_latents.best.tolist())
        log_posteriors = under_latents.log_posterior.tolist()
        return [
            replace(
                self._sample(e, mixture), posterior_nll=posterior, best_nll=best, log_posterior=tuple(log_posterior)
            )
            for e, mixture, posterior, best, log_posterior in zip(exchanges, *columns, log_posteriors, strict=True)
        ]

    def _auxiliary(
        self, model: HasAuxiliaryTask, exchanges: Sequence[EncodedExchange], samples: Sequence[Sample]
    ) -> list[Sample]:
        """Add the auxiliary task's NLL to each sample, one by one, as each has its own seed."""
        labelled = []
        for number, (exchange, sample) in enumerate(zip(exchanges, samples, strict=True)):
            nll, tokens = model.auxiliary_nll(self.model.batch([exchange]), _seed(self.seed, exchange, number))
            labelled.append(replace(sample, auxiliary_nll=float(nll), auxiliary_tokens=int(tokens)))
        return labelled

    def _sample(self, exchange: EncodedExchange, nll: float) -> Sample:
        reference = text_of(self.encoder, exchange)
        sample = Sample(exchange.persona_id, exchange.dialogue_id, "", reference, nll, len(exchange.reply))
        if exchange.source is None:
            return sample
        context = tuple((turn.speaker, turn.text) for turn in exchange.source.context)
        return replace(sample, speaker=exchange.source.reply.speaker, context=context)

    @property
    def _acts(self) -> bool:
        """Whether the model has latents."""
        return isinstance(self.model, HasLatents) and self.model.latents > 0

    def _generate(self, chosen: Sequence[tuple[int, EncodedExchange, Sample]], found: Outputs) -> None:
        """Reply to each exchange and rank its reference, batched by length; the order is kept."""
        said: dict[int, Sample] = {}
        by_length = sorted(range(len(chosen)), key=lambda place: len(chosen[place][1].prefix))
        for start in range(0, len(by_length), ROWS_AT_ONCE):
            places = by_length[start : start + ROWS_AT_ONCE]
            prompts = self.model.batch([replace(chosen[place][1], reply=()) for place in places])
            seeds = [_seed(self.seed, chosen[place][1], chosen[place][0]) for place in places]
            began = time.perf_counter()
            # One prefill serves ranking and reply; candidates of latents prefill by themselves.
            state = self.model.prefill(prompts) if self.candidates or not self._acts else None
            reading = 0.0 if self._acts else time.perf_counter() - began
            ranks: list[tuple[int | None, int | None]] = [
                self._ranks(chosen[place][1], seeds[row], self._row_of(state, row)) if self.candidates else (None, None)
                for row, place in enumerate(places)
            ]
            began = time.perf_counter()
            replies, texts = self._replies(prompts, seeds, state)
            found.reply_seconds += reading + time.perf_counter() - began
            found.reply_tokens += sum(len(ids) + 1 for ids in replies)
            for place, (rank, likelihood_rank), ids, all_said in zip(places, ranks, replies, texts, strict=True):
                said[place] = replace(
                    chosen[place][2],
                    reply=self.encoder.reply_text(ids),
                    rank=rank,
                    likelihood_rank=likelihood_rank,
                    candidates=self.candidates,
                    said=all_said,
                )
        found.generated += [said[place] for place in range(len(chosen))]

    def _replies(
        self, prompts: Batch, seeds: Sequence[int], state: Any
    ) -> tuple[list[list[int]], list[tuple[str, ...]]]:
        """Return a reply to each prompt, and the candidates it was chosen from, if any."""
        if not self._acts:
            end = self.encoder.chat_format.ends
            settings = {
                "end": end,
                "max_new_tokens": self.max_new_tokens,
                "seeds": seeds,
                "prefilled": state,
                "min_new_tokens": self.min_new_tokens,
            }
            replies = generate(self.model, prompts, self.decoding, **settings)
            return replies, [()] * len(replies)
        ranked = self._candidates(prompts.exchanges, seeds)
        texts = [tuple(self.encoder.reply_text(one.ids) for one in found) for found in ranked]
        return [list(found[0].ids) for found in ranked], texts

    def _candidates(self, prompts: Sequence[EncodedExchange], seeds: Sequence[int]) -> list[list[RankedReply]]:
        return candidates(
            self.model,
            prompts,
            self.decoding,
            self.ranking,
            end=self.encoder.chat_format.ends,
            max_new_tokens=self.max_new_tokens,
            seeds=seeds,
            rank=self.rank,
            min_new_tokens=self.min_new_tokens,
        )

    def _row_of(self, state: Any, row: int) -> Any:
        return self.model.reorder_cache(state, torch.tensor([row], device=self.model.device))

    def _ranks(self, exchange: EncodedExchange, seed: int, prefilled: Any) -> tuple[int, int]:
        """Return the reference's rank among the candidates by the model's head, and by mean NLL per token.

        A model without a head ranks by NLL (spec section 9).
        """
        texts, gold = draw_candidates(
            text_of(self.encoder, exchange), self.pool, self.candidates, random.Random(f"{seed}:candidates")
        )
        replies = [self.encoder.reply_ids(text) for text in texts]
        batch = self.model.batch([replace(exchange, reply=reply) for reply in replies])
        scored = rank_of((nll_of(self.model, batch, prefilled) / batch.reply_lengths).tolist(), gold)
        if not (isinstance(self.model, ChoosesReplies) and self.model.chooses):
            return scored, scored
        return rank_of((-self.model.reply_scores(batch, prefilled)).tolist(), gold), scored


def text_of(encoder: Encoder, exchange: EncodedExchange) -> str:
    """Return the reference of an exchange as text."""
    return encoder.tokenizer.decode(exchange.reply[:-1]).removeprefix(encoder.chat_format.reply_lead)


def _seed(seed: int, exchange: EncodedExchange, number: int) -> int:
    """Return a seed for each exchange, independent of the other exchanges."""
    key = f"{seed}:{exchange.persona_id}:{exchange.dialogue_id}:{number}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6])
