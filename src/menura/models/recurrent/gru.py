"""Gated recurrent units (Cho et al., 2014) that work with ``functional_call`` and can be differentiated twice.

Shape letters: S steps of the longest row, R rows, D input, H hidden.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn


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
