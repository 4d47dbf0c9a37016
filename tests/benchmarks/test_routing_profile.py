from collections import Counter
from dataclasses import replace

import pytest

from benchmarks import routing, routing_profile

TINY = routing.Shape(3, 2, 4, 5, 40, 30, speakers=2, told=(1, 2), spelt=3)


def test_a_step_of_each_system_is_taken_apart_into_what_it_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = replace(
        routing.MODELS["cpu"],
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        intermediate_size=24,
        embedding=6,
        groups=2,
        rank=3,
    )
    monkeypatch.setitem(routing.MODELS, "cpu", small)
    monkeypatch.setitem(routing.SHAPES, "cpu", TINY)
    monkeypatch.setitem(routing.SYSTEMS, "ar", {**routing.AR, "groups": 1})
    monkeypatch.setattr(routing_profile, "SHOWN", 100)  # so small, what takes long is not what does in earnest
    (found,) = routing_profile.run("cpu", 1)
    assert found.head == ("a training step", "ar", "arplus")
    names = [row[0] for row in found.rows]
    assert {"matrix products", "dropout: drawing and comparing", "total"} <= set(names)
    assert "aten::addmm" not in names


def test_the_longest_come_first_and_rows_make_up_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing_profile, "SHOWN", 2)
    spent = {"ar": Counter(a=60.0, b=30.0, c=10.0), "arplus": Counter(a=10.0, b=30.0, d=10.0)}
    assert routing_profile.table(spent) == [
        ["a training step", "ar", "arplus"],
        ["a", "60 ms, 60%", "10 ms, 20%"],
        ["b", "30 ms, 30%", "30 ms, 60%"],
        ["everything else", "10 ms, 10%", "10 ms, 20%"],
        ["total", "100 ms, 100%", "50 ms, 100%"],
    ]
