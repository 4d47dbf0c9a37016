"""The share of replies whose persona is found, the mean over personas that the classifier knows."""

import math

from menura.metrics.score import Sample
from menura.metrics.significance import score
from menura.metrics.whose_reply import WhoseReply


def sample(persona: str, rank: int | None) -> Sample:
    return Sample(persona, "d", "r", "r", 1.0, 1, persona_rank=rank, identified_by="c")


def test_each_known_persona_weighs_the_same() -> None:
    samples = [sample("ann", 0), sample("bo", 0), sample("bo", 3), sample("bo", 1), sample("bo", 2), sample("cy", None)]
    found = score(WhoseReply(), samples, rounds=20, seed=0)
    assert found.value == 100 * (1 + 1 / 4) / 2
    assert found.signature == "whose-reply|top:1|mean:personas|classifier:c"
    assert math.isnan(score(WhoseReply(), [sample("cy", None)], rounds=20, seed=0).value)
