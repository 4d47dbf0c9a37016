"""How well a reply fits some facts: a small scorer on the base's frozen token embeddings.

Shape letters: B pairs, F fact tokens, U tokens of the reply, D width, S size.
"""

import torch
from torch import Tensor, nn

SHARPNESS = 10.0  # initial scale of the scores: cosines are small numbers, a softmax wants larger ones


class Receiver(nn.Module):
    """Each reply token is scored by the fact token most similar to it; the scores are summed with token weights.

    P2 Bot's receiver is a pretrained network of its own (Liu et al., 2020). This one is the late interaction of
    ColBERT (Khattab and Zaharia, 2020): a few ten thousand weights, and words unseen in training can match.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.map = nn.Linear(width, size, bias=False)
        self.weight = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.weight.weight)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))

    def forward(self, facts: Tensor, facts_mask: Tensor, reply: Tensor, reply_mask: Tensor) -> Tensor:
        """Return (B,) scores from token vectors (B, F, D), (B, U, D) and masks (B, F), (B, U) that are True where real.

        A pair without any fact or without any word scores zero.
        """
        if not (facts.shape[1] and reply.shape[1]):
            return 0 * self.sharpness.expand(len(reply))
        facts, reply = (nn.functional.layer_norm(vectors, vectors.shape[-1:]) for vectors in (facts, reply))
        keys, questions = (nn.functional.normalize(self.map(vectors), dim=-1) for vectors in (facts, reply))
        near = questions @ keys.transpose(1, 2)  # (B, U, F), cosines
        least = torch.finfo(near.dtype).min
        found = near.masked_fill(~facts_mask[:, None], -1.0).amax(-1) * facts_mask.any(1, keepdim=True)  # (B, U)
        shares = self.weight(reply)[..., 0].masked_fill(~reply_mask, least).softmax(-1) * reply_mask
        scores: Tensor = self.sharpness * (shares * found).sum(-1)
        return scores
