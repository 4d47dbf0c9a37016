"""AR and AR+: a reply attends to itself, to the context and to the persona's attributes by the same maps (spec part B).

Encoder and decoder share their layers, which are applied ``groups`` times. Each context token is marked with its
speaker by the sum of that speaker's attribute embeddings. In AR+ the attributes are also read from a memory, layers are
gated (ReZero), and the auxiliary task restores a masked span of the reply.

Shape letters: B exchanges, S context tokens, T reply tokens, R different profiles, M slots or tokens of a profile,
e width of embeddings, D width, H heads, d = D/H, L layers, V vocabulary.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch
from menura.batches.collate import pad
from menura.batches.encode import EncodedExchange
from menura.batches.speaker_profile import PADDING, Slots
from menura.batches.speaker_profile_batch import Profiles, asked_places
from menura.batches.tokenizer import PIECE_TOKENS
from menura.models.attention_routing import build_modules
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.decoder_state import ReplyCache, RoutingState, Stream, sinusoids
from menura.models.attention_routing.infilling import infilled
from menura.models.attention_routing.layers import (
    Attends,
    Gates,
    Routed,
    RoutedLayer,
    SharedAttention,
    additive_mask,
)
from menura.models.attention_routing.memory import Pairs, Query
from menura.models.attention_routing.persona_gate import graded, telling, with_lent_profiles
from menura.models.dialogue_model import DialogueModel, Loss, mean_loss
from menura.models.layers.argmax import suppress_tokens
from menura.models.layers.dropout import dropped
from menura.models.layers.packed_linear import PackedWeight

ENCODER, DECODER = range(2)
STREAMS = ("context", "persona", "auxiliary", "reply")
LABELS_AT_ONCE = 4096  # bounds memory, changes nothing else
MASK = PIECE_TOKENS.index("<mask>")


class AttentionRouting(DialogueModel[RoutingState]):
    """Contexts and profiles in, the reply out; ``vocabulary`` and ``profile_words`` are the sizes of the embeddings."""

    def __init__(self, config: AttentionRoutingConfig, vocabulary: int, profile_words: int) -> None:
        super().__init__()
        self.config = config
        self.suppress_ids: tuple[int, ...] = ()  # tokens that no reply may contain
        self.given_strength: float | None = None
        self._packed = PackedWeight()  # of the output projection
        self._noise: random.Random | None = None
        embedded = config.embedded
        self.table = nn.Embedding(vocabulary, embedded, padding_idx=PADDING)
        self.profile_table = nn.Embedding(profile_words, embedded, padding_idx=PADDING) if config.memory else None
        self.memory = build_modules.memory(config, profile_words) if config.memory else None
        self.projections = build_modules.projections(config, STREAMS)
        self.layers = nn.ModuleList(build_modules.layer(config) for _ in range(config.different))
        self.gates = build_modules.gates(config)
        self.predictor = nn.Linear(config.hidden_size, 1) if config.strength_by != "given" else None
        self.output = None if config.tied else nn.Linear(config.hidden_size, vocabulary, bias=False)
        self.dead = build_modules.unused(config)
        self.features = build_modules.features(config) if config.pretrained_features else None
        build_modules.init_weights(self)
        if config.adapter_bottleneck:  # after the initialisation of every matrix: adapters start as the identity
            for layer in self._different():
                layer.adapt_with(config.adapter_bottleneck)

    # The contract

    def loss(self, batch: Batch) -> Loss:
        """Return the dialogue loss; in pooled training ``total`` includes the other tasks, too (Eq. 3)."""
        noise, by = self._noise, self.config.strength_by
        if noise is None or by not in ("labelled", "graded"):
            state = self.prefill(batch)
        else:
            exchanges = with_lent_profiles(batch.exchanges, self.config.lent_share, noise)
            batch = replace(batch, exchanges=telling(exchanges, self.config.unexpressed_share, noise))
            labels = self._labels(batch)
            state = replace(self.prefill(batch), strength=graded(labels, noise) if by == "graded" else labels)
        loss = mean_loss(self._reply_nll(state, batch.exchanges), batch.reply_lengths)
        return loss if noise is None else self._with_more(loss, batch, state)

    def prefill(self, batch: Batch) -> RoutingState:
        """Encode contexts and profiles."""
        profiles = self._profiles(batch.exchanges)
        embedded, real = self._context(batch.exchanges, profiles)
        persona, row = None, profiles.own
        if self.memory is not None:
            embedded, slots = self._remembered(batch.exchanges, profiles, embedded)
            if self.config.streams and slots.shape[1]:
                persona = (slots, self._pairs(profiles).real)
        else:
            own, row = profiles.of_the_speakers()
            persona = self._persona(own) if any(own) else None
        context = self._encoded(self._dropped(embedded), real) if real.shape[1] else embedded
        strength, predicted = self._strength(context, real)
        streams = self._streams([(context, real), *([persona] if persona else [])])
        return RoutingState(
            streams[0] if real.shape[1] else None,
            replace(streams[1], row=row) if persona else None,
            strength,
            self._nothing_said(len(batch)),
            predicted,
        )

    def step(self, state: RoutingState, last: Tensor) -> tuple[Tensor, RoutingState]:
        """Append ``last`` (B,) to the reply; return log-probabilities (B, V) and the new state."""
        states, state = self._heard(state, last[:, None])
        return self.logits(states[:, 0]).log_softmax(-1), state

    def step_logits(self, state: RoutingState, last: Tensor) -> tuple[Tensor, RoutingState]:
        """Do ``step``; return logits with −inf at ``suppress_ids``."""
        states, state = self._heard(state, last[:, None])
        return suppress_tokens(self.logits(states[:, 0]), self.suppress_ids), state

    def reorder_cache(self, state: RoutingState, rows: Tensor) -> RoutingState:
        """Return the state of some rows; they still share contexts and profiles."""
        return RoutingState(
            state.context and state.context.chosen(rows),
            state.persona and state.persona.chosen(rows),
            state.strength[rows],
            tuple(said.chosen(rows) for said in state.said),
        )

    # Optional abilities

    @property
    def weighs_persona(self) -> bool:
        """Whether the persona has a stream of its own."""
        return self.config.streams

    @property
    def has_second_task(self) -> bool:
        """Whether there is an auxiliary task."""
        return self.config.auxiliary != "none"

    def scores_of(self, state: RoutingState, ids: Tensor) -> Tensor:
        """Return logits (B, T, V) after each of the tokens (B, T) in one pass; decoding by ``step`` must equal this."""
        return self.logits(self._heard(state, ids)[0])

    def auxiliary_nll(self, batch: Batch, seed: int) -> tuple[Tensor, Tensor]:
        """Return (B,) the NLL of the auxiliary task and (B,) its tokens; the masked spans are drawn from ``seed``."""
        return self._second_task(batch, random.Random(seed))

    @contextmanager
    def at_strength(self, strength: float | None) -> Iterator[None]:
        """Set every persona's weight to ``strength`` while the block runs (None: the model's own)."""
        before, self.given_strength = self.given_strength, strength
        try:
            yield
        finally:
            self.given_strength = before

    @contextmanager
    def dropout(self, seed: int, progress: float = 1.0) -> Iterator[None]:
        """Turn on dropout, auxiliary task, predictor's loss for the block; ``progress`` (0 to 1) has no effect."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            self._noise = random.Random(seed)
            self.train()
            try:
                yield
            finally:
                self._noise = None
                self.eval()

    def set_word_embeddings(self, rows: Sequence[int], vectors: Tensor) -> None:
        """Initialise the embeddings of these rows with vectors (·, e); all others keep theirs."""
        with torch.no_grad():
            self.table.weight[list(rows)] = vectors.to(self.table.weight)

    def logits(self, states: Tensor) -> Tensor:
        """Return logits (…, V) from (…, D); with tied embeddings padding has logit 0 and is not trained."""
        if self.output is not None:
            return self._packed.linear(states, self.output.weight, None)
        return nn.functional.pad(nn.functional.linear(states, self.table.weight[1:]), (1, 0))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.table.weight.dtype

    # Embeddings

    def _projected(self, stream: str, embedded: Tensor) -> Tensor:
        if not self.projections:
            return embedded
        name = "all" if "all" in self.projections else stream
        projected: Tensor = self.projections[name](embedded)
        return projected

    def _said(self, ids: Tensor, stream: str, start: int = 0) -> Tensor:
        """Return (B, T, D): √e E plus position encodings from ``start`` on, projected."""
        embedded = self.config.embedded**0.5 * self.table(ids)
        return self._projected(stream, embedded + sinusoids(start, ids.shape[1], embedded))

    def _profiles(self, exchanges: Sequence[EncodedExchange]) -> "Profiles":
        return Profiles.of(exchanges, self.device)

    def _context(self, exchanges: Sequence[EncodedExchange], profiles: "Profiles") -> tuple[Tensor, Tensor]:
        """Return embedded contexts (B, S, D) without the prefix's last token, and their mask."""
        ids, real = (part.to(self.device) for part in pad([e.context[:-1] for e in exchanges]))
        embedded = self.config.embedded**0.5 * self.table(ids)
        if self.features is not None:
            embedded = self.features(ids, real, embedded)
        people, _ = pad([profiles.by_token(row, exchange) for row, exchange in enumerate(exchanges)])
        told = self._told(profiles)
        if len(told) > 1:
            embedded = embedded + told[people.to(self.device)]
        return self._projected("context", embedded + sinusoids(0, ids.shape[1], embedded)), real

    def _told(self, profiles: "Profiles") -> Tensor:
        """Return (R + 1, e) the sum of each profile's value embeddings, after a row of zeros for no profile."""
        table = self.profile_table or self.table
        ids, _ = pad([(), *(tuple(chain.from_iterable(v for _, v in slots)) for slots in profiles.different)])
        summed: Tensor = table(ids.to(self.device)).sum(1)
        return summed

    def _persona(self, profiles: Sequence[Slots]) -> tuple[Tensor, Tensor]:
        """Return encoded profiles (R, M, D), keys as tokens, and their mask."""
        told = [tuple(chain.from_iterable((key, *value) for key, value in slots)) for slots in profiles]
        ids, real = (part.to(self.device) for part in pad(told))
        embedded = self._projected("persona", self.config.embedded**0.5 * self.table(ids))
        return self._encoded(self._dropped(embedded), real), real

    def _pairs(self, profiles: "Profiles") -> Pairs:
        return Pairs.of(profiles.different, self.device, tokens=self.config.token_slots)

    def _remembered(
        self, exchanges: Sequence[EncodedExchange], profiles: "Profiles", embedded: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Query the memory; return contexts with its output added at every place, its last hop's slots (R, M, D)."""
        assert self.memory is not None
        asked = Query(asked_places(exchanges, whole=self.config.rules.whole_query).to(self.device))
        found, slots = self.memory(self._pairs(profiles), profiles.own, asked, embedded)
        biased = embedded + found[:, None] if self.config.persona_path != "memory_stream" else embedded
        return biased, slots

    # Layers

    def _applications(self, side: int) -> Iterator[tuple[int, RoutedLayer, Gates | None]]:
        """Yield the layer applications in order: index of the different layer, the layer, its gates."""
        gates = self._gates(side)
        for application in range(self.config.num_layers):
            number = application % self.config.different
            layer = self.layers[number]
            assert isinstance(layer, RoutedLayer)
            yield number, layer, gates[application] if gates else None

    def _gates(self, side: int) -> Sequence[Gates]:
        """Return the gates of each application, of encoder or decoder; none without ReZero."""
        if self.gates is None:
            return ()
        if self.config.gating == "per_sublayer":
            each = self.gates[side].flatten().unbind()
            return list(zip(each[::2], each[1::2], strict=True))
        each = self.gates.unbind()  # one, or one of each different layer
        return [(each[place % len(each)],) * 2 for place in range(self.config.num_layers)]

    def _encoded(self, x: Tensor, real: Tensor) -> Tensor:
        """Encode (B, S, D) bidirectionally; the mask ``real`` is (B, S)."""
        shut = additive_mask(real, x.dtype)

        def attends(attention: SharedAttention, normed: Tensor) -> Routed:
            q, k, v = attention.all_of(normed)
            return Routed(attention.out(attention.attend(q, (k, v), shut.to(q.dtype))))

        for _, layer, gates in self._applications(ENCODER):
            x = layer(x, attends, gates)
        return x

    def _streams(self, read: Sequence[tuple[Tensor, Tensor]]) -> list[Stream]:
        """Return streams of encoded states and masks, with one key-value projection per different layer."""
        kept = [layer.attention.kept_of([states for states, _ in read]) for layer in self._different()]
        return [Stream.of(tuple(each[index] for each in kept), real) for index, (_, real) in enumerate(read)]

    def _different(self) -> Iterator[RoutedLayer]:
        for layer in self.layers:
            assert isinstance(layer, RoutedLayer)
            yield layer

    def _heard(self, state: RoutingState, ids: Tensor, stream: str = "reply") -> tuple[Tensor, RoutingState]:
        """Decode reply tokens (B, T) after those in the state; return hidden states (B, T, D) and the new state."""
        before = state.said[0].count
        x = self._dropped(self._said(ids, stream, before))
        grown: list[ReplyCache] = []
        for (number, layer, gates), said in zip(self._applications(DECODER), state.said, strict=True):
            x = layer(x, self._attending(state, number, said, grown), gates)
        return x, replace(state, said=tuple(grown))

    def _attending(self, state: RoutingState, number: int, said: ReplyCache, grown: list[ReplyCache]) -> Attends:
        """Return one application's attention: O = a O_T + (1 − a) O_C + O_C + O_prev (Eq. 1); absent streams are 0."""

        def attends(attention: SharedAttention, normed: Tensor) -> Routed:
            every = attention.all_of(normed)
            q, new = every[0], every.shape[3]
            after = said.followed_by(every[1:].permute(3, 0, 1, 2, 4))
            grown.append(after)
            if new == 1 and not self.training:  # one new token attends to all before it
                own = attention.heard_of_said(q, after.tokens)
            else:
                k, v = after.tokens.permute(1, 2, 3, 0, 4)
                later = q.new_full((new, after.count), float("-inf")).triu(said.count + 1)
                own = attention.attend(q, (k, v), later)
            heard = [own] + [stream.attend(attention, number, q) for stream, _ in state.read]
            merged, *found = attention.outputs(heard)
            fixed = None
            for (stream, weight), output in zip(state.read, found, strict=True):
                output = output if stream.some is None else output * stream.some
                merged, fixed = merged + weight * output, output if fixed is None else fixed + output
            return Routed(merged, fixed)

        return attends

    def _nothing_said(self, rows: int) -> tuple[ReplyCache, ...]:
        heads, width = self.config.num_heads, self.config.hidden_size
        return (
            ReplyCache(self.table.weight.new_zeros((0, 2, rows, heads, width // heads)), 0),
        ) * self.config.num_layers

    # The persona's weight

    def _strength(self, context: Tensor, real: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return a (B,) and, if it is predicted from the context, its log-odds: w · mean(E_C) + b."""
        predicted = None
        if self.predictor is not None:
            count = real.sum(1, keepdim=True).clamp(min=1)
            predicted = self.predictor((context * real[..., None]).sum(1) / count)[:, 0]
        if predicted is None or self.given_strength is not None:
            given = self.config.strength if self.given_strength is None else self.given_strength
            return context.new_full((len(context),), given), predicted
        return predicted.sigmoid(), predicted

    def _labels(self, batch: Batch) -> Tensor:
        return torch.tensor([float(e.expresses_profile) for e in batch.exchanges], device=self.device, dtype=self.dtype)

    # Losses

    def _reply_nll(self, state: RoutingState, exchanges: Sequence[EncodedExchange], stream: str = "reply") -> Tensor:
        """Return (B,) −log p of each reply."""
        ids, mask = (part.to(self.device) for part in pad([(e.prefix[-1], *e.reply[:-1]) for e in exchanges]))
        states = self._heard(state, ids, stream)[0][mask]
        labels = torch.tensor([token for e in exchanges for token in e.reply], device=self.device)
        nll = torch.cat(
            [
                nn.functional.cross_entropy(self.logits(some), of_them, reduction="none")
                for some, of_them in zip(*(torch.split(each, LABELS_AT_ONCE) for each in (states, labels)), strict=True)
            ]
        )
        lengths = torch.tensor([len(e.reply) for e in exchanges], device=self.device)
        whose = torch.arange(len(exchanges), device=self.device).repeat_interleave(lengths)
        return nll.new_zeros(len(exchanges)).index_add(0, whose, nll)

    def _with_more(self, loss: Loss, batch: Batch, state: RoutingState) -> Loss:
        """Return L = L_D + λ1 L_LM + λ2 L_W (Eq. 3); ``nll`` stays that of the dialogue."""
        assert self._noise is not None
        total, parts = loss.total, {}
        if self.config.auxiliary != "none":
            nll, tokens = self._second_task(batch, self._noise)
            second = nll.sum() / tokens.sum()
            total, parts["auxiliary"] = total + self.config.auxiliary_weight * second, second.detach()
        if state.predicted is not None:
            told = nn.functional.binary_cross_entropy_with_logits(state.predicted, self._labels(batch))
            total, parts["predictor"] = total + self.config.predictor_weight * told, told.detach()
        return replace(loss, total=total, parts=parts)

    def _second_task(self, batch: Batch, noise: random.Random) -> tuple[Tensor, Tensor]:
        """Return (B,) −log p of each reply and (B,) its tokens: without input (lm), or from the masked reply.

        With lm the context can be part of the text that is predicted.
        """
        context, said = None, batch
        if self.config.auxiliary_text == "context_and_reply":
            said = replace(
                batch, exchanges=tuple(replace(e, reply=(*e.context[:-1], *e.reply)) for e in batch.exchanges)
            )
        if self.config.auxiliary in ("mlm", "bart"):
            whole = [(e.prefix[-1], *e.reply) for e in batch.exchanges]
            ids, real = (
                part.to(self.device)
                for part in pad([infilled(each, MASK, noise, bart=self.config.auxiliary == "bart") for each in whole])
            )
            context = self._streams([(self._encoded(self._dropped(self._said(ids, "auxiliary")), real), real)])[0]
        strength = torch.ones(len(batch), device=self.device, dtype=self.dtype)
        state = RoutingState(context, None, strength, self._nothing_said(len(batch)))
        return self._reply_nll(state, said.exchanges, "reply" if context else "auxiliary"), said.reply_lengths

    def _dropped(self, x: Tensor) -> Tensor:
        return dropped(x, self.config.dropout * self.training)
