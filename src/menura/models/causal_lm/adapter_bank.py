"""Several personas in one batch: their adapters stacked, each row through its own.

Shape letters: P personas, B rows, L tokens of a row, T tokens of all rows concatenated, ``…`` any dimensions before D.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from menura.batches.varlen import SequenceLayout
from menura.errors import ConfigError, MismatchError
from menura.models.causal_lm.hf_modules import standing_in
from menura.models.layers.adapters import Houlsby, Ia3, Lora


@dataclass(frozen=True)
class AdapterBank:
    """The weights of P personas, stacked once: ``stacked[name]`` is (P, …) of a parameter that differs."""

    stacked: Mapping[str, Tensor]

    @classmethod
    def of(cls, personas: Sequence[Mapping[str, Tensor]]) -> "AdapterBank":
        """Stack personas in this order; MismatchError if they do not differ in the same parameters."""
        names = personas[0].keys() if personas else ()
        for place, weights in enumerate(personas):
            if weights.keys() != names:
                odd = sorted(weights.keys() ^ names)[0]
                raise MismatchError(f"persona {place} and persona 0 do not have the same weights: {odd}")
        return cls({name: torch.stack([weights[name].detach() for weights in personas]) for name in names})

    def __len__(self) -> int:
        return len(next(iter(self.stacked.values()), ()))


class BatchedAdapters:
    """Which persona's adapters each row of the running forward pass uses."""

    def __init__(self, bank: AdapterBank, rows: Tensor) -> None:
        self.rows = rows  # (B,) the persona of each prefilled row
        self._bank = bank
        self._lengths: SequenceLayout | None = None
        self._packed = True
        self._whose: Tensor | None = None
        self._all_in_order = False
        self._gathered: dict[str, Tensor] = {}

    @contextmanager
    def reading(self, whose: Tensor, lengths: SequenceLayout, *, packed: bool) -> Iterator[None]:
        """Run forward passes of rows with these personas (B,) and lengths while the block runs.

        ``packed`` tells whether maps see these rows concatenated; if not, all rows are padded to one length.
        """
        assert len(whose) == len(lengths.lengths), (
            f"{len(lengths.lengths)} rows are read, personas given for {len(whose)}"
        )
        if whose is not self._whose:  # rows seldom change from one token to the next
            self._whose, self._gathered = whose, {}
            self._all_in_order = whose.tolist() == list(range(len(self._bank)))  # nothing to copy then
        self._lengths, self._packed = lengths, packed
        try:
            yield
        finally:
            self._lengths = None

    def weight(self, prefix: str, adapter: nn.Module, key: str) -> Tensor:
        """Return (B, …) one parameter for each row; the model's own where the bank does not hold it."""
        rows = self._gathered.get(prefix + key)
        if rows is None:
            rows = self._gathered[prefix + key] = self._gather(prefix + key, adapter.get_parameter(key))
        return rows

    def _gather(self, name: str, own: Tensor) -> Tensor:
        assert self._whose is not None, WRONG_CALL
        stacked = self._bank.stacked.get(name)
        if stacked is None:
            return own.expand(len(self._whose), *own.shape)
        return stacked if self._all_in_order else stacked[self._whose]

    def mapped(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Apply each row's own (D', D) matrix: one batched product for neighbours of equal length."""
        inputs = inputs.to(weight.dtype)
        if inputs.dim() == 3:  # padded rows
            return _mapped(inputs, weight, bias)
        runs = self._runs(len(inputs))
        if len(runs) == 1:
            return _mapped(inputs.view(*runs[0], -1), weight, bias).flatten(0, 1)
        made, row = [], 0
        for piece, run in zip(torch.split(inputs, [count * length for count, length in runs]), runs, strict=True):
            here = slice(row, row + run[0])
            made.append(_mapped(piece.view(*run, -1), weight[here], None if bias is None else bias[here]).flatten(0, 1))
            row = here.stop
        return torch.cat(made)

    def added(self, output: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return a map's output with each row's own map of ``inputs`` added, of the output's dtype.

        Without gradients it is added in place: nothing else reads the output.
        """
        if torch.is_grad_enabled() or output.dtype != weight.dtype or output.dim() == 3:
            return (output + self.mapped(inputs, weight)).to(output.dtype)
        row = token = 0
        for count, length in self._runs(len(inputs)):
            here, rows = slice(token, token + count * length), slice(row, row + count)
            own = inputs[here].view(count, length, -1)
            output[here].view(count, length, -1).baddbmm_(own, weight[rows].transpose(1, 2))
            row, token = rows.stop, here.stop
        return output

    def spread(self, inputs: Tensor, each: Tensor) -> Tensor:
        """Repeat (B, D) for each token of ``inputs``, so that both can be multiplied."""
        if inputs.dim() == 3:
            return each[:, None]
        assert self._lengths is not None, WRONG_CALL
        runs = self._runs(len(inputs))
        if not self._packed:
            return each.repeat_interleave(runs[0][1], 0)
        return each[self._lengths.row] if runs is self._lengths.runs else each

    def _runs(self, tokens: int) -> tuple[tuple[int, int], ...]:
        assert self._lengths is not None, WRONG_CALL
        rows = len(self._lengths.lengths)
        if not self._packed:
            assert tokens % rows == 0, "of each padded row all tokens are read"
            return ((rows, tokens // rows),)
        if tokens == sum(self._lengths.lengths):
            return self._lengths.runs
        assert tokens == len(self._lengths.lengths), "of each row all tokens are read, or at the end only its last"
        return ((tokens, 1),)


WRONG_CALL = "only prefill and step speak as several personas at once"


@contextmanager
def batched_adapters(bank: AdapterBank, rows: Tensor, adapters: nn.Module, prefix: str) -> Iterator[BatchedAdapters]:
    """Let each adapter of a module use, for each row, the weights of that row's persona.

    ConfigError for a kind of adapter that cannot; MismatchError for weights of no adapter or of another shape.
    """
    now = BatchedAdapters(bank, rows)
    own = {f"{prefix}{name}": value for name, value in adapters.named_parameters()}
    for name, value in bank.stacked.items():
        shape, wanted = tuple(value.shape[1:]), tuple(own[name].shape) if name in own else None
        if shape != wanted:
            raise MismatchError(f"{name} of the personas is {shape}, this model's {wanted or 'does not exist'}")
    there = [(f"{prefix}{name}.", part) for name, part in adapters.named_modules() if hasattr(part, "neutral")]
    with standing_in([part for _, part in there], [_by_row(now, name, part) for name, part in there]):
        yield now


def _by_row(now: BatchedAdapters, name: str, adapter: nn.Module) -> Callable[..., Tensor]:
    form = FORMS.get(type(adapter))
    if form is not None and "experts" in name.split("."):
        raise ConfigError(
            f"{name.rstrip('.')}: which tokens an expert sees depends on them, so it cannot tell whose they are",
            hint="let one persona speak at a time",
        )
    if form is None:
        raise ConfigError(
            f"{type(adapter).__name__}: cannot speak as several personas in one batch",
            hint="let one persona speak at a time",
        )
    return partial(form, partial(now.weight, name, adapter), now)


def _houlsby(weight: Callable[[str], Tensor], now: BatchedAdapters, inputs: Tensor | None, output: Tensor) -> Tensor:
    del inputs
    inner = functional.gelu(now.mapped(output, weight("down.weight"), weight("down.bias")))
    return (output + now.mapped(inner, weight("up.weight"), weight("up.bias"))).to(output.dtype)


def _lora(weight: Callable[[str], Tensor], now: BatchedAdapters, inputs: Tensor, output: Tensor) -> Tensor:
    return now.added(output, now.mapped(inputs, weight("down.weight")), weight("up.weight"))


def _ia3(weight: Callable[[str], Tensor], now: BatchedAdapters, inputs: Tensor) -> Tensor:
    scale = now.spread(inputs, weight("scale"))
    before = inputs.shape[-1] - scale.shape[-1]
    scaled = (inputs[..., before:] * scale).to(inputs.dtype)
    return torch.cat([inputs[..., :before], scaled], -1) if before else scaled


FORMS: dict[type[nn.Module], Callable[..., Tensor]] = {Houlsby: _houlsby, Lora: _lora, Ia3: _ia3}


def _mapped(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return (B, L, D') from (B, L, D)."""
    if inputs.shape[1] == 1 and weight.shape[1] < weight.shape[2]:
        # One token to a smaller width: matrix times vector is faster than vector times matrix.
        upright = inputs.transpose(1, 2)
        mapped = weight @ upright if bias is None else torch.baddbmm(bias[..., None], weight, upright)
        return mapped.transpose(1, 2)
    across = weight.transpose(1, 2)
    return inputs @ across if bias is None else torch.baddbmm(bias[:, None], inputs, across)
