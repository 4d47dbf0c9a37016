import json
from dataclasses import replace
from typing import Any, cast

import pytest

from benchmarks import routing
from menura.errors import MismatchError

TINY = routing.Shape(3, 2, 4, 5, 40, 30, speakers=2, told=(1, 2), spelt=3)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
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
    changed = {**routing.AR, "groups": 1}
    monkeypatch.setitem(routing.MODELS, "cpu", small)
    monkeypatch.setitem(routing.SHAPES, "cpu", TINY)
    monkeypatch.setitem(routing.SYSTEMS, "ar", changed)
    monkeypatch.setattr(routing, "SAYING", (3, 4))


def test_replies_with_a_cache_and_without_are_the_same() -> None:
    model = routing.made("arplus", "cpu")
    prompts = routing.batch_of(model, "cpu", 3, said=False)
    found = routing.cached(model, prompts, 6)
    assert found == routing.uncached(model, prompts, 6)
    assert {len(reply) for reply in found} == {6}
    assert len({json.dumps(reply) for reply in found}) > 1


def test_replies_that_differ_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "SHAPES", {"cpu": TINY})
    assert [ratio.at_least for ratio in routing.run_cache(1)] == [routing.CACHED]
    monkeypatch.setattr(routing, "uncached", lambda *given: [[1]])
    with pytest.raises(MismatchError, match="not the same replies"):
        list(routing.run_cache(1))


def test_every_system_takes_the_same_exchanges_and_learns_from_them() -> None:
    for system in routing.SYSTEMS:
        model = routing.made(system, "cpu")
        batch = routing.batch_of(model, "cpu")
        assert [len(exchange.ids) for exchange in batch.exchanges] == [2 * (TINY.turn + 1) + 1 + TINY.reply + 1] * 3
        adam = routing.optimizer(model)
        losses = [routing.step(model, adam, batch) for _ in range(25)]
        assert losses[-1] < losses[0], system


def test_speakers_reply_in_turn_and_tell_as_much_by_words_or_by_characters() -> None:
    for system, numbers in (("arplus", [1, 2]), ("ar", [3, 6])):
        first, second, third = routing.batch_of(routing.made(system, "cpu"), "cpu").exchanges
        assert first.profiles[0] == third.profiles[0] != second.profiles[0]
        assert first.profiles[1] != third.profiles[1]
        assert [len(value) for _, value in first.profiles[0]] == numbers


def test_a_row_of_each_system_is_compared_with_ar() -> None:
    counts, study, *found = cast(list[Any], list(routing.run("cpu", tuple(routing.SYSTEMS), 1)))
    assert [row[0] for row in counts.rows] == [row[0] for row in study.rows] == list(routing.SYSTEMS)
    assert [ratio.what.split()[3].rstrip(",") for ratio in found] == list(routing.SYSTEMS)[1:]
    assert [ratio.at_least for ratio in found] == [routing.QUICKER, *[None] * 5]
