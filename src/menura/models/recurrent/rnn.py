"""Recurrent layers that work with ``functional_call`` and can be differentiated twice: LSTM and GRU.

Long short-term memory: Hochreiter and Schmidhuber, 1997; gated recurrent units: Cho et al., 2014.

Shape letters: S steps of the longest row, R rows, D input, H hidden.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn


class LstmCell(nn.Module):
    """Gates i, f, g, o in this order; c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c'). Two biases, as in PyTorch."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.given = nn.Linear(width, 4 * hidden)
        self.recurrent = nn.Linear(hidden, 4 * hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)

    def step(self, given: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new hidden state and cell (R, H), from ``given`` (R, 4 H), the projected input."""
        write, keep, new, show = (given + self.recurrent(hidden)).chunk(4, -1)
        cell = keep.sigmoid() * cell + write.sigmoid() * new.tanh()
        return show.sigmoid() * cell.tanh(), cell


class Lstm(nn.Module):
    """Stacked cells with zero initial states, and dropout between them in training."""

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.cells = nn.ModuleList(LstmCell(hidden if layer else width, hidden) for layer in range(layers))
        self._hidden = hidden
        self._dropout = dropout

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden states and cells (S, R, H) of the top layer, from (S, R, D); rows are independent."""
        if not len(inputs):
            nothing = inputs.new_zeros((0, inputs.shape[1], self._hidden))
            return nothing, nothing
        below, hidden = inputs, inputs
        for layer, cell in enumerate(self.cells):
            below = nn.functional.dropout(hidden, self._dropout, self.training) if layer else hidden
            hidden = _states(cell, below)
        return hidden, _cells(self.cells[-1], below, hidden)


class GruCell(nn.Module):
    """r, z = σ(W [x; h]); n = tanh(W_n x + b + r (U_n h + b')); h' = (1 − z) n + z h."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.given = nn.Linear(width, 3 * hidden)
        self.recurrent = nn.Linear(hidden, 3 * hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return hidden states (S, R, H) of inputs (S, R, D), from a zero initial state; rows are independent."""
        initial = inputs.new_zeros((1, inputs.shape[1], self.recurrent.in_features))
        weights = (self.given.weight, self.recurrent.weight, self.given.bias, self.recurrent.bias)
        # cuDNN's layer has no second derivative, and needs all weights in one buffer.
        with torch.backends.cudnn.flags(enabled=False) if inputs.is_cuda else nullcontext():
            states, _ = torch.gru(inputs, initial, weights, True, 1, 0.0, False, False, False)
        return states


class Gru(nn.Module):
    """Stacked cells with zero initial states, and dropout between them in training."""

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.cells = nn.ModuleList(GruCell(hidden if layer else width, hidden) for layer in range(layers))
        self._hidden = hidden
        self._dropout = dropout

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (S, R, H) hidden states of the top layer, from (S, R, D)."""
        if not len(inputs):
            return inputs.new_zeros((0, inputs.shape[1], self._hidden))
        hidden = inputs
        for layer, cell in enumerate(self.cells):
            hidden = cell(nn.functional.dropout(hidden, self._dropout, self.training) if layer else hidden)
        return hidden


def _states(cell: nn.Module, inputs: Tensor) -> Tensor:
    """Return hidden states (S, R, H) of one layer, from a zero initial state."""
    assert isinstance(cell, LstmCell)
    initial = inputs.new_zeros((1, inputs.shape[1], cell.recurrent.in_features))
    weights = (cell.given.weight, cell.recurrent.weight, cell.given.bias, cell.recurrent.bias)
    # cuDNN's layer has no second derivative; PyTorch's other implementations have one.
    with torch.backends.cudnn.flags(enabled=False) if inputs.is_cuda else nullcontext():
        states, _, _ = torch.lstm(inputs, (initial, initial), weights, True, 1, 0.0, False, False, False)
    return states


def _cells(cell: nn.Module, inputs: Tensor, states: Tensor) -> Tensor:
    """Return the cells (S, R, H) of one layer: PyTorch's call, faster than our own steps, returns only the last one."""
    assert isinstance(cell, LstmCell)
    before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
    write, keep, new, _ = (cell.given(inputs) + cell.recurrent(before)).chunk(4, -1)
    kept, added = keep.sigmoid(), write.sigmoid() * new.tanh()
    cells = [torch.zeros_like(states[0])]
    for share, value in zip(kept, added, strict=True):
        cells.append(torch.addcmul(value, share, cells[-1]))
    return torch.stack(cells[1:])
