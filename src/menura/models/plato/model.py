"""PLATO: one transformer with two attention masks, a discrete latent variable, and a head for response selection.

Bao et al., 2020, "PLATO: Pre-trained Dialogue Generation Model with Discrete Latent Variable". This module has the
objective and the replies' NLL under latents; the network is in ``network``. Shape letters: B exchanges, S latents in
use, K latents, D width.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch
from menura.batches.collate import Ids
from menura.batches.encode import EncodedExchange
from menura.batches.plato_inputs import PlatoInputs
from menura.models.dialogue_model import LatentNll, Loss, mean_loss
from menura.models.layers import latent as acts
from menura.models.layers.embeddings_and_heads import wide
from menura.models.layers.length_bucketing import TOKENS_AT_ONCE, buckets
from menura.models.layers.transformer import Sizes
from menura.models.plato.config import PlatoConfig
from menura.models.plato.negatives import Negatives
from menura.models.plato.network import Contexts, Drawing, PlatoState
from menura.models.plato.recognition import ReadContexts, ReadsContextsOnce
from menura.models.plato.reply_clusters import ReplyClusters, ReplyReader
from menura.models.plato.shared_context import SharedPrefix

SCORED_AT_ONCE = 3072  # reply tokens of all latents in one forward pass
ALL = 1 << 30


@dataclass(frozen=True)
class LatentScores:
    """Under head slots: (B, S) NLL of each reply, (B, S) NLL of its bag of words, and (B, K) log p(z | c)."""

    nll: Tensor
    bags: Tensor | None
    log_prior: Tensor


class Plato(ReadsContextsOnce):
    """``loss`` in evaluation is −log Σ_z p(z | c) p(r | c, z), exactly, as ``step`` predicts.

    In training, inside ``dropout``, it is PLATO's objective: the reply's NLL under one drawn latent, its bag of words,
    and response selection.
    """

    def __init__(self, config: PlatoConfig, sizes: Sizes, *, end: int = 0, pre_norm: bool = False) -> None:
        super().__init__(config, sizes, end=end, pre_norm=pre_norm)
        self.num_negatives = self._wanted_negatives()
        self.num_choice_exchanges = ALL  # every exchange of an episode gets negatives
        self.negatives = Negatives()
        self.clusters: ReplyClusters | None = None  # of training replies, once they are fitted

    def _wanted_negatives(self) -> int:
        """Return how many negatives each exchange should have."""
        wanted = self.latents and self.config.selection_weight and self.rules.negatives == "corpus"
        return self.config.num_negatives if wanted else 0

    # The objective

    def loss(self, batch: Batch) -> Loss:
        """Return the mixture's loss, or in training PLATO's objective (Eq. 8)."""
        if self._drawing is not None and self.latents:
            return self._lowered(batch, self._drawing)
        tokens = batch.reply_lengths
        if not self.latents:
            return mean_loss(self._told(batch.exchanges, None).nll.squeeze(1), tokens)
        considered = self.config.top_latents
        if torch.is_grad_enabled() and 0 < considered < self.latents:
            return mean_loss(self._nll_of_likeliest(batch, considered), tokens)
        told = self._told(batch.exchanges, self._all_heads(len(batch)))
        return mean_loss(acts.mixture_nll(told.nll, told.log_prior), tokens)

    def _nll_of_likeliest(self, batch: Batch, considered: int) -> Tensor:
        """Return (B,) −log of the sum of the mixture's largest terms, chosen by recognition: never below its NLL."""
        with torch.no_grad():
            recognised = self.recognised([(e, e.reply) for e in batch.exchanges])
            chosen = self._log_posterior(recognised).topk(considered).indices
        told = self._told(batch.exchanges, self.latent[chosen])
        return acts.mixture_nll(told.nll, told.log_prior.gather(1, chosen))

    @contextmanager
    def dropout(self, seed: int, progress: float = 1.0) -> Iterator[None]:
        """Train on PLATO's objective while the block runs: with dropout, and one drawn latent per exchange.

        ``progress``, the share of training done, 0 to 1, sets the temperature of the draws.
        """
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            self._drawing = Drawing(seed, progress)
            self.train()
            try:
                yield
            finally:
                self._drawing = None
                self.eval()

    def _lowered(self, batch: Batch, drawing: Drawing) -> Loss:
        """Return −log p(r | c, z̃) plus the bag-of-words and response-selection losses (Eq. 4 to 8)."""
        exchanges, tokens = batch.exchanges, batch.reply_lengths
        wrong = self._wrong(exchanges, drawing)
        read = self._read_once(exchanges) if self.reads_once else None
        recognised = self._recognised_pairs(exchanges, [*((i, e.reply) for i, e in enumerate(exchanges)), *wrong], read)
        log_posterior = self._log_posterior(recognised[: len(exchanges), : self.latent.shape[1]])
        targets = self._targets(exchanges, drawing, read)
        nll, bag, log_prior = self._under_drawn(exchanges, log_posterior, drawing, targets, read)
        counts = tokens.sum() if self.config.reduction == "token_mean" else len(exchanges)
        scores = wide(self.selection(recognised).squeeze(1))
        right, false = scores[: len(exchanges)], scores[len(exchanges) :]
        choosing = nn.functional.softplus(-right).mean()
        if len(false):
            choosing = choosing + nn.functional.softplus(false).mean()
        used, certain = acts.information_of(log_posterior)
        total = (nll.sum() + self.config.bow_weight * bag.sum()) / counts + self.config.selection_weight * choosing
        total = total - self.config.entropy_weight * certain - self.config.mutual_info_weight * (used - certain)
        parts = {"bag": bag.sum() / tokens.sum(), "selection": choosing, "information": used - certain}
        if targets is not None:
            parts["recognition"] = -(targets * log_posterior).sum(1).mean()
            total = total + self.config.target_weight * parts["recognition"]
        if self.prior is not None:
            chances = log_posterior.detach().exp() if targets is None else targets  # no gradient to the posterior (H3)
            parts["prior"] = (torch.xlogy(chances, chances) - chances * log_prior).sum(1).mean()
            total = total + parts["prior"]
        return Loss(total, nll, tokens, {name: value.detach() for name, value in parts.items()})

    def _recognised_pairs(
        self,
        exchanges: Sequence[EncodedExchange],
        pairs: Sequence[tuple[int, Ids]],
        read: Sequence[ReadContexts] | None,
    ) -> Tensor:
        """Return features of pairs of an exchange's index and a reply."""
        if read is not None:
            return self._recognised_after(read, exchanges, pairs)
        return self.features([(exchanges[place], reply) for place, reply in pairs])

    def fit_replies(self, replies: Sequence[Ids], seed: int) -> None:
        """Fit the clusters whose numbers are recognition's first targets; do nothing for a model without targets."""
        if self.latents and self.config.targets == "clusters":
            reader = ReplyReader.copied(self.embeddings, self.body, self.layout)
            self.clusters = ReplyClusters.fitted(reader, replies, self.latents, seed)

    def _targets(
        self, exchanges: Sequence[EncodedExchange], drawing: Drawing, read: Sequence[ReadContexts] | None
    ) -> Tensor | None:
        """Return (B, K) one-hot latents that replies are trained under; None where they are drawn or expected."""
        like = self.latent[:, 0].detach().expand(len(exchanges), -1)
        if self.clusters is not None and drawing.progress < self.config.target_share:
            return acts.assigned(self.clusters.of([exchange.reply for exchange in exchanges]), like)
        if self.rules.sampling != "hard_em":
            return None
        with torch.no_grad(), self._without_dropout():
            told = self._told(exchanges, self._all_heads(len(exchanges)), read=read)
        return acts.assigned(told.nll.argmin(1), like)

    @contextmanager
    def _without_dropout(self) -> Iterator[None]:
        """Leave nothing out while the block runs: with dropout the best latent would be chance (Shen et al., 2019)."""
        drawing, self._drawing = self._drawing, None
        self.eval()
        try:
            yield
        finally:
            self._drawing = drawing
            self.train()

    def _under_drawn(
        self,
        exchanges: Sequence[EncodedExchange],
        log_posterior: Tensor,
        drawing: Drawing,
        targets: Tensor | None,
        read: Sequence[ReadContexts] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (B,) NLLs of replies and of their bags, under one latent or expected under all, and the prior."""
        chances = log_posterior.exp() if targets is None else targets
        if targets is None and self.rules.sampling == "enumerate":
            told, weights = self._told(exchanges, self._all_heads(len(exchanges)), bags=True, read=read), chances
        else:
            z = self._drawn(exchanges, log_posterior, drawing) if targets is None else targets
            told = self._told(exchanges, (z @ self.latent).unsqueeze(1), bags=True, read=read)
            weights = torch.ones_like(told.nll)
        assert told.bags is not None
        if told.bags.shape[1] > weights.shape[1]:
            return told.nll.sum(1), (chances * told.bags).sum(1), told.log_prior
        return (weights * told.nll).sum(1), (weights * told.bags).sum(1), told.log_prior

    def _drawn(self, exchanges: Sequence[EncodedExchange], log_posterior: Tensor, drawing: Drawing) -> Tensor:
        """Return (B, K) weights of the latents that are drawn from the posterior."""
        seeds = [acts.stream_of(drawing.seed, exchange.ids) for exchange in exchanges]
        noise = acts.gumbel_noise(seeds, self.latents).to(log_posterior.device)
        return acts.drawn(log_posterior, noise, self.rules.sampling, self._temperature(drawing.progress))

    @property
    def _exact_bags(self) -> bool:
        """Whether the bag's NLL is the expectation under the posterior, which costs one token per latent."""
        return self.config.bow == "exact" and self.shares_context

    def _temperature(self, progress: float) -> float:
        """Return Gumbel-softmax's temperature; with annealing it falls from 1 over the first half of training."""
        end = self.rules.temperature
        return max(end, 1 - 2 * progress * (1 - end)) if self.rules.anneal else end

    def _wrong(self, exchanges: Sequence[EncodedExchange], drawing: Drawing) -> list[tuple[int, Ids]]:
        """Return negatives, each with the index of its exchange."""
        if self.rules.negatives == "corpus":
            return [(i, negative.reply) for i, e in enumerate(exchanges) for negative in e.negatives]
        found = self.negatives.drawn(exchanges, random.Random(drawing.seed))
        return [(i, other.reply) for i, other in enumerate(found) if other is not None]

    def _log_posterior(self, recognised: Tensor) -> Tensor:
        return wide(self.posterior(recognised)).log_softmax(-1)

    # Response selection

    @property
    def chooses(self) -> bool:
        """Whether the model has response selection."""
        return bool(self.latents and self.config.selection_weight)

    @torch.no_grad()
    def reply_scores(self, batch: Batch, prefilled: PlatoState | None = None) -> Tensor:
        """Return (B,) the logit of s(c, r), the higher the more coherent (Eq. 7)."""
        del prefilled  # recognition is bidirectional over context and reply: generation's cache is of no use
        return wide(self.selection(self.features([(e, e.reply) for e in batch.exchanges])).squeeze(1))

    # NLL of replies under latents

    def _told(
        self,
        exchanges: Sequence[EncodedExchange],
        heads: Tensor | None,
        *,
        bags: bool = False,
        read: Sequence[ReadContexts] | None = None,
    ) -> LatentScores:
        """Read contexts under head slots (B, S, D), or under none, and score the replies, batched by length.

        ``read`` are contexts that were read before.
        """
        if read is not None and heads is not None:
            return self._told_after(read, exchanges, heads, bags=bags)
        rows = 1 if heads is None else heads.shape[1]
        sizes = [max(len(e.prefix), rows * len(e.reply) * TOKENS_AT_ONCE // SCORED_AT_ONCE) for e in exchanges]
        found: list[tuple[Tensor, ...]] = [()] * len(exchanges)
        for places in buckets(sizes, TOKENS_AT_ONCE):
            piece = [exchanges[place] for place in places]
            contexts = self._contexts(piece, None if heads is None else heads[places])
            contexts = self._headed(contexts) if bags else contexts
            told = [self._scored(contexts.reading, piece, rows), self._log_prior_of(piece, contexts)]
            if bags and self._exact_bags and rows == 1:
                told.append(self._bags(self._under_all(contexts, len(piece)), piece, self.latents))
            elif bags:
                told.append(self._bags(contexts, piece, rows))
            for number, place in enumerate(places):
                found[place] = tuple(part[number] for part in told)
        nll, log_prior, *rest = (torch.stack(parts) for parts in zip(*found, strict=True))
        return LatentScores(nll, rest[0] if bags else None, log_prior)

    def _told_after(
        self, read: Sequence[ReadContexts], exchanges: Sequence[EncodedExchange], heads: Tensor, *, bags: bool
    ) -> LatentScores:
        """Score the replies under head slots (B, S, D) after contexts that were read."""
        rows = heads.shape[1]
        found: list[tuple[Tensor, ...]] = [()] * len(exchanges)
        for part in read:
            own = [exchanges[place] for place in part.places]
            slots = heads[list(part.places)].flatten(0, 1)
            contexts = self._awaiting(self._in_rows(part.contexts, len(own), rows), slots)
            contexts = self._headed(contexts) if bags else contexts
            told = [self._scored_by_length(contexts.reading, own, rows), self._log_prior_of(own, part.contexts)]
            if bags and self._exact_bags and rows == 1:
                told.append(self._bags(self._under_all(part.contexts, len(own)), own, self.latents))
            elif bags:
                told.append(self._bags(contexts, own, rows))
            for number, place in enumerate(part.places):
                found[place] = tuple(values[number] for values in told)
        nll, log_prior, *rest = (torch.stack(parts) for parts in zip(*found, strict=True))
        return LatentScores(nll, rest[0] if bags else None, log_prior)

    def _scored_by_length(self, reading: SharedPrefix, exchanges: Sequence[EncodedExchange], rows: int) -> Tensor:
        """Return (B, S) NLLs as ``_scored`` does, of replies in batches of similar length: contexts are not copied."""
        found: dict[int, Tensor] = {}
        for places in buckets([rows * len(exchange.reply) for exchange in exchanges], TOKENS_AT_ONCE):
            each = [place * rows + row for place in places for row in range(rows)]
            chosen = reading.chosen(torch.tensor(each, device=self.device))
            scored = self._scored(chosen, [exchanges[place] for place in places], rows)
            found.update(zip(places, scored, strict=True))
        return torch.stack([found[place] for place in range(len(exchanges))])

    def _under_all(self, contexts: Contexts, exchanges: int) -> Contexts:
        """Return contexts that were read already under every latent."""
        heads = self._all_heads(exchanges).flatten(0, 1)
        return self._headed(self._awaiting(self._in_rows(contexts, exchanges, self.latents), heads))

    def _scored(self, reading: SharedPrefix, exchanges: Sequence[EncodedExchange], rows: int) -> Tensor:
        """Return (B, S) NLLs of replies after their prefixes."""
        tokens = PlatoInputs.of([self.layout.reply((e.prefix[-1], *e.reply[:-1])) for e in exchanges], self.device)
        hidden, _ = self._said(reading, tokens, rows)
        real = tokens.mask.repeat_interleave(rows, 0)
        labels = torch.tensor([token for e in exchanges for _ in range(rows) for token in e.reply], device=self.device)
        smoothing = self.config.label_smoothing if self._drawing else 0.0
        each = nn.functional.cross_entropy(
            wide(self.logits(hidden[real])), labels, reduction="none", label_smoothing=smoothing
        )
        row = real.nonzero()[:, 0]
        return _summed(each, row, len(real)).view(-1, rows)

    def _bags(self, contexts: Contexts, exchanges: Sequence[EncodedExchange], rows: int) -> Tensor:
        """Return (B, S) −Σ log p(word), one distribution for all words of a reply (Eq. 6)."""
        assert contexts.heads is not None
        log_chances = wide(self.bag(contexts.heads, self.embeddings.token.weight)).log_softmax(-1)
        words = [e.reply if self.config.bow_end else e.reply[:-1] for e in exchanges]
        labels = torch.tensor([w for bag in words for _ in range(rows) for w in bag], device=self.device)
        owner = [n for n, bag in enumerate(w for w in words for _ in range(rows)) for _ in bag]
        row = torch.tensor(owner, dtype=torch.long, device=self.device)
        nll = -log_chances[row, labels.long()]
        return _summed(nll, row, len(log_chances)).view(-1, rows)

    @torch.no_grad()
    def reply_nll(self, batch: Batch, prefilled: PlatoState | None = None) -> Tensor:
        """Return (B,) −log p of each reply; a context that all share is read once."""
        if prefilled is None:
            return self.loss(batch).nll
        rows = torch.arange(prefilled.rows, device=self.device).repeat(len(batch))
        nll = self._scored(prefilled.reading.chosen(rows), batch.exchanges, prefilled.rows)
        return nll.squeeze(1) if prefilled.weights is None else acts.mixture_nll(nll, prefilled.weights)

    def latent_nll(self, batch: Batch) -> LatentNll:
        """Return each reply's NLL under each latent, with prior and posterior."""
        exchanges = batch.exchanges
        read = self._read_once(exchanges) if self.reads_once else None
        recognised = self._recognised_pairs(exchanges, [(i, e.reply) for i, e in enumerate(exchanges)], read)
        log_posterior = self._log_posterior(recognised[:, : self.latent.shape[1]])
        told = self._told(exchanges, self._all_heads(len(exchanges)), read=read)
        return LatentNll(told.nll, told.log_prior, log_posterior)

    def nll_under(self, batch: Batch, latents: Sequence[int]) -> Tensor:
        """Return (B,) −log p of each reply, reply b under ``latents[b]``."""
        return self._told(batch.exchanges, self.latent[list(latents)].unsqueeze(1)).nll.squeeze(1)

    def latent_prior(self, batch: Batch) -> Tensor:
        """Return log p(z | c) (B, K), uniform if the prior is not learned."""
        return self._log_prior_of(batch.exchanges, self._contexts(batch.exchanges, None))


def sized(config: PlatoConfig, base: Sizes) -> Sizes:
    """Return a model's sizes: those of its base, overridden by the settings that are not 0."""
    return Sizes(
        *(
            config.vocab_size or base.vocab_size,
            config.hidden_size or base.hidden_size,
            config.num_layers or base.num_layers,
        ),
        *(
            config.num_heads or base.num_heads,
            config.intermediate_size or base.intermediate_size,
            config.max_positions or base.max_positions,
        ),
        *(base.epsilon, base.activation),
    )


def _summed(values: Tensor, row: Tensor, rows: int) -> Tensor:
    """Return (rows,) the sums of values (N,) by their row index ``row`` (N,)."""
    return torch.zeros(rows, dtype=values.dtype, device=values.device).index_add(0, row, values)
