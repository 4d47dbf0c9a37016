"""A pre-trained causal language model that speaks as a persona (MAMLviaPP): any Hugging Face network.

Shape letters: B exchanges, W rows, L row tokens, N labels, D width, V vocabulary.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange
from menura.batches.layout import SPECIAL_TOKENS, LayoutName
from menura.errors import ConfigError, MismatchError
from menura.models.dialogue_model import DialogueModel, Loss
from menura.models.parts.adapters import Adapters, Houlsby, Lora
from menura.models.parts.blocks import blocks_of, input_maps, passing, standing_in, sublayers, widths
from menura.models.parts.kv_cache import empty_cache, selected

PASS_TOKENS = 2048  # row tokens in one forward pass: bounds memory, changes no result
REPLIES_AT_ONCE = 5  # candidates read side by side after a shared context
KEPT_BYTES = 1 << 30  # of lower-layer output kept for rows seen before


@dataclass(frozen=True)
class CausalLmConfig:
    """A causal language model as a persona's voice.

    ``base`` is a name of ``menura base list``, a folder or a hub id. Without adapters all weights adapt (in-place);
    with them only the adapters do (extra-place), unless ``train_base`` (the paper's "phi not fixed").
    ``start`` names adapter weights to begin from: a file, or ``shipped``; empty means the identity start of Eq. 2.
    """

    base: str = "smollm2-135m"
    layout: LayoutName = "chat"
    limit: int = 512  # tokens a sequence, reply included
    adapters: Adapters = field(default_factory=Adapters)
    train_base: bool = False
    start: str = ""

    def __post_init__(self) -> None:
        """Refuse a length in which no exchange fits."""
        if self.limit < 32:
            raise ConfigError(f"model.limit: {self.limit}, must be at least 32 tokens")


@dataclass(frozen=True)
class CausalState:
    """What has been read: ``mask`` (B, T) of the tokens in the cache, True where real."""

    cache: Cache
    mask: Tensor


class CausalLm(DialogueModel[CausalState]):
    """Facts, context and reply as one sequence; loss on the reply's tokens and its end token only."""

    def __init__(self, network: PreTrainedModel, config: CausalLmConfig) -> None:
        super().__init__()
        self.network = network
        self.adapters = nn.ModuleDict()
        self._blocks = blocks_of(network.base_model, network.config.num_hidden_layers)
        self._vocabulary = network.get_input_embeddings().weight.shape[0]
        self._first = config.adapters.first_layer(len(self._blocks))
        self._kept: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._kept_bytes = 0
        self._attach(config.adapters)
        self.special_rows = self._make_special_rows() if config.layout == "special" else None
        extra_place = config.adapters.kind != "none"
        network.requires_grad_(config.train_base or not extra_place)
        self.lower_is_frozen = extra_place and not config.train_base and self._first > 0 and self.special_rows is None

    # What it computes

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the batch's replies, each dialogue read once."""
        packed, labels = batch.packed, batch.packed.labels
        nats = torch.zeros(len(batch), device=self.device, dtype=self.dtype)
        for rows in _passes(packed.mask):
            here = torch.isin(labels.row, rows)
            longest = int(packed.mask[rows].sum(1).max())
            hidden = self._hidden(packed.ids[rows, :longest], packed.mask[rows, :longest])  # (W, L, D)
            row = labels.row[here] - rows[0]  # rows of one pass are neighbours
            before = hidden[row, labels.position[here] - 1]  # (N, D): the vocabulary is scored at labels only
            token_nats = nn.functional.cross_entropy(self._logits(before), labels.token[here], reduction="none")
            nats = nats.index_add(0, labels.exchange[here], token_nats.to(nats.dtype))
        return Loss.of(nats, batch.reply_tokens)

    def begin(self, batch: Batch) -> CausalState:
        """Read all of each prefix but its last token, which ``advance`` is given first."""
        prefix = batch.prefix
        state = CausalState(empty_cache(len(self._blocks)), prefix.mask[:, :0])
        if prefix.ids.shape[1] > 1:
            _, state = self._read(state, prefix.ids[:, :-1], prefix.mask[:, :-1])
        return state

    def advance(self, state: CausalState, last: Tensor) -> tuple[Tensor, CausalState]:
        """Read ``last`` (B,); return log-probabilities (B, V) and the new state."""
        hidden, state = self._read(state, last[:, None], torch.ones_like(last[:, None], dtype=torch.bool))
        return self._logits(hidden[:, -1]).log_softmax(-1), state

    def select_rows(self, state: CausalState, rows: Tensor) -> CausalState:
        """Return the state of some rows."""
        return CausalState(selected(state.cache, rows), state.mask[rows])

    @torch.no_grad()
    def reply_nats(self, batch: Batch, begun: CausalState | None = None) -> Tensor:
        """Return (B,) −log p of each reply; exchanges with the same prefix share one reading of it.

        ``begun`` is the state of that one row where the prefix, common to all, has been read already; it stays usable.
        """
        nats = torch.zeros(len(batch), device=self.device, dtype=self.dtype)
        for group in _alike([e.prefix for e in batch.exchanges]):
            one = begun or self.begin(self.batch([batch.exchanges[group[0]]]))
            # Like lengths together: one long reply would fill up all the others to its own length.
            by_length = sorted(group, key=lambda index: len(batch.exchanges[index].reply))
            for start in range(0, len(by_length), REPLIES_AT_ONCE):
                few = by_length[start : start + REPLIES_AT_ONCE]
                nats[torch.tensor(few, device=self.device)] = self._nats_after(one, [batch.exchanges[i] for i in few])
        return nats

    def _nats_after(self, one: CausalState, exchanges: Sequence[EncodedExchange]) -> Tensor:
        """Return −log p of each exchange's reply, from the one-row state of the prefix they share."""
        state = self.select_rows(one, torch.zeros(len(exchanges), dtype=torch.long, device=self.device))
        members = self.batch(exchanges)
        kept, last = members.reply.mask, members.prefix.ids[:, -1:]
        read = torch.cat([last, members.reply.ids[:, :-1]], 1)
        hidden, _ = self._read(state, read, torch.cat([torch.ones_like(last, dtype=torch.bool), kept[:, :-1]], 1))
        token_nats = torch.zeros(kept.shape, device=self.device, dtype=self.dtype)
        scored = nn.functional.cross_entropy(self._logits(hidden[kept]), members.reply.ids[kept], reduction="none")
        token_nats[kept] = scored.to(self.dtype)
        return token_nats.sum(1)

    def bare_weights(self) -> dict[str, Tensor]:
        """Return adapter weights under which the model is its base: everything that is added, times zero."""
        up = {name: p for name, p in self.adapters.named_parameters(prefix="adapters") if ".up." in name}
        return {name: torch.zeros_like(parameter) for name, parameter in up.items()}

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number format."""
        dtype: torch.dtype = self.network.get_input_embeddings().weight.dtype
        return dtype

    # How it reads

    def _read(self, state: CausalState, ids: Tensor, mask: Tensor) -> tuple[Tensor, CausalState]:
        seen = torch.cat([state.mask, mask], 1)
        positions = (seen.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self.network.base_model(
            inputs_embeds=self._embedded(ids),
            # A mask of ones is left out: attention then takes its quick causal path.
            attention_mask=None if bool(seen.all()) else seen.long(),
            position_ids=positions,
            past_key_values=state.cache,
            use_cache=True,
        )
        return output.last_hidden_state, CausalState(state.cache, seen)

    def _hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (W, L, D). Rows are filled up on the right, so causal attention never sees the filling."""
        if not self.lower_is_frozen:
            return self._upper(ids)
        rows = [tuple(row[kept].tolist()) for row, kept in zip(ids, mask, strict=True)]
        lower = torch.zeros((*ids.shape, self.network.config.hidden_size), device=ids.device, dtype=self.dtype)
        for index, row in enumerate(rows):
            lower[index, : len(row)] = self._lower(row)
        return self._upper(ids, lower)

    def _upper(self, ids: Tensor, lower: Tensor | None = None) -> Tensor:
        run = partial(self.network.base_model, inputs_embeds=self._embedded(ids), use_cache=False)
        if lower is None:
            return run().last_hidden_state  # type: ignore[no-any-return]
        below = self._blocks[: self._first]
        remembered = [passing] * (self._first - 1) + [lambda hidden, *args, **kwargs: lower]
        with standing_in(below, remembered):
            return run().last_hidden_state  # type: ignore[no-any-return]

    def _lower(self, row: tuple[int, ...]) -> Tensor:
        """Return (L, D), the input of the first adapted layer, read alone so that no neighbour touches its last bit."""
        if row in self._kept:
            self._kept.move_to_end(row)
            return self._kept[row]
        entered: list[Tensor] = []

        def noting(hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            entered.append(hidden)
            return hidden

        above = self._blocks[self._first :]
        with torch.no_grad(), standing_in(above, [noting] + [passing] * (len(above) - 1)):
            self._upper(torch.tensor([row], device=self.device))
        self._keep(row, entered[0][0])
        return entered[0][0]

    def _keep(self, row: tuple[int, ...], hidden: Tensor) -> None:
        self._kept[row] = hidden
        self._kept_bytes += hidden.nbytes
        while self._kept_bytes > KEPT_BYTES and self._kept:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes

    def forget_lower(self) -> None:
        """Drop the kept output of the frozen layers; needed after their weights were changed."""
        self._kept.clear()
        self._kept_bytes = 0

    def _embedded(self, ids: Tensor) -> Tensor:
        table = self.network.get_input_embeddings()
        if self.special_rows is None:
            return table(ids)  # type: ignore[no-any-return]
        own = (ids - self._vocabulary).clamp(min=0)
        old = table(ids.clamp(max=self._vocabulary - 1))
        return torch.where((ids >= self._vocabulary)[..., None], self.special_rows[own], old)

    def _logits(self, hidden: Tensor) -> Tensor:
        old = self.network.get_output_embeddings()(hidden)
        if self.special_rows is None:
            return old  # type: ignore[no-any-return]
        return torch.cat([old, hidden @ self.special_rows.T], -1)

    # How it is put together

    def _attach(self, adapters: Adapters) -> None:
        if adapters.kind == "none":
            return
        width = self.network.config.hidden_size
        for index, block in enumerate(self._blocks[self._first :], start=self._first):
            parts = input_maps(block) if adapters.kind == "lora" else sublayers(block)
            added = nn.ModuleDict()
            for name, part in parts.items():
                made = Lora(*widths(part), adapters.size) if adapters.kind == "lora" else Houlsby(width, adapters.size)
                added[name] = made
                part.register_forward_hook(partial(_adapted, made))
            self.adapters[str(index)] = added
        self.adapters.to(next(self.network.parameters()).device)

    def _make_special_rows(self) -> nn.Parameter:
        """Make rows for the layout's own tokens, part of what adapts: the mean embedding, a little apart."""
        mean = self.network.get_input_embeddings().weight.detach().mean(0)
        return nn.Parameter(mean + 0.01 * mean.std() * torch.randn(len(SPECIAL_TOKENS), len(mean), device=mean.device))


def check_starts_as_base(model: CausalLm, ids: Sequence[int]) -> None:
    """Compare with the bare network on one sequence; MismatchError if the logits differ (MAMLviaPP, Eq. 2).

    Exact equality is required: W_up = 0 adds nothing. It also catches a base whose logits are not its last hidden state
    times its output embedding (soft-capped or scaled ones), which this model would score wrongly.
    """
    row = torch.tensor([list(ids)], device=model.device)
    with torch.no_grad():
        ours = model._logits(model._upper(row))[..., : model._vocabulary]
        hooks = [part._forward_hooks for part in model.network.modules()]
        saved = [hook.copy() for hook in hooks]
        for hook in hooks:
            hook.clear()
        bare = model.network(input_ids=row, use_cache=False).logits
        for hook, kept in zip(hooks, saved, strict=True):
            hook.update(kept)
    difference = (ours - bare).abs().max().item()
    if difference != 0:  # not-a-number included
        raise MismatchError(
            f"with fresh adapters the logits differ from the base's by {difference:.3g}; they must not differ at all",
            hint="this base computes its logits in a way that is not supported",
        )


def _adapted(adapter: nn.Module, part: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> Any:
    """Run an adapter behind a part; some attention parts return their output in a tuple."""
    del part
    given = inputs[0] if inputs else None
    if isinstance(output, tuple):
        return (adapter(given, output[0]), *output[1:])
    return adapter(given, output)


def _passes(mask: Tensor) -> Iterator[Tensor]:
    """Yield neighbouring rows that together, filled up, stay within one pass's tokens."""
    lengths = mask.sum(1).tolist()
    start = 0
    while start < len(lengths):
        end = start + 1
        while end < len(lengths) and (end + 1 - start) * max(lengths[start : end + 1]) <= PASS_TOKENS:
            end += 1
        yield torch.arange(start, end, device=mask.device)
        start = end


def _alike(keys: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Group indices by equal key, in order of first appearance."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def without_adapters(config: CausalLmConfig) -> CausalLmConfig:
    """Return the in-place variant."""
    return replace(config, adapters=replace(config.adapters, kind="none"))
