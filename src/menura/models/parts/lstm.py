"""Long short-term memory (Hochreiter & Schmidhuber, 1997) in plain operations, so that it can be differentiated twice.

The library's own layer has no second derivative on a GPU. Rows of unequal length are read without a filled-up token:
they stand longest first, and each step computes those rows that still have a token.

Shape letters: R rows, T tokens of all rows by time (all first tokens, all second ones, …), D input, H hidden.
"""

from collections.abc import Sequence

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

    def forward(self, inputs: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return (T, H) hidden states and cells of the top layer; ``counts`` are the rows at each time, ever fewer."""
        hidden = inputs
        cells = inputs.new_zeros((0, self._hidden))
        for layer, cell in enumerate(self.cells):
            assert isinstance(cell, LstmCell)
            if layer:
                hidden = nn.functional.dropout(hidden, self._dropout, self.training)
            hidden, cells = self._through(cell, cell.given(hidden), counts)
        return hidden, cells

    def _through(self, cell: LstmCell, given: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
        state = cells = given.new_zeros((counts[0] if counts else 0, self._hidden))
        states, all_cells = [state[:0]], [cells[:0]]
        for rows, now in zip(counts, torch.split(given, list(counts)), strict=True):
            state, cells = cell.step(now, state[:rows], cells[:rows])
            states.append(state)
            all_cells.append(cells)
        return torch.cat(states), torch.cat(all_cells)
