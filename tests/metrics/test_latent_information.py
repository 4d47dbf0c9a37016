import math

import pytest

from menura.metrics.catalogue import METRICS
from menura.metrics.score import Sample


def sample(*posterior: float) -> Sample:
    logs = tuple(math.log(p) if p else -math.inf for p in posterior)
    return Sample("p", "d", "", "r", 1.0, 1, log_posterior=logs)


def value(*samples: Sample) -> float:
    metric = METRICS["latent-information"]
    return metric.value([metric.gather(samples[:1]), metric.gather(samples[1:])])


def test_a_posterior_that_is_the_same_for_all_tells_nothing() -> None:
    assert value(sample(0.9, 0.1), sample(0.9, 0.1)) == pytest.approx(0, abs=1e-12)


def test_latents_that_are_certain_and_used_alike_tell_all_there_is() -> None:
    assert value(sample(1, 0, 0), sample(0, 1, 0), sample(0, 0, 1)) == pytest.approx(math.log(3))


def test_it_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    of_mean = -(0.5 * math.log(0.5) * 2)
    mean_of = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert value(sample(0.8, 0.2), sample(0.2, 0.8)) == pytest.approx(of_mean - mean_of)


def test_without_a_latent_there_is_no_value() -> None:
    assert math.isnan(value(Sample("p", "d", "", "r", 1.0, 1), Sample("p", "d", "", "r", 1.0, 1)))
