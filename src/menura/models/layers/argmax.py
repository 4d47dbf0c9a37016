"""Logits become the argmax of each row; in a large vocabulary only the words that can be it are scored exactly.

Shape letters: B rows, M width, V vocabulary, N candidate words of all rows together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from menura.models.layers.packed_linear import PackedWeight, serves

BLOCK = 128  # words whose largest score is found first,
MANY = 1 << 15  # if there are at least so many scores
ROUNDING = 2.0**-8  # relative rounding error of bfloat16
MOST = 32  # candidates a row: beyond that, all words are scored exactly


def suppress_tokens(scores: Tensor, suppress_ids: Sequence[int]) -> Tensor:
    """Return logits (…, V) with −inf at ``suppress_ids``; the input is overwritten."""
    words = torch.tensor(tuple(suppress_ids), dtype=torch.long, device=scores.device)
    fill = scores.index_fill if scores.requires_grad else scores.index_fill_
    return fill(-1, words, -torch.inf)


def blocked_argmax(scores: Tensor) -> Tensor:
    """Return (B,) the argmax of logits (B, V); of equals the first."""
    whole = scores.shape[-1] // BLOCK * BLOCK
    if not whole or scores.numel() < MANY:
        return scores.argmax(-1)
    # An argmax is slower than a maximum: first the block with the maximum, then the place in it.
    blocks = scores[:, :whole].reshape(len(scores), -1, BLOCK)
    highest, block = blocks.amax(-1).max(-1)
    best = block * BLOCK + blocks[torch.arange(len(scores), device=scores.device), block].argmax(-1)
    if whole == scores.shape[-1]:
        return best
    beyond, place = scores[:, whole:].max(-1)  # what is left of the last block
    return torch.where(torch.stack([highest, beyond]).argmax(0) == 1, whole + place, best)


class ScreenedArgmax(PackedWeight):
    """The argmax of a state's products with a word embedding table: screened in bfloat16, decided in float32.

    In bfloat16 all words take half the time and half the memory. The error of such a product is bounded (Cauchy and
    Schwarz), so that no word that could be the likeliest is missed; the few that could are scored in float32. It is
    used where ``PackedWeight`` is, on CPUs that multiply in bfloat16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0  # largest norm of a word's vector

    def of(self, states: Tensor, table: Tensor, bias: Tensor | None, suppress_ids: tuple[int, ...]) -> Tensor | None:
        """Return (B,) the argmax of states tableᵀ + bias from (B, M), (V, M), (V,); of equals the first.

        ``suppress_ids`` are excluded. None where this does not apply: then all words have to be scored.
        """
        if not (QUICK and serves(states, table)):
            return None
        matrix = self._of(table)
        words, rows = len(table), len(states)
        added = table.new_zeros(words) if bias is None else bias.detach()
        offered = suppress_tokens(nn.functional.pad(added, (0, -words % BLOCK), value=-torch.inf), suppress_ids)
        rough = torch.ops.mkldnn._linear_pointwise(states.bfloat16(), matrix, offered.bfloat16(), "none", [], "")
        blocks = rough.view(rows, -1, BLOCK)
        highest = blocks.float().amax(-1)  # takes half as long as in bfloat16
        top = highest.amax(-1)
        # Both factors of a product, the bias and the sum are rounded; a bias is at most the score and the product.
        off = 1.01 * ROUNDING * (3 * self.longest * states.norm(dim=-1) + 2 * top.abs())
        least = (top - 2 * off).unsqueeze(1)
        row, block = (highest >= least).nonzero(as_tuple=True)
        which, place = (blocks[row, block] >= least[row]).nonzero(as_tuple=True)
        row, word = row[which], block[which] * BLOCK + place
        # If a score is NaN, or every word is suppressed, there are no candidates, or all words are.
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
