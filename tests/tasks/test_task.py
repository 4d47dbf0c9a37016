"""Exchanges: what a persona answered, after everything said before."""

from dataclasses import replace

from menura.corpus.dialogue import Dialogue, Turn
from menura.tasks.task import DialogueView, Task

TURNS = (Turn("Ann", "one"), Turn("Bob", "two"), Turn("Ann", "three"))
TALK = Dialogue("d", TURNS, {"Bob": ("i sail",)}, {1: ("zero", "two")})


def test_every_reply_comes_with_all_that_was_said_before() -> None:
    (exchange,) = DialogueView(TALK, "Bob").exchanges()
    assert exchange.context == TURNS[:1]
    assert exchange.reply == TURNS[1]
    assert exchange.facts == ("i sail",)
    assert exchange.candidates == ("zero", "two")


def test_an_exchange_has_the_profiles_of_everybody_in_the_dialogue() -> None:
    profiles = {"Ann": {"age": ("7",)}, "Bob": {"interest": ("tea", "chess")}}
    (exchange,) = DialogueView(replace(TALK, facts={}, profiles=profiles), "Bob").exchanges()
    assert exchange.profiles == profiles
    assert exchange.facts == ()
    (bare,) = DialogueView(TALK, "Bob").exchanges()
    assert bare.profiles == {}


def test_an_opening_turn_answers_nothing() -> None:
    (exchange,) = DialogueView(TALK, "Ann").exchanges()
    assert exchange.reply == TURNS[2]
    assert exchange.facts == ()


def test_a_task_knows_its_dialogues() -> None:
    assert Task("Bob", (DialogueView(TALK, "Bob"),)).dialogue_ids == {"d"}
