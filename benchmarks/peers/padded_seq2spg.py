"""Seq2SPG as a user of the field's libraries writes it, with our cells or torch's LSTM, on padded rows.

Each exchange's context is a row of its own, filled up on the right. Shape letters: B exchanges, S source tokens, R
reply tokens, H size, V vocabulary.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks.material import flat
from benchmarks.peers.padded import IGNORED
from menura.batches.encode import EncodedDialogue
from menura.models.recurrent.rnn import LstmCell
from menura.models.recurrent.seq2spg import Seq2Spg

Encoder = Literal["cells", "packed"]


@dataclass(frozen=True)
class SequenceLayout:
    """Contexts, decoder inputs, and labels, ``IGNORED`` at padding."""

    source: Tensor  # (B, S)
    lengths: Tensor  # (B,)
    given: Tensor  # (B, R)
    labels: Tensor  # (B, R)


def padded(dialogues: Sequence[EncodedDialogue]) -> SequenceLayout:
    """Pad on the right."""
    exchanges = flat(dialogues)
    source = [torch.tensor(e.prefix[:-1]) for e in exchanges]
    given = [torch.tensor((e.prefix[-1], *e.reply[:-1])) for e in exchanges]
    labels = [torch.tensor(e.reply) for e in exchanges]
    return SequenceLayout(
        nn.utils.rnn.pad_sequence(source, batch_first=True),
        torch.tensor([len(ids) for ids in source]),
        nn.utils.rnn.pad_sequence(given, batch_first=True),
        nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    )


class PaddedSeq2Spg(nn.Module):
    """The same sums as ours with the same weights; every position of a row meets the whole vocabulary."""

    def __init__(self, model: Seq2Spg, encoder: Encoder) -> None:
        super().__init__()
        for name in ("embedding", "bridge", "decoder", "asking", "joining", "private", "gate"):
            setattr(self, name, copy.deepcopy(getattr(model, name)))
        self.bias = nn.Parameter(model.bias.detach().clone())
        cells = copy.deepcopy(model.encoder.cells)
        self.encoder = cells if encoder == "cells" else as_library(cells)

    def forward(self, rows: SequenceLayout) -> Tensor:
        """Return the mean over labels."""
        memory, hidden, cell = self.read(self.embedding(rows.source), rows.lengths)
        seen = torch.arange(rows.source.shape[1])[None] < rows.lengths[:, None]
        words = self.embedding(rows.given)
        before, after = [], []
        hidden = self.bridge(hidden).tanh()
        for word in words.unbind(1):
            before.append(hidden)
            hidden, cell = self.decoder.step(self.decoder.given(word), hidden, cell)
            scores = (memory @ self.asking(hidden)[..., None])[..., 0].masked_fill(~seen, float("-inf"))
            found = (scores.softmax(-1)[:, None] @ memory)[:, 0]
            hidden = self.joining(torch.cat([found, hidden], -1)).tanh()
            after.append(hidden)
        said, told = torch.stack(after, 1), torch.stack(before, 1)
        joined = self.gate(said, self.private(torch.cat([words, told], -1)))
        logits = nn.functional.linear(joined, self.embedding.weight, self.bias)
        return nn.functional.cross_entropy(logits.flatten(0, 1), rows.labels.flatten(), ignore_index=IGNORED)

    def read(self, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (B, S, H) all states of the top layer, and (B, H) its state and cell at each row's own end."""
        if isinstance(self.encoder, nn.LSTM):
            packed = nn.utils.rnn.pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
            states, (hidden, cell) = self.encoder(packed)
            return nn.utils.rnn.pad_packed_sequence(states, batch_first=True)[0], hidden[-1], cell[-1]
        states = vectors
        for layer in self.encoder:
            states, cells = run(layer, states)
        ends = (torch.arange(len(lengths)), lengths - 1)
        return states, states[ends], cells[ends]


def run(layer: LstmCell, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, S, H) states and cells of one layer."""
    given = layer.given(vectors)
    state = cell = given.new_zeros((len(given), given.shape[-1] // 4))
    states, cells = [], []
    for now in given.unbind(1):
        state, cell = layer.step(now, state, cell)
        states.append(state)
        cells.append(cell)
    return torch.stack(states, 1), torch.stack(cells, 1)


def as_library(cells: nn.ModuleList) -> nn.LSTM:
    """Return torch's own layers with the weights of ours."""
    made = nn.LSTM(cells[0].given.in_features, cells[0].recurrent.in_features, len(cells), batch_first=True)
    with torch.no_grad():
        for name, value in made.named_parameters():
            value.copy_(_weight(cells, name))
    return made


def library_name(name: str) -> str:
    """Return ours of a weight's name in either peer."""
    if not name.startswith("encoder.") or "_l" not in name:
        return name.replace("encoder.", "encoder.cells.", 1)
    kind, _, which = name.removeprefix("encoder.").partition("_")
    side, _, layer = which.partition("_l")
    return f"encoder.cells.{layer}.{'given' if side == 'ih' else 'recurrent'}.{kind}"


def _weight(cells: nn.ModuleList, name: str) -> Tensor:
    return dict(cells.named_parameters())[library_name(f"encoder.{name}").removeprefix("encoder.cells.")]


def under_our_names(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a peer's gradients under the names of ours."""
    return {library_name(name): value for name, value in found.items()}
