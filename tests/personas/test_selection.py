"""Whose persona a chat becomes, and which dialogues are learnt from and checked on."""

import pytest

from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import ConfigError, EpisodeError
from menura.personas.selection import Collected, Selection, find_speaker, unknown_speaker, with_names
from menura.tasks.task import DialogueView


def talk(name: str, exchanges: int = 2, people: tuple[str, str] = ("Ines", "Tomo")) -> Dialogue:
    return Dialogue(name, tuple(Turn(people[i % 2], f"{name} {i}") for i in range(2 * exchanges)))


def selected(sizes: list[int], shots: int, pick: str = "recent") -> Selection:
    collected = Collected(shots, pick)  # type: ignore[arg-type]
    for index, size in enumerate(sizes):
        collected.add(talk(str(index), size))
    return collected.selection("Tomo")


def ids(views: tuple[DialogueView, ...]) -> list[int]:
    return [int(view.dialogue.dialogue_id) for view in views]


@pytest.mark.parametrize(
    ("sizes", "shots", "support", "held_out"),
    [
        ([2] * 10, 5, [3, 4, 5, 6, 7], [8, 9]),
        ([2] * 10 + [1, 1], 5, [3, 4, 5, 6, 7], [8, 9]),  # dialogues of one exchange are not checked on
        ([2, 2, 2, 2, 1, 1, 2, 1, 2], 3, [3, 4, 5], [6, 8]),
        ([2] * 7, 5, [0, 1, 2, 3, 4], [5, 6]),
        ([2] * 6, 5, [0, 1, 2, 3, 4], [5]),
        ([2] * 5, 5, [0, 1, 2, 3, 4], []),
        ([1] * 9, 5, [4, 5, 6, 7, 8], []),
        ([2] * 10, 1, [7], [8, 9]),
    ],
)
def test_the_last_two_are_held_out_and_those_before_them_learnt_from(
    sizes: list[int], shots: int, support: list[int], held_out: list[int]
) -> None:
    found = selected(sizes, shots)
    assert (ids(found.support), ids(found.held_out)) == (support, held_out)
    assert found.total == len(sizes)


def test_a_spread_lies_over_all_but_those_held_out() -> None:
    found = selected([2] * 102, 5, "spread")
    assert ids(found.support) == [10, 30, 50, 70, 90]
    assert ids(found.held_out) == [100, 101]


def test_a_long_chat_is_spread_over_though_few_of_its_dialogues_are_kept() -> None:
    places = ids(selected([2] * 10_000, 4, "spread").support)
    assert len(places) == 4
    assert all(abs(place - wanted) < 50 for place, wanted in zip(places, (1250, 3750, 6250, 8750), strict=True))


def test_too_few_dialogues_are_told_with_what_to_type() -> None:
    with pytest.raises(EpisodeError, match="replies in 3 dialogues, too few for 5 shots.*use -k 3"):
        selected([2] * 3, 5)


def test_a_speaker_who_never_replies_is_told_with_those_who_do() -> None:
    collected = Collected(1)
    collected.add(talk("a", 2))
    with pytest.raises(ConfigError, match="no replies of 'Noa'.*--speaker Tomo .2 replies., --speaker Ines .1 reply."):
        collected.selection("Noa")


@pytest.mark.parametrize(
    ("name", "owner", "files", "found"),
    [
        ("tomo", "", [], "Tomo"),
        ("TOMO", "", [], "Tomo"),
        ("ines", "", [], "Inês Silva"),
        ("ines-silva", "", [], "Inês Silva"),
        ("me", "Tomo", [], "Tomo"),
        ("me", "", ["WhatsApp Chat with Tomo.zip"], "Tomo"),
        ("me", "", ["chat.txt"], None),
        ("me", "Noa", [], None),
        ("tomo", "Inês Silva", ["Inês Silva.txt"], "Tomo"),
    ],
)
def test_whose_persona_it_is_is_found_by_name_owner_or_file(
    name: str, owner: str, files: list[str], found: str | None
) -> None:
    assert find_speaker(name, [("Inês Silva", 5), ("Tomo", 7), ("Noa", 0)], owner=owner, files=files) == found


def test_the_only_one_who_replies_is_meant() -> None:
    assert find_speaker("me", [("Tomo", 3), ("Ines", 0)]) == "Tomo"


def test_a_generic_speaker_is_a_partner_only_where_another_has_a_name() -> None:
    collected = Collected(1)
    collected.add(talk("a", 2, ("user", "Tomo")))
    assert collected.repliers() == [("Tomo", 2)]
    both = Collected(1)
    both.add(talk("a", 2, ("user", "assistant")))
    assert both.repliers() == [("user", 1), ("assistant", 2)]


def test_who_must_be_named_is_listed_by_replies() -> None:
    assert (
        "--speaker b (9 replies), --speaker a (2 replies)"
        in unknown_speaker(None, [("a", 2), ("b", 9)]).problems[0].hint
    )


@pytest.mark.parametrize("pick", ["last", ""])
def test_an_unknown_pick_is_refused(pick: str) -> None:
    with pytest.raises(ConfigError, match="recent or spread wanted"):
        Collected(1, pick)  # type: ignore[arg-type]


def test_in_a_group_the_others_turns_say_who_speaks_and_the_personas_do_not() -> None:
    group = Dialogue(
        "g", (Turn("Ines", "tea?"), Turn("Noa", "yes"), Turn("Tomo", "green")), context_only=frozenset({1})
    )
    told = with_names(DialogueView(group, "Tomo")).dialogue
    assert [turn.text for turn in told.turns] == ["Ines: tea?", "Noa: yes", "green"]
    assert [turn.speaker for turn in told.turns] == ["Ines", "Noa", "Tomo"]
    assert told.context_only == {1}
    pair = DialogueView(talk("a"), "Tomo")
    assert with_names(pair) is pair


def test_a_memory_keeps_the_last_exchanges_of_all_dialogues_but_those_held_out() -> None:
    collected = Collected(2, remember=True)
    for index in range(1005):
        collected.add(talk(str(index)))
    remembered = collected.selection("Tomo").remembered
    assert [remembered[0].dialogue_id, remembered[-1].dialogue_id] == ["5", "1002"]
    assert len(remembered) == 2 * 998
    assert all(len(exchange.context) == 1 for exchange in remembered)
    assert Collected(2).remember is False
