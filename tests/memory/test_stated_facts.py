"""What people say of themselves is found by strict rules, and asked for."""

import pytest

from menura.corpus.dialogue import Turn
from menura.memory.stated_facts import stated_facts
from menura.tasks.task import Exchange


def said(*replies: str) -> list[Exchange]:
    return [Exchange(f"d{i}", (Turn("bo", "and you?"),), Turn("ann", reply)) for i, reply in enumerate(replies)]


@pytest.mark.parametrize(
    ("reply", "question", "answer"),
    [
        ("My name's Ilka, hi", "what is your name?", "ilka"),
        ("I\N{RIGHT SINGLE QUOTATION MARK}m originally from Graz. you?", "where are you from?", "graz"),
        ("i live in a lighthouse, sort of", "where do you live?", "a lighthouse"),
        ("i work at the harbour office!", "where do you work?", "the harbour office"),
        ("I'm studying botany", "what do you study?", "botany"),
        ("i study botany", "what do you study?", "botany"),
        ("my major is botany", "what is your major?", "botany"),
        ("i'm 34.", "how old are you?", "34"),
        ("i am 34 years old", "how old are you?", "34"),
        ("yes i have two grey cats at home", "do you have any pets?", "two grey cats"),
        ("i have an older sister", "do you have any siblings?", "an older sister"),
        ("i play the oboe", "what do you play?", "oboe"),
        ("i grew up on a barge", "where did you grow up?", "a barge"),
        ("i just moved to lisbon", "where did you move?", "lisbon"),
        ("i'm currently learning welsh", "what are you learning?", "welsh"),
        ("i'm really into beekeeping", "what are you into?", "beekeeping"),
        ("i'm a night nurse", "what do you do for a living?", "nurse"),
        ("i speak finnish", "what languages do you speak?", "finnish"),
        ("my favourite colour is moss green", "what is your favorite colour?", "moss green"),
    ],
)
def test_a_statement_answers_its_question(reply: str, question: str, answer: str) -> None:
    (fact,) = stated_facts(said(reply))
    assert (fact.question, fact.answer) == (question, answer)
    assert fact.source.reply.text == reply


@pytest.mark.parametrize(
    "reply", ["do you live in graz?", "i'm 34 minutes late", "he has two cats", "i have an idea", ""]
)
def test_what_says_nothing_of_the_speaker_is_no_fact(reply: str) -> None:
    assert not stated_facts(said(reply))


def test_each_question_is_asked_once_and_outside_of_any_dialogue() -> None:
    first, second = (fact.asked for fact in stated_facts(said("i live in graz. i play chess", "i live in linz")))
    assert [first.context, second.context] == [
        (Turn("you", "where do you live?"),),
        (Turn("you", "what do you play?"),),
    ]
    assert first.reply == Turn("ann", "graz")
    assert first.dialogue_id == "fact:d0", "no dialogue's own id"
