"""What every metric of the catalogue promises, asked of each without being named here."""

import math
import random
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from menura.metrics import catalogue
from menura.metrics.catalogue import DEFAULT, METRICS
from menura.metrics.score import Metric, Sample
from menura.metrics.significance import bootstrap, paired_difference, score

# A new unit adds a line.
BEST = {"per token": 1.0, "per word": 1.0, "bits": 0.0, "%": 100.0, "share": 1.0, "sum over facts": 3.0}
BEST |= {"mean over facts": 1.0, "per character": 1.0, "of 10": 10.0, "small share": 1.0, "nats": math.log(2)}
BEST |= dict.fromkeys(("words a reply", "% of letters", "% of characters", "emoji a reply"), 0.0)
# Where the best value of a perfect system depends on its replies, here of six different words each.
BEST_OF = {"bleu-1-chencherry": 4 / 3, "bleu-2-chencherry": (4 / 3 * 10 / 9) ** 0.5, "dist-2-words": 5 / 6}
# And of 48 different characters each and an end; six such replies have 289 classes of AR's 9489 between them.
BEST_OF |= {"dist-2-release": 48 / 49, "f1-release-macro": 289 / 9489}

CERTAIN = ((0.0, -math.inf), (-math.inf, 0.0))  # log-posteriors of two latents that are told apart

every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


def best_of(metric: Metric) -> float:
    """The best value there is; of a share of faults that is none."""
    if metric.name in BEST_OF:
        return BEST_OF[metric.name]
    return 0.0 if (metric.unit, metric.better) == ("%", "lower") else BEST[metric.unit]


def flawed_samples(personas: int = 8) -> list[Sample]:
    """Replies that share some words with their references, some ranks missing, personas of unequal size.

    Some facts are said, some contradicted, some emojis guessed; some replies have a manner that no reference has.
    """
    rng = random.Random(11)
    words = ["rain", "tea", "violin", "harbour", "lantern", "seven", "gently", "walks", "under", "moon", "we", "they"]
    samples = []
    for persona in range(personas):
        for index in range(3 + persona % 4):
            reference = rng.choices(words, k=8)
            reply = [*reference[:5], *rng.choices(words, k=2)] if index != 1 or persona % 2 else ["submarines", "again"]
            rank = None if index == 2 else rng.randrange(4)
            nll = rng.uniform(5, 30)
            where = (f"p{persona}", f"d{index // 2}")
            ranked = (rank, 20 if index != 2 else 0, rank)
            facts = (reference[index % 5], f"never {reference[0]}", "submarines")
            nli_labels = (1, rng.choice([-1, 0]), 0)
            guessed = (rng.randrange(9), rng.randrange(2), 8, "emoji")
            read = (facts, nli_labels, "nli", *guessed)
            manner = " Ha! \N{SPARKLES}" * (index % 3)
            sample = Sample(*where, " ".join(reply) + manner, " ".join(reference), nll, 9, *ranked, *read)
            chance = rng.uniform(0.1, 0.9)
            log_posterior = (math.log(chance), math.log(1 - chance))
            latent = replace(sample, posterior_nll=nll * 0.9, best_nll=nll * 0.8, log_posterior=log_posterior)
            labelled = replace(latent, persona_rank=rng.randrange(3), identified_by="classifier")
            samples.append(replace(labelled, auxiliary_nll=nll * 0.5, auxiliary_tokens=8))
    return samples


# Where, among the characters, each of six words of six replies begins: of kanji, which have no case.
FIRSTS = [[0x4E00 + 48 * line + 8 * place for place in range(6)] for line in range(6)]


def facts_of(words: list[str]) -> tuple[str, ...]:
    """Three facts that together say what a reply of six words says."""
    return tuple(" ".join(words[start : start + 2]) for start in (0, 2, 4))


def perfect_samples() -> list[Sample]:
    """The references themselves, known for sure, ranked first, all facts in them; no character is said twice."""
    texts = [" ".join("".join(map(chr, range(first, first + 8))) for first in firsts) for firsts in FIRSTS]
    return [
        Sample(
            *(f"p{i % 3}", f"d{i}", text, text, 0.0, 7, 0, 20, 0),
            *(facts_of(text.split()), (1, 1, 1), "nli", 0, 0, 8, "emoji"),
            *((), (), 0.0, 0.0, CERTAIN[i % 2], 0.0, 7),
            persona_rank=0,
        )
        for i, text in enumerate(texts)
    ]


@every_metric
def test_the_reference_against_itself_is_the_best_value(metric: Metric) -> None:
    assert score(metric, perfect_samples(), rounds=20, seed=0).value == pytest.approx(best_of(metric), abs=1e-9)


@every_metric
def test_a_worse_system_is_worse_in_the_direction_of_better(metric: Metric) -> None:
    best, worse = (score(metric, samples, rounds=1, seed=0).value for samples in (perfect_samples(), flawed_samples()))
    assert worse > best if metric.better == "lower" else worse < best


@every_metric
def test_order_of_samples_changes_nothing(metric: Metric) -> None:
    samples = flawed_samples()
    shuffled = random.Random(5).sample(samples, len(samples))
    assert score(metric, shuffled, rounds=50, seed=1) == score(metric, samples, rounds=50, seed=1)


@every_metric
def test_the_names_of_personas_do_not_change_the_figure(metric: Metric) -> None:
    renamed = [replace(s, persona_id=f"z{9 - int(s.persona_id[1:])}") for s in flawed_samples()]
    assert score(metric, renamed, rounds=1, seed=0).value == score(metric, flawed_samples(), rounds=1, seed=0).value


@every_metric
def test_the_interval_holds_the_value_and_has_width(metric: Metric) -> None:
    found = score(metric, flawed_samples(), rounds=400, seed=2)
    assert found.low <= found.value <= found.high
    assert found.low < found.high


@every_metric
def test_the_interval_stays_in_the_range_of_the_metric(metric: Metric) -> None:
    low, high = bootstrap(metric, perfect_samples(), rounds=200, seed=0)
    best = best_of(metric)
    most = BEST.get(metric.unit, best)  # of replies of any length
    assert (low >= best - 1e-12) if metric.better == "lower" else (high <= most + 1e-12)


@every_metric
def test_score_and_bootstrap_tell_the_same_interval(metric: Metric) -> None:
    found = score(metric, flawed_samples(), rounds=60, seed=4)
    assert (found.low, found.high) == bootstrap(metric, flawed_samples(), rounds=60, seed=4)


@every_metric
def test_one_persona_gives_an_interval_of_its_value(metric: Metric) -> None:
    found = score(metric, flawed_samples(personas=1), rounds=20, seed=0)
    assert found.personas == 1
    assert [found.low, found.high] == pytest.approx([found.value, found.value], abs=1e-12)


@every_metric
def test_nothing_to_score_is_not_a_number(metric: Metric) -> None:
    found = score(metric, [], rounds=10, seed=0)
    assert all(math.isnan(number) for number in (found.value, found.low, found.high))
    assert (found.personas, found.samples) == (0, 0)


@every_metric
def test_empty_replies_do_not_crash(metric: Metric) -> None:
    silent = [replace(s, reply="") for s in flawed_samples()]
    assert math.isfinite(score(metric, silent, rounds=20, seed=0).value)


@every_metric
def test_a_system_does_not_differ_from_itself(metric: Metric) -> None:
    found = paired_difference(metric, flawed_samples(), flawed_samples(), rounds=50, seed=0)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


@every_metric
def test_name_is_the_key_and_stands_in_the_signature(metric: Metric) -> None:
    assert METRICS[metric.name] is metric
    assert metric.signature.startswith(f"{metric.name}|")


@every_metric
def test_a_metric_is_frozen_and_hashable(metric: Metric) -> None:
    with pytest.raises(FrozenInstanceError):
        metric.unit = "wishes"  # type: ignore[misc]
    assert len({metric, replace(metric)}) == 1


def test_signatures_are_all_different() -> None:
    assert len({metric.signature for metric in METRICS.values()}) == len(METRICS)


def test_the_default_set_is_in_the_catalogue() -> None:
    assert set(DEFAULT) <= set(METRICS)


def test_no_metric_file_is_missing_from_the_catalogue() -> None:
    about = {"__init__", "catalogue", "score", "significance", "statistics_json"}  # not metrics of samples
    about |= {"words", "nearest_candidate", "meteor_jar"}  # what several share, and what asks another program
    about |= {"identification"}  # of all personas under all, not of one system's samples
    files = {path.stem for path in Path(catalogue.__file__).parent.glob("*.py")} - about
    assert files == {type(metric).__module__.rpartition(".")[2] for metric in METRICS.values()}
