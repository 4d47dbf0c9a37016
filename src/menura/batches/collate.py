"""Ragged ids become tensors: padding, packing, label positions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Labels:
    """N labels of packed rows: ``token[n]`` is at ``row[n], position[n]`` and belongs to ``exchange[n]``.

    It is predicted at position ``predict_position[n]`` of its row.
    """

    row: Tensor  # (N,) int64
    position: Tensor  # (N,) int64
    predict_position: Tensor  # (N,) int64
    token: Tensor  # (N,) int64
    exchange: Tensor  # (N,) int64


def on_device(labels: Labels, device: torch.device) -> Labels:
    """Return labels on a device."""
    columns = (labels.row, labels.position, labels.predict_position, labels.token, labels.exchange)
    return Labels(*(column.to(device) for column in columns))


def pad(sequences: Sequence[Ids], *, left: bool = False, fill: int = 0) -> tuple[Tensor, Tensor]:
    """Return ids (B, L) and mask (B, L), padded on the right, or on the left."""
    longest = max((len(s) for s in sequences), default=0)
    ids = torch.full((len(sequences), longest), fill, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        where = slice(longest - len(sequence), longest) if left else slice(0, len(sequence))
        ids[row, where] = torch.tensor(sequence, dtype=torch.long)
        mask[row, where] = True
    return ids, mask


def pack(exchanges: Sequence[tuple[Ids, Ids]]) -> tuple[list[Ids], Labels]:
    """Give each (prefix, reply) a row that begins with its sequence, with as few rows as possible.

    Longest first: a sequence that is a prefix of an earlier row needs no row of its own. Rows are sorted longest first,
    so that neighbours have similar lengths.
    """
    order = sorted(range(len(exchanges)), key=lambda i: -len(exchanges[i][0]) - len(exchanges[i][1]))
    rows: list[Ids] = []
    row_of: dict[int, int] = {}
    for index in order:
        sequence = exchanges[index][0] + exchanges[index][1]
        found = next((r for r, row in enumerate(rows) if row[: len(sequence)] == sequence), None)
        if found is None:
            rows.append(sequence)
        row_of[index] = len(rows) - 1 if found is None else found
    entries = [
        (row_of[index], at, at - 1, token, index)
        for index, (prefix, reply) in enumerate(exchanges)
        for at, token in enumerate(reply, start=len(prefix))
    ]
    columns = torch.tensor(entries, dtype=torch.long).reshape(-1, 5).unbind(1)
    return rows, Labels(*columns)


def indices_by_key(keys: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Group indices by equal key, in order of first appearance."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())
