"""A ranker of candidates, learnt from how near each comes to a reference (PLATO, section 3.3, of DSTC7-AVSD).

Shape letters: B contexts, S candidates of each, D width.
"""

from torch import Tensor, nn


class Ranker(nn.Module):
    """A linear map of what recognition makes of context and candidate; all candidates are alike at first."""

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
    """Return () the nats of choosing by scores (B, S) what is chosen by ``worths`` (B, S) at a temperature.

    Both are softmax over the candidates of a context (Cao et al., 2007); 0 worth of difference leaves all alike.
    """
    wanted = (worths / temperature).softmax(-1)
    return -(wanted * scores.log_softmax(-1)).sum(-1).mean()


def pairwise(scores: Tensor, worths: Tensor) -> Tensor:
    """Return () the nats of telling the better of two candidates, each pair by how much better it is (B, S).

    Pairs that are worth the same say nothing (Burges et al., 2005, with the difference as a weight).
    """
    better = (worths.unsqueeze(2) - worths.unsqueeze(1)).clamp(min=0)
    mistaken = nn.functional.softplus(scores.unsqueeze(1) - scores.unsqueeze(2))
    return (better * mistaken).sum() / better.sum().clamp(min=1e-12)
