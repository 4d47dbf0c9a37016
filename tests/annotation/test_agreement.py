import math
import random

import numpy
import pytest
from numpy.typing import NDArray

from menura.annotation.agreement import counted, fleiss_kappa, gwet_ac1, krippendorff_alpha
from menura.errors import DataError

LABELS = 3
SEEDS = range(12)


def table(seed: int, *, raters: int = 4, items: int = 30, missing: float = 0.0) -> list[list[int | None]]:
    """Return votes, a row an item: raters who follow what an item is most of the time."""
    stream = random.Random(seed)
    rows = []
    for _ in range(items):
        likely = stream.choice((0, 0, 1, 2))
        votes = [likely if stream.random() < 0.6 else stream.randrange(LABELS) for _ in range(raters)]
        rows.append([None if stream.random() < missing else vote for vote in votes])
    return rows


def counts_of(rows: list[list[int | None]]) -> NDArray[numpy.int64]:
    """Return how many raters gave each label."""
    return numpy.array(counted([[vote for vote in row if vote is not None] for row in rows]))


@pytest.mark.parametrize("seed", SEEDS)
def test_kappa_is_that_of_statsmodels(seed: int) -> None:
    oracle = pytest.importorskip("statsmodels.stats.inter_rater")
    counts = counts_of(table(seed))
    assert fleiss_kappa(counts) == pytest.approx(float(oracle.fleiss_kappa(counts)), abs=1e-12)


@pytest.mark.parametrize("ordinal", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("seed", SEEDS)
def test_alpha_is_that_of_krippendorff(seed: int, missing: float, ordinal: bool) -> None:
    oracle = pytest.importorskip("krippendorff")
    rows = table(seed, missing=missing)
    data = numpy.array([[numpy.nan if vote is None else vote for vote in row] for row in rows]).T
    level = "ordinal" if ordinal else "nominal"
    wanted = oracle.alpha(reliability_data=data, value_domain=[0, 1, 2], level_of_measurement=level)
    assert krippendorff_alpha(counts_of(rows), ordinal=ordinal) == pytest.approx(float(wanted), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_ac1_is_that_of_irrcac(seed: int) -> None:
    oracle = pytest.importorskip("irrCAC.raw")
    pandas = pytest.importorskip("pandas")
    rows = table(seed)
    wanted = oracle.CAC(pandas.DataFrame(rows), digits=12).gwet()["est"]["coefficient_value"]
    assert gwet_ac1(counts_of(rows)) == pytest.approx(float(wanted), abs=1e-9)


def test_ac1_takes_items_with_fewer_votes() -> None:
    """By hand: the three items with two votes agree by (1 + 0 + 1) / 3; the labels' shares are over all four items."""
    counts = [[2, 0], [1, 1], [0, 2], [1, 0]]
    shares = [(1 + 0.5 + 0 + 1) / 4, (0 + 0.5 + 1 + 0) / 4]
    by_chance = sum(share * (1 - share) for share in shares)
    assert gwet_ac1(counts) == pytest.approx((2 / 3 - by_chance) / (1 - by_chance))


@pytest.mark.parametrize("name", ["kappa", "alpha", "ordinal alpha", "ac1"])
def test_an_item_that_weighs_two_is_an_item_that_stands_twice(name: str) -> None:
    coefficient = {
        "kappa": fleiss_kappa,
        "alpha": lambda counts, weights=None: krippendorff_alpha(counts, weights, ordinal=False),
        "ordinal alpha": lambda counts, weights=None: krippendorff_alpha(counts, weights, ordinal=True),
        "ac1": gwet_ac1,
    }[name]
    counts = counts_of(table(3))
    weights = [number % 3 for number in range(len(counts))]
    assert coefficient(counts, weights) == pytest.approx(coefficient(numpy.repeat(counts, weights, axis=0)))


def test_where_one_label_is_rare_ac1_stays_high_and_kappa_does_not() -> None:
    counts = [[3, 0]] * 28 + [[2, 1], [2, 1]]
    assert fleiss_kappa(counts) < 0
    assert gwet_ac1(counts) > 0.9


def test_one_label_alone_leaves_kappa_and_alpha_undefined_and_ac1_full() -> None:
    counts = [[3, 0, 0]] * 4
    assert math.isnan(fleiss_kappa(counts))
    assert math.isnan(krippendorff_alpha(counts, ordinal=True))
    assert gwet_ac1(counts) == 1.0


def test_raters_who_always_agree_on_items_that_differ_agree_fully() -> None:
    counts = [[3, 0, 0], [0, 3, 0], [0, 0, 3]]
    assert fleiss_kappa(counts) == pytest.approx(1)
    assert krippendorff_alpha(counts, ordinal=True) == pytest.approx(1)
    assert gwet_ac1(counts) == pytest.approx(1)


def test_without_two_votes_on_any_item_there_is_no_agreement() -> None:
    counts = [[1, 0], [0, 1]]
    assert math.isnan(krippendorff_alpha(counts, ordinal=False))
    assert math.isnan(gwet_ac1(counts))
    with pytest.raises(DataError, match="uneven_votes"):
        fleiss_kappa(counts)
