"""A ranker of candidate replies, trained on their similarity to a reference (PLATO, section 3.3, for DSTC7-AVSD).

Shape letters: B contexts, S candidates of each, D width.
"""

from torch import Tensor, nn


class Ranker(nn.Module):
    """A linear map of the recognition state of context and candidate; initially all scores are equal."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, recognised: Tensor) -> Tensor:
        """Return scores (…) of states (…, D), the higher the better."""
        scores: Tensor = self.out(recognised).squeeze(-1)
        return scores


def listwise(scores: Tensor, worths: Tensor, temperature: float) -> Tensor:
    """Return () the cross-entropy of softmax(scores) (B, S) to softmax(``worths`` / temperature) (B, S), in nats.

    Both are softmax over the candidates of a context (ListNet: Cao et al., 2007); equal worths give a uniform target.
    """
    wanted = (worths / temperature).softmax(-1)
    return -(wanted * scores.log_softmax(-1)).sum(-1).mean()


def pairwise(scores: Tensor, worths: Tensor) -> Tensor:
    """Return () the NLL of ranking the better of two candidates first, each pair weighted by its difference in worth.

    Pairs of equal worth count nothing (RankNet: Burges et al., 2005, with the difference as a weight).
    """
    better = (worths.unsqueeze(2) - worths.unsqueeze(1)).clamp(min=0)
    mistaken = nn.functional.softplus(scores.unsqueeze(1) - scores.unsqueeze(2))
    return (better * mistaken).sum() / better.sum().clamp(min=1e-12)
