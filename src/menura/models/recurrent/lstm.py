"""Long short-term memory (Hochreiter & Schmidhuber, 1997) that can be differentiated twice.

Shape letters: S tokens of the longest row, R rows, D input, H hidden.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn


class LstmCell(nn.Module):
    """Gates i, f, g, o in this order; c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c'). Two biases, as is usual."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.given = nn.Linear(width, 4 * hidden)
        self.recurrent = nn.Linear(hidden, 4 * hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)

    def step(self, given: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new (R, H) hidden state and cell, from ``given`` (R, 4 H), the input mapped already."""
        write, keep, new, show = (given + self.recurrent(hidden)).chunk(4, -1)
        cell = keep.sigmoid() * cell + write.sigmoid() * new.tanh()
        return show.sigmoid() * cell.tanh(), cell


class Lstm(nn.Module):
    """Layers of cells from zero states, with dropout between them while training."""

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.cells = nn.ModuleList(LstmCell(hidden if layer else width, hidden) for layer in range(layers))
        self._hidden = hidden
        self._dropout = dropout

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return (S, R, H) hidden states and cells of the top layer, from (S, R, D); no row sees another."""
        if not len(inputs):
            nothing = inputs.new_zeros((0, inputs.shape[1], self._hidden))
            return nothing, nothing
        below, hidden = inputs, inputs
        for layer, cell in enumerate(self.cells):
            below = nn.functional.dropout(hidden, self._dropout, self.training) if layer else hidden
            hidden = _states(cell, below)
        return hidden, _cells(self.cells[-1], below, hidden)


def _states(cell: nn.Module, inputs: Tensor) -> Tensor:
    """Return (S, R, H) hidden states of one layer, from zero states."""
    assert isinstance(cell, LstmCell)
    begin = inputs.new_zeros((1, inputs.shape[1], cell.recurrent.in_features))
    weights = (cell.given.weight, cell.recurrent.weight, cell.given.bias, cell.recurrent.bias)
    # cuDNN's layer has no second derivative; those of the library's other ways have.
    with torch.backends.cudnn.flags(enabled=False) if inputs.is_cuda else nullcontext():
        states, _, _ = torch.lstm(inputs, (begin, begin), weights, True, 1, 0.0, False, False, False)
    return states


def _cells(cell: nn.Module, inputs: Tensor, states: Tensor) -> Tensor:
    """Return (S, R, H) cells of one layer: the library's call, quicker than steps of our own, keeps the last alone."""
    assert isinstance(cell, LstmCell)
    before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
    write, keep, new, _ = (cell.given(inputs) + cell.recurrent(before)).chunk(4, -1)
    kept, added = keep.sigmoid(), write.sigmoid() * new.tanh()
    cells = [torch.zeros_like(states[0])]
    for share, value in zip(kept, added, strict=True):
        cells.append(torch.addcmul(value, share, cells[-1]))
    return torch.stack(cells[1:])
