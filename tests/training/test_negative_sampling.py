import math
import random
from dataclasses import dataclass

import pytest
import torch
from made_up import VARIANTS, Toy, part

from menura.batches.encode import EncodedEpisode, EncodedExchange
from menura.training.data import EncodedTask
from menura.training.negatives import auxiliary_loss, with_negatives


@dataclass
class Wanting:
    """What is asked for."""

    num_negatives: int = 3
    num_choice_exchanges: int = 4


def tasks_of(toy: Toy) -> list[EncodedTask]:
    """Return five personas; two of them say the same things, and one of those falls silent."""
    said = {
        "mira": ("tick", "tock"),
        "ada": ("bread", "rye"),
        "bo": ("tick", "plums"),
        "cy": ("", "maps"),
        "di": ("stars", "moons"),
    }
    return [
        EncodedTask(name, toy.encoder.dialogues([part(f"{name}-{text}", "hi", text) for text in texts], name))
        for name, texts in said.items()
    ]


def episode_of(tasks: list[EncodedTask]) -> EncodedEpisode:
    return EncodedEpisode(tasks[0].persona_id, tasks[0].dialogues[:1], tasks[0].dialogues[1:])


def exchanges_of(episode: EncodedEpisode) -> list[EncodedExchange]:
    return [exchange for dialogue in episode.support + episode.query for exchange in dialogue]


def given(toy: Toy, wanting: Wanting, seed: int) -> EncodedEpisode:
    tasks = tasks_of(toy)
    return with_negatives(episode_of(tasks), tasks, wanting, random.Random(seed))


@pytest.fixture(scope="module")
def toy() -> Toy:
    return VARIANTS["houlsby"].toy(stirred=False)


def test_a_rival_is_never_the_personas_own_nor_the_reply_nor_blank(toy: Toy) -> None:
    found = [rival for seed in range(60) for e in exchanges_of(given(toy, Wanting(), seed)) for rival in e.negatives]
    assert {rival.persona_id for rival in found} == {"ada", "bo", "cy", "di"}
    words = {toy.encoder.reply_text(rival.reply) for rival in found}
    assert words == {"bread", "rye", "tick", "plums", "maps", "stars", "moons"}
    for seed in range(60):
        for exchange in exchanges_of(given(toy, Wanting(), seed)):
            assert exchange.reply not in [rival.reply for rival in exchange.negatives]
            assert len({rival.reply for rival in exchange.negatives}) == len(exchange.negatives) == 3


@pytest.mark.parametrize(("choices", "with_some"), [(1, 1), (2, 2), (9, 2)])
def test_as_many_exchanges_as_asked_for_get_rivals(toy: Toy, choices: int, with_some: int) -> None:
    episode = given(toy, Wanting(num_negatives=2, num_choice_exchanges=choices), 0)
    assert (
        sorted(len(exchange.negatives) for exchange in exchanges_of(episode)) == [0] * (2 - with_some) + [2] * with_some
    )


def test_any_exchange_may_be_drawn_and_nothing_else_is_changed(toy: Toy) -> None:
    tasks = tasks_of(toy)
    places = set()
    for seed in range(20):
        episode = given(toy, Wanting(num_choice_exchanges=1), seed)
        places |= {number for number, exchange in enumerate(exchanges_of(episode)) if exchange.negatives}
        plain = exchanges_of(episode_of(tasks))
        assert [(e.ids, e.dialogue_id) for e in exchanges_of(episode)] == [(e.ids, e.dialogue_id) for e in plain]
    assert places == {0, 1}


def test_the_same_stream_gives_the_same_rivals(toy: Toy) -> None:
    assert given(toy, Wanting(), 3) == given(toy, Wanting(), 3)
    assert given(toy, Wanting(), 3) != given(toy, Wanting(), 4)


def test_without_others_or_without_a_wish_there_are_none(toy: Toy) -> None:
    tasks = tasks_of(toy)
    assert with_negatives(episode_of(tasks), tasks[:1], Wanting(), random.Random(0)) == episode_of(tasks)
    assert given(toy, Wanting(num_negatives=0), 0) == episode_of(tasks)


def test_what_is_lowered_beside_the_replies_is_the_choice_among_the_same_rivals_each_time() -> None:
    toy = VARIANTS["transfer-transfo"].toy()
    tasks = tasks_of(toy)
    episodes = [EncodedEpisode(task.persona_id, task.dialogues[:1], task.dialogues[1:]) for task in tasks[:2]]
    found = auxiliary_loss(toy.model, episodes, tasks)
    assert found == auxiliary_loss(toy.model, episodes, tasks) > 0
    with torch.no_grad():
        toy.model.choice.map.weight.zero_()
    assert auxiliary_loss(toy.model, episodes, tasks) == pytest.approx(math.log(4))  # one of four, by lot


def test_a_model_without_rivals_lowers_nothing_beside() -> None:
    for variant in ("houlsby", "transfer-transfo-lm"):
        toy = VARIANTS[variant].toy()
        tasks = tasks_of(toy)
        assert auxiliary_loss(toy.model, [episode_of(tasks)], tasks) == 0
