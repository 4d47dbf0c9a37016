"""Episodes: drawn by whole dialogues."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import EpisodeError
from menura.tasks.episode import Episode, first_shots, leave_one_out, sample_episode
from menura.tasks.task import DialogueView, Task


def task_of(size: int) -> Task:
    talks = [Dialogue(f"d{i}", (Turn("Ann", f"hi {i}"), Turn("Bob", "so"), Turn("Ann", "yes"))) for i in range(size)]
    return Task("Bob", tuple(DialogueView(talk, "Bob") for talk in talks))


def ids(parts: tuple[DialogueView, ...]) -> list[str]:
    return [part.dialogue.dialogue_id for part in parts]


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 4))
def test_support_and_query_share_no_dialogue(seed: int, shots: int, queries: int) -> None:
    episode = sample_episode(task_of(10), shots, random.Random(seed), queries=queries)
    assert (len(episode.support), len(episode.query)) == (shots, queries)
    assert len({*ids(episode.support), *ids(episode.query)}) == shots + queries


def test_the_same_stream_draws_the_same_episode() -> None:
    one, other = (sample_episode(task_of(10), 3, random.Random(4)) for _ in range(2))
    assert one == other
    assert one != sample_episode(task_of(10), 3, random.Random(5))


def test_first_shots_take_the_files_order_and_all_others_as_query() -> None:
    episode = first_shots(task_of(5), 2)
    assert (ids(episode.support), ids(episode.query)) == (["d0", "d1"], ["d2", "d3", "d4"])
    assert ids(first_shots(task_of(5), 2, queries=1).query) == ["d2"]


def test_leaving_one_out_makes_every_dialogue_the_query_exactly_once() -> None:
    episodes = list(leave_one_out(task_of(4)))
    assert [ids(episode.query) for episode in episodes] == [["d0"], ["d1"], ["d2"], ["d3"]]
    assert all(len(episode.support) == 3 for episode in episodes)
    assert all(not set(ids(episode.support)) & set(ids(episode.query)) for episode in episodes)


def test_leaving_one_out_takes_the_first_shots_of_the_others() -> None:
    assert [ids(episode.support) for episode in leave_one_out(task_of(3), 1)] == [["d1"], ["d0"], ["d0"]]


@pytest.mark.parametrize(
    "draw",
    [
        lambda task: sample_episode(task, 3, random.Random(0)),
        lambda task: first_shots(task, 3),
        lambda task: list(leave_one_out(Task(task.persona_id, task.dialogues[:1]))),
    ],
)
def test_too_few_dialogues_are_an_error_that_tells_how_many_there_are(draw) -> None:
    with pytest.raises(EpisodeError, match=r"persona 'Bob' has \d dialogues?, too few"):
        draw(task_of(3))


def test_an_episode_with_one_dialogue_on_both_sides_cannot_be_made() -> None:
    part = task_of(1).dialogues[0]
    with pytest.raises(AssertionError, match="d0"):
        Episode("Bob", (part,), (part,))
