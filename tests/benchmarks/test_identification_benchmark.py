"""Likelihoods by judge become identification, each owner's replies with those of its own dialogue."""

from types import SimpleNamespace
from typing import Any

from benchmarks.identification import identified_by


def fold(*dialogues: str) -> Any:
    return SimpleNamespace(exchanges=[SimpleNamespace(dialogue_id=name, reply=(1, 2)) for name in dialogues])


def test_each_persona_is_found_where_its_own_makes_its_replies_likeliest() -> None:
    folds = [fold("a", "a", "b"), fold("c", "d")]
    unadapted = [[9.0, 9.0, 9.0], [9.0, 9.0]]
    of_first, of_second = [[1.0, 1.0, 5.0], [8.0, 8.0]], [[4.0, 4.0, 4.0], [2.0, 2.0]]
    found = {(one.by, one.corrected): one for one in identified_by([of_first, of_second], unadapted, folds)}
    assert found["all dialogues", False].top1 == 1.0
    assert found["one dialogue", False].top1 == 0.75, "dialogue b is likelier under the second persona"
    assert found["one reply", False].top1 == (2 / 3 + 1) / 2
    assert found["all dialogues", False].personas == 2
