import numpy
import pytest
import torch
from private_toys import PrivateNet

from menura.adaptation.masks import PersonaMask, full_mask, jaccards, mean_jaccard
from menura.corpus.dialogue import Dialogue, Turn
from menura.evaluation.mask_similarity import likeness, mantel
from menura.tasks.task import DialogueView, Task

HOBBIES = ("boats", "goats", "coats", "notes")


def persona(number: int) -> Task:
    """Return one of four kinds of people, by number."""
    facts = (f"i like {HOBBIES[number % 4]}", f"i have {HOBBIES[number % 4]} and {number} friends")
    said = Dialogue(str(number), (Turn("a", "hello"), Turn("b", "hi")))
    return Task(f"p{number}", (DialogueView(said, "b"),), facts)


def mask(kind: int, noise: int) -> PersonaMask:
    """Return what a kind of people keeps, some edges of it at random."""
    shape = full_mask(PrivateNet((4, 40, 40, 4)))
    generator = torch.Generator().manual_seed(kind)
    kept = torch.rand(40, 40, generator=generator) < 0.5
    flipped = torch.rand(40, 40, generator=torch.Generator().manual_seed(100 + noise)) < 0.2
    return PersonaMask((shape.layers[0], shape.layers[1].with_edges(kept ^ flipped), shape.layers[2]))


def test_people_who_are_alike_and_keep_alike_weights_correlate() -> None:
    found = likeness([mask(n % 4, n) for n in range(16)], [persona(n) for n in range(16)])
    assert found.correlation > 0.5
    assert found.p < 0.01
    assert any("rank correlation +0." in line for line in found.lines())


def test_people_of_whom_nothing_is_told_have_masks_and_no_correlation() -> None:
    quiet = [Task(f"p{n}", persona(n).dialogues, ()) for n in range(4)]
    found = likeness([mask(n, n) for n in range(4)], quiet)
    assert found.p is None
    assert found.mask_statistics.personas == 4
    assert found.lines()[-1] == "personas without facts: whether masks follow them is not known"


def test_weights_that_have_nothing_to_do_with_people_do_not_correlate() -> None:
    found = likeness([mask(n, n) for n in range(16)], [persona(n) for n in range(16)])
    assert abs(found.correlation) < 0.2
    assert found.p > 0.05


def ranks(values: numpy.ndarray) -> list[float]:  # type: ignore[type-arg]  # of whatever shape
    """Return each value's place by counting, equals at their mean place."""
    return [float((values < value).sum() + (values == value).sum() / 2) for value in values]


def test_the_correlation_is_that_of_ranks_ties_included() -> None:
    rng = numpy.random.default_rng(0)
    one, other = (numpy.round(m + m.T, 1) for m in rng.random((2, 12, 12)))
    above = numpy.triu_indices(12, 1)
    expected = numpy.corrcoef(ranks(one[above]), ranks(other[above]))[0, 1]
    assert mantel(one, other, 0)[0] == pytest.approx(expected, abs=1e-12)


def test_where_all_are_equal_nothing_correlates() -> None:
    assert mantel(numpy.ones((6, 6)), numpy.random.default_rng(0).random((6, 6)), 0)[0] == 0


def test_the_mean_of_pairs_is_of_different_ones() -> None:
    masks = [mask(n, n) for n in range(3)]
    found = jaccards(masks)
    assert mean_jaccard(masks) == pytest.approx(float(found[0, 1] + found[0, 2] + found[1, 2]) / 3)
