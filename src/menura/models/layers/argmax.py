"""Scores become the likeliest word of each row; of many words only those are scored exactly that can be it.

Shape letters: B rows, M width, V vocabulary, N words, of all rows together, that may be their row's likeliest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from menura.models.layers.packed_linear import PackedWeight, serves

BLOCK = 128  # words of which the largest score is found first,
MANY = 1 << 15  # where there are at least so many scores
ROUNDING = 2.0**-8  # by which share bfloat16 may be off
MOST = 32  # words a row: of more, all are scored exactly at once


def suppress_tokens(scores: Tensor, suppress_ids: Sequence[int]) -> Tensor:
    """Return scores (…, V) with no chance for words that are never to be said; the scores given are used up."""
    words = torch.tensor(tuple(suppress_ids), dtype=torch.long, device=scores.device)
    fill = scores.index_fill if scores.requires_grad else scores.index_fill_
    return fill(-1, words, -torch.inf)


def blocked_argmax(scores: Tensor) -> Tensor:
    """Return (B,) the place of each row's largest score (B, V), of equals the first."""
    whole = scores.shape[-1] // BLOCK * BLOCK
    if not whole or scores.numel() < MANY:
        return scores.argmax(-1)
    # Looking for a place is slower than looking for a value: the block that holds the maximum, then where in it.
    blocks = scores[:, :whole].reshape(len(scores), -1, BLOCK)
    highest, block = blocks.amax(-1).max(-1)
    best = block * BLOCK + blocks[torch.arange(len(scores), device=scores.device), block].argmax(-1)
    if whole == scores.shape[-1]:
        return best
    beyond, place = scores[:, whole:].max(-1)  # what is left of the last block
    return torch.where(torch.stack([highest, beyond]).argmax(0) == 1, whole + place, best)


class ScreenedArgmax(PackedWeight):
    """The largest of a state's products with every word of a table, found in bfloat16 and decided in float32.

    In bfloat16 all words take half the time and half the memory. By how much such a product can be off is known
    (Cauchy and Schwarz), so that no word that could be the likeliest is passed over; the few that could are scored in
    float32. It serves where a packed matrix does, on processors that multiply in bfloat16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0  # norm of a word's vector

    def of(self, states: Tensor, table: Tensor, bias: Tensor | None, suppress_ids: tuple[int, ...]) -> Tensor | None:
        """Return (B,) the words of the largest states tableᵀ + bias from (B, M), (V, M), (V,); of equals the first.

        No word of ``unsaid`` is. None where it does not serve or cannot tell: then all are to be scored.
        """
        if not (QUICK and serves(states, table)):
            return None
        matrix = self._of(table)
        words, rows = len(table), len(states)
        added = table.new_zeros(words) if bias is None else bias.detach()
        offered = suppress_tokens(nn.functional.pad(added, (0, -words % BLOCK), value=-torch.inf), suppress_ids)
        rough = torch.ops.mkldnn._linear_pointwise(states.bfloat16(), matrix, offered.bfloat16(), "none", [], "")
        blocks = rough.view(rows, -1, BLOCK)
        highest = blocks.float().amax(-1)  # which takes half as long as in bfloat16
        top = highest.amax(-1)
        # Rounded are both numbers of a product, the bias and the sum; a bias is at most the score and the product.
        off = 1.01 * ROUNDING * (3 * self.longest * states.norm(dim=-1) + 2 * top.abs())
        least = (top - 2 * off).unsqueeze(1)
        row, block = (highest >= least).nonzero(as_tuple=True)
        which, place = (blocks[row, block] >= least[row]).nonzero(as_tuple=True)
        row, word = row[which], block[which] * BLOCK + place
        # Where a score is no number, or none is allowed, nothing was found, or everything.
        if len(word) > MOST * rows or not bool(torch.bincount(row, minlength=rows).all()):
            return None
        scores = (states[row] * table[word]).sum(-1) + added[word]
        best = scores.new_full((rows,), -torch.inf).scatter_reduce(0, row, scores, "amax")
        first = scores == best[row]
        found: Tensor = word.new_full((rows,), words).scatter_reduce(0, row[first], word[first], "amin")
        return found

    def _made(self, weight: Tensor) -> Tensor:
        self.longest = float(weight.norm(dim=1).max())
        filled = nn.functional.pad(weight.bfloat16(), (0, 0, 0, -len(weight) % BLOCK))
        made: Tensor = torch.ops.mkldnn._reorder_linear_weight(filled)
        return made


QUICK: bool = torch.cpu.get_capabilities().get("avx512_bf16", False)
