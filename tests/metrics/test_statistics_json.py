"""RunStatistics of every metric, written and read back, give the same figures and hold no word."""

import json
import random

import pytest

from menura.errors import DataError
from menura.metrics.catalogue import METRICS
from menura.metrics.score import Sample, by_persona
from menura.metrics.significance import RunStatistics, score, score_of_runs
from menura.metrics.statistics_json import as_json, from_json

WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett"]


def samples() -> list[Sample]:
    """Twelve replies of four personas with all that any metric reads."""
    rng = random.Random(0)
    return [
        Sample(
            persona_id=f"p{i % 4}",
            dialogue_id=f"d{i % 8}",
            reply=" ".join(rng.choices(WORDS, k=6)),
            reference=" ".join(rng.choices(WORDS, k=6)),
            reference_nll=10 * rng.random(),
            reference_tokens=7,
            rank=rng.randrange(5),
            candidates=5,
            likelihood_rank=rng.randrange(5),
            facts=(" ".join(rng.choices(WORDS, k=4)),),
            nli_labels=(rng.choice((-1, 0, 1)),),
            entailed_by="a scorer",
            emoji_rank=rng.randrange(9),
            emoji_rank_within=rng.randrange(3),
            emojis=3,
            classified_by="a scorer",
            posterior_nll=9 * rng.random(),
            best_nll=8 * rng.random(),
            auxiliary_nll=3.0,
            auxiliary_tokens=2,
        )
        for i in range(12)
    ]


@pytest.mark.parametrize("name", METRICS)
def test_statistics_read_back_give_the_same_figure_and_interval(name: str) -> None:
    metric, given = METRICS[name], samples()
    groups = by_persona(given)
    written = json.dumps([as_json(metric.gather(group)) for group in groups.values()])
    read = RunStatistics(tuple(groups), from_json(json.loads(written)), len(given))
    expected = score(metric, given, rounds=50, seed=0)
    again = score_of_runs(metric, [read], signature=expected.signature, rounds=50, seed=0)
    assert repr(again) == repr(expected)  # nan is nan
    assert not any(word in written for word in WORDS)


def test_statistics_of_an_unknown_kind_are_refused() -> None:
    with pytest.raises(DataError, match="unknown kind: pickled"):
        from_json([{"pickled": "gASV"}])
    with pytest.raises(TypeError, match="complex"):
        as_json(1j)
