"""Likelihoods by judge become identification, each owner's replies with those of its own dialogue."""

from types import SimpleNamespace
from typing import Any

from benchmarks.identification import identified_by


def exchange(dialogue: str, partner: str) -> Any:
    source = SimpleNamespace(context=[SimpleNamespace(speaker=partner)], reply=SimpleNamespace(speaker="me"))
    return SimpleNamespace(dialogue_id=dialogue, reply=(1, 2), source=source)


def fold(*dialogues: str, met: str = "ben") -> Any:
    """Return held-out replies, one of each dialogue that is named, to the person of that name."""
    support = [[exchange("s", met)]]
    return SimpleNamespace(exchanges=[exchange(name, name) for name in dialogues], support=lambda shots: support)


def test_each_persona_is_found_where_its_own_makes_its_replies_likeliest() -> None:
    folds = [fold("a", "a", "b"), fold("c", "d")]
    unadapted = [[9.0, 9.0, 9.0], [9.0, 9.0]]
    of_first, of_second = [[1.0, 1.0, 5.0], [8.0, 8.0]], [[4.0, 4.0, 4.0], [2.0, 2.0]]
    found = {(one.by, one.corrected): one for one in identified_by([of_first, of_second], unadapted, folds)}
    assert found["all dialogues", False].top1 == 1.0
    assert found["one dialogue", False].top1 == 0.75, "dialogue b is likelier under the second persona"
    assert found["one reply", False].top1 == (2 / 3 + 1) / 2
    assert found["all dialogues", False].personas == 2


def test_replies_to_new_partners_are_those_to_nobody_in_the_support() -> None:
    folds = [fold("a", "b", met="b"), fold("c", "d", met="d")]
    unadapted = [[9.0, 9.0], [9.0, 9.0]]
    of_first, of_second = [[4.0, 1.0], [9.0, 9.0]], [[3.0, 8.0], [2.0, 2.0]]
    judged = [of_first, of_second]
    assert identified_by(judged, unadapted, folds)[0].top1 == 1.0
    assert identified_by(judged, unadapted, folds, to_new_partners=True)[0].top1 == 0.5, "a is likelier under c's"
