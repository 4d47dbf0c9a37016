"""Who is one persona."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import ConfigError, DataError
from menura.tasks.persona_groups import by_facts, by_map, by_speaker, grouped, union_of_variants


def talk(name: str, *speakers: str, **facts: tuple[str, ...]) -> Dialogue:
    return Dialogue(name, tuple(Turn(speaker, f"{name} {i}") for i, speaker in enumerate(speakers * 2)), facts)


def own(name: str, *facts: str) -> Dialogue:
    """A dialogue of a nameless speaker with a profile."""
    return talk(name, "partner", "self", self=facts)


TALKS = [talk("1", "Ann", "Bob"), talk("2", "Bob", "Cy"), talk("3", "Ann", "Bob")]


def ids(tasks) -> dict[str, list[str]]:
    return {task.persona_id: [part.dialogue.dialogue_id for part in task.dialogues] for task in tasks}


def test_a_speaker_has_the_dialogues_it_speaks_in() -> None:
    assert ids(by_speaker(TALKS)) == {"Ann": ["1", "3"], "Bob": ["1", "2", "3"], "Cy": ["2"]}


def test_a_cap_keeps_the_first_dialogues_of_each_speaker() -> None:
    assert ids(by_speaker(TALKS, cap=1)) == {"Ann": ["1"], "Bob": ["1"], "Cy": ["2"]}


def test_a_generic_speaker_beside_people_with_names_is_no_persona() -> None:
    assert ids(by_speaker([talk("1", "partner", "Ann"), talk("2", "user", "Bob")])) == {"Ann": ["1"], "Bob": ["2"]}
    assert ids(by_speaker([talk("1", "其他", "Ann"), talk("2", "Bob", "somebody-2")])) == {"Ann": ["1"], "Bob": ["2"]}
    assert ids(by_speaker([talk("1", "user", "assistant")])) == {"user": ["1"], "assistant": ["1"]}


def test_profiles_that_share_three_sentences_are_one_persona_also_through_others() -> None:
    talks = [own("1", *"abcd"), own("2", *"bcde"), own("3", *"cdef"), own("4", *"abxy")]
    first, second = by_facts(talks)
    assert [part.dialogue.dialogue_id for part in first.dialogues] == ["1", "2", "3"]
    assert first.facts == tuple("abcdef")
    assert second.facts == tuple("abxy")


def test_two_shared_sentences_suffice_if_asked() -> None:
    assert len(by_facts([own("1", *"abcd"), own("4", *"abxy")], min_shared=2)) == 1


def test_a_personas_id_does_not_depend_on_the_order_of_dialogues_or_sentences() -> None:
    one = by_facts([own("1", *"abcd"), own("2", *"bcde")])
    other = by_facts([own("2", *"edcb"), own("1", *"dcba")])
    assert one[0].persona_id == other[0].persona_id
    assert one[0].persona_id.startswith("persona-")
    assert len(one[0].persona_id) == len("persona-") + 12


def test_equal_profiles_are_one_persona_however_short() -> None:
    assert len(by_facts([own("1", "a"), own("2", "a"), own("3", "b")])) == 2


def test_speakers_without_facts_are_left_out() -> None:
    (task,) = by_facts([own("1", *"abc"), talk("2", "partner", "self")])
    assert task.dialogue_ids == {"1"}
    with pytest.raises(DataError, match="no speaker has facts"):
        by_facts([talk("2", "partner", "self")])


def test_a_persona_that_meets_itself_has_that_dialogue_once() -> None:
    (task,) = by_facts([talk("1", "partner", "self", self=("a", "b", "c"), partner=("a", "b", "c"))])
    assert len(task.dialogues) == 1


def test_generic_speakers_with_facts_are_grouped_by_facts_and_others_by_name() -> None:
    assert [task.persona_id[:8] for task in grouped([own("1", *"abc")])] == ["persona-"]
    assert list(ids(grouped(TALKS))) == ["Ann", "Bob", "Cy"]
    assert list(ids(grouped([talk("1", "user", "assistant")]))) == ["user", "assistant"]


def test_a_map_names_the_personas() -> None:
    mapping = {"7": [["b", "a"], ["a", "c"]], "8": [["x"]]}
    tasks = by_map([own("1", "a", "b"), own("2", "x."), own("3", "c", "a.")], mapping)
    assert ids(tasks) == {"7": ["1", "3"], "8": ["2"]}


def test_every_profile_missing_from_the_map_is_an_error() -> None:
    with pytest.raises(DataError) as caught:
        by_map([own("1", "a"), own("2", "b"), own("3", "b"), own("4", "c")], {"0": [["a"]]})
    assert [problem.place for problem in caught.value.problems] == ["dialogue 2", "dialogue 4"]


def test_a_map_that_gives_one_profile_to_two_personas_is_refused() -> None:
    with pytest.raises(ConfigError, match="gives one profile to '1' and '2'"):
        by_map([own("1", "a")], {"1": [["a"]], "2": [["a."]]})


@given(st.lists(st.frozensets(st.integers(0, 9).map(str), max_size=5), max_size=12), st.integers(1, 4))
def test_groups_are_those_of_comparing_every_pair(variants: list[frozenset[str]], min_shared: int) -> None:
    groups = [{i} for i in range(len(variants))]
    for i, one in enumerate(variants):
        for j, other in enumerate(variants[:i]):
            if len(one & other) >= min_shared or one == other:
                merged = groups[i] | groups[j]
                for index in merged:
                    groups[index] = merged
    wanted = sorted(sorted(group) for group in {frozenset(group) for group in groups})
    assert union_of_variants(variants, min_shared) == wanted


@pytest.mark.parametrize(
    "call",
    [
        lambda: by_speaker(TALKS, cap=0),
        lambda: by_facts([own("1", "a")], min_shared=0),
    ],
)
def test_counts_below_one_are_refused(call) -> None:
    with pytest.raises(ConfigError):
        call()
