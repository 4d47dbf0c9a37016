"""Lines of "Name: text", typed by a person, in many dresses."""

import pytest

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.formats import CHAT_FORMATS
from menura.corpus.chats.reading import ChatReading
from menura.corpus.chats.transcripts.text_lines import looks_like
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import DataError

TEXT = """Ann: see http://x.example: it is good
Bob Lee: will do
\tlater: maybe

Ann: back?
Bob Lee:
  yes
"""
(LINES,) = (entry for entry in CHAT_FORMATS if entry.name == "transcript")


def read(text: str) -> tuple[list[Dialogue], ChatReading]:
    reading = ChatReading(ChatFile.of_text("chat.txt", text), LINES)
    return list(reading.dialogues()), reading


def warned(reading: ChatReading) -> dict[str, int]:
    return {problem.code: problem.count for problem in reading.notes.problems}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_names_texts_and_continued_lines_are_told_apart_whatever_ends_a_line(end: str) -> None:
    (first, second), _ = read(TEXT.replace("\n", end))
    assert first.turns == (
        Turn("Ann", "see http://x.example: it is good"),
        Turn("Bob Lee", "will do\nlater: maybe"),
    )
    assert second.turns == (Turn("Ann", "back?"), Turn("Bob Lee", "yes"))
    assert [first.dialogue_id, second.dialogue_id] == ["chat-1", "chat-2"]


@pytest.mark.parametrize(
    "text",
    [
        "> Ann: hi\n> Bob: so\n> Ann: no\n",
        "1. Ann: hi\n2. Bob: so\n3. Ann: no\n",
        "- Ann: hi\n- Bob: so\n- Ann: no\n",
        "**Ann:** hi\n**Bob:** so\n**Ann:** no\n",
        "**Ann**: hi\n**Bob**: so\n**Ann**: no\n",
        "__Ann:__ hi\n__Bob:__ so\n__Ann:__ no\n",
        "Ann：hi\nBob：so\nAnn：no\n",
        "Ann:hi\nBob:so\nAnn:no\n",
        ">> 12) Ann: hi\n>> 13) Bob: so\n>> 14) Ann: no\n",
    ],
)
def test_a_name_is_found_in_every_dress(text: str) -> None:
    assert looks_like(text, "chat.txt")
    (dialogue,), _ = read(text)
    assert dialogue.turns == (Turn("Ann", "hi"), Turn("Bob", "so"), Turn("Ann", "no"))


def test_a_colon_without_a_space_ends_no_name_where_others_have_one() -> None:
    (dialogue,), _ = read("Ann: hi\nat 10:30 we go\nBob: see\nhttps://x.example\n")
    assert dialogue.turns == (Turn("Ann", "hi\nat 10:30 we go"), Turn("Bob", "see\nhttps://x.example"))


def test_a_line_without_a_name_goes_on_with_the_turn_before_and_is_told() -> None:
    (dialogue,), reading = read("Ann: hi\nno name here\nBob: so\n")
    assert dialogue.turns == (Turn("Ann", "hi\nno name here"), Turn("Bob", "so"))
    assert warned(reading)["continued"] == 1


def test_lines_before_the_first_name_are_left_out_and_told() -> None:
    (dialogue,), reading = read("---\nA chat of two friends\n---\nAnn: hi\nBob: so\n")
    assert dialogue.turns == (Turn("Ann", "hi"), Turn("Bob", "so"))
    assert reading.notes.dropped["heading"] == 3
    assert warned(reading)["heading"] == 3


def test_a_name_without_text_is_left_out_with_a_count() -> None:
    (dialogue,), reading = read("Ann: hi\nBob:\nBob: so\n")
    assert dialogue.turns == (Turn("Ann", "hi"), Turn("Bob", "so"))
    assert reading.notes.dropped["empty"] == 1


def test_without_blank_lines_sessions_of_eight_turns_are_cut_and_none_is_lost() -> None:
    dialogues, reading = read("".join(f"{'Ann' if i % 2 == 0 else 'Bob'}: {i}\n" for i in range(25)))
    assert [len(dialogue.turns) for dialogue in dialogues] == [8, 8, 9]
    assert [turn.text for dialogue in dialogues for turn in dialogue.turns] == [str(i) for i in range(25)]
    assert warned(reading)["cut_by_turns"] == 3


def test_nine_turns_are_one_dialogue() -> None:
    dialogues, reading = read("".join(f"{'Ann' if i % 2 == 0 else 'Bob'}: {i}\n" for i in range(9)))
    assert [len(dialogue.turns) for dialogue in dialogues] == [9]
    assert "cut_by_turns" not in warned(reading)


def test_a_chat_of_one_person_is_refused_with_the_reason() -> None:
    with pytest.raises(DataError, match="only 'Ann' speaks") as caught:
        read("Ann: hi\n\nAnn: anybody?\n")
    assert caught.value.problems[0].code == "one_speaker"
    assert caught.value.problems[0].hint


def test_a_chat_of_placeholders_alone_is_refused_with_their_counts() -> None:
    with pytest.raises(DataError, match="nothing is left to learn from: left out 2 media, 1 deleted"):
        read("Ann: <Media omitted>\nBob: image omitted\nAnn: This message was deleted\n")


def test_prose_with_a_colon_is_not_taken_for_a_chat() -> None:
    assert not looks_like("# Notes: a title\nSome line\nand another\n", "notes.txt")
    assert not looks_like("{x: y}\n[a]: b\n", "notes.txt")
    assert looks_like(TEXT, "chat.txt")
