"""The formats made of JSON: jsonl, messages, sharegpt, personachat_jsonl."""

import json
from pathlib import Path

import pytest

from menura.corpus import jsonl, personachat_jsonl
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.reading import ChatReading
from menura.corpus.chats.training_sets.catalogue import TRAINING_SETS
from menura.corpus.dialogue import Dialogue, Reader, Turn
from menura.errors import DataError, Problem

TURNS = [{"speaker": "Ann", "text": "shall we?"}, {"speaker": "Bob", "text": "gladly."}]


def read(reader: Reader, folder: Path, *records: object) -> list[Dialogue]:
    path = folder / "talk.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records), encoding="utf-8")
    return list(reader(path))


def problems_of(reader: Reader, folder: Path, *records: object) -> list[Problem]:
    with pytest.raises(DataError) as caught:
        read(reader, folder, *records)
    return caught.value.problems


def chat(name: str) -> Reader:
    """Return the reader of a kind of chat."""
    (format,) = (format for format in TRAINING_SETS if format.name == name)
    return lambda path: ChatReading(ChatFile.on_disk(path), format).dialogues()


def test_our_lines_keep_id_facts_and_candidates(tmp_path: Path) -> None:
    record = {"dialogue_id": "a", "turns": TURNS, "facts": {"Bob": ["i sail"]}, "candidates": {"1": ["no", "gladly."]}}
    (dialogue,) = read(jsonl.read, tmp_path, record)
    turns = (Turn("Ann", "shall we?"), Turn("Bob", "gladly."))
    assert dialogue == Dialogue("a", turns, {"Bob": ("i sail",)}, {1: ("no", "gladly.")})


def test_a_profile_is_a_text_or_texts_by_speaker_and_key_and_what_is_blank_is_not_there(tmp_path: Path) -> None:
    told = {"gender": "female", "interest": ["tea", "", "chess"], "age": " ", "address": []}
    record = {"turns": TURNS, "profile": {"Ann": told, "Bob": {"age": ""}}}
    (dialogue,) = read(jsonl.read, tmp_path, record)
    assert dialogue.profiles == {"Ann": {"gender": ("female",), "interest": ("tea", "chess")}}


def test_dialogues_without_id_are_numbered_by_file(tmp_path: Path) -> None:
    found = read(jsonl.read, tmp_path, {"turns": TURNS}, "", {"turns": TURNS})
    assert [dialogue.dialogue_id for dialogue in found] == ["talk-1", "talk-2"]


def test_what_one_speaker_says_in_a_row_is_joined_and_its_candidates_dropped(tmp_path: Path) -> None:
    turns = [TURNS[0], TURNS[1], {"speaker": "Bob", "text": "now?"}, TURNS[0]]
    record = {"turns": turns, "candidates": {"1": ["x", "gladly."], "3": ["y", "shall we?"]}}
    (dialogue,) = read(jsonl.read, tmp_path, record)
    assert [turn.text for turn in dialogue.turns] == ["shall we?", "gladly.\nnow?", "shall we?"]
    assert dialogue.candidates == {2: ("y", "shall we?")}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "turns: required, is missing"),
        ([], "line: must be a JSON object"),
        ({"turns": {}}, "turns: is an object, must be an array"),
        ({"turns": []}, "dialogue without turns"),
        ({"turns": [*TURNS, {"speaker": "Ann"}]}, "turns[2].text: required, is missing"),
        ({"turns": [*TURNS, {"speaker": 7, "text": "x"}]}, "turns[2].speaker: is a number, must be text"),
        ({"turns": [*TURNS, {"speaker": "Ann", "text": " "}]}, "turns[2].text: is empty"),
        ({"turns": [*TURNS, "hi"]}, "turns[2]: is text, must be an object"),
        ({"turns": TURNS, "facts": {"Ann": "x"}}, "facts.Ann: is text, must be an array"),
        ({"turns": TURNS, "profile": ["x"]}, "profile: is an array, must be an object"),
        ({"turns": TURNS, "profile": {"Ann": "x"}}, "profile.Ann: is text, must be an object"),
        (
            {"turns": TURNS, "profile": {"Ann": {"age": 3}}},
            "profile.Ann.age: is a number, must be text or an array of texts",
        ),
        ({"turns": TURNS, "profile": {"Ann": {"a": ["x", 3]}}}, "profile.Ann.a[1]: is a number, must be text"),
        (
            {"turns": TURNS, "profile": {"Ann": {"Age": "x"}}},
            "profile.Ann.Age: a key is 1 to 64 characters in lower case",
        ),
        (
            {"turns": TURNS, "profile": {"Ann": {" ": "x"}}},
            "profile.Ann[' ']: a key is 1 to 64 characters in lower case",
        ),
        ({"turns": TURNS, "candidates": {"one": ["x"]}}, "candidates.one: must be the index of a turn"),
        ({"turns": TURNS, "candidates": {"9": ["x"]}}, "candidates['9']: there is no such turn"),
        ({"turns": TURNS, "dialogue_id": None}, "dialogue_id: is null, must be text"),
    ],
)
def test_a_wrong_field_is_named_by_its_key_path(tmp_path: Path, record: object, message: str) -> None:
    problems = problems_of(jsonl.read, tmp_path, {"turns": TURNS}, record)
    assert [problem.message for problem in problems] == [message]
    assert problems[0].code == "schema"
    assert problems[0].place.endswith("talk.jsonl:2")


def test_all_defects_of_a_file_come_in_one_error(tmp_path: Path) -> None:
    problems = problems_of(jsonl.read, tmp_path, "{", {"turns": [{}]}, {"turns": TURNS}, '{"a": NaN}')
    assert [problem.code for problem in problems] == ["jsonl_syntax", "schema", "schema", "json_limit"]


def test_one_id_twice_in_a_file_is_an_error(tmp_path: Path) -> None:
    record = {"dialogue_id": "a", "turns": TURNS}
    assert "'a' stands twice" in problems_of(jsonl.read, tmp_path, record, record)[0].message


@pytest.mark.parametrize("name", ["a\u0007b", "x" * 129])
def test_a_name_that_cannot_be_shown_is_refused(tmp_path: Path, name: str) -> None:
    (problem,) = problems_of(jsonl.read, tmp_path, {"turns": [*TURNS, {"speaker": name, "text": "x"}]})
    assert problem.code == "bad_name"
    assert len(problem.message) < 200


@pytest.mark.parametrize("reader", [jsonl.read, chat("messages"), chat("sharegpt"), personachat_jsonl.read])
def test_a_file_of_blank_lines_has_no_dialogues(tmp_path: Path, reader: Reader) -> None:
    assert [p.code for p in problems_of(reader, tmp_path, "", "  ", "")] == ["empty"]


def test_a_system_message_holds_the_assistants_facts(tmp_path: Path) -> None:
    said = [
        {"role": "system", "content": "i sail\n\ni cook "},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ahoy"},
    ]
    (dialogue,) = read(chat("messages"), tmp_path, {"messages": said})
    assert dialogue.facts == {"assistant": ("i sail", "i cook")}
    assert dialogue.turns == (Turn("user", "hi"), Turn("assistant", "ahoy"))


def test_an_unknown_role_is_the_speaker(tmp_path: Path) -> None:
    said = [{"role": "Ann", "content": "hi"}, {"role": "bard", "content": "so"}]
    (dialogue,) = read(chat("messages"), tmp_path, {"messages": said})
    assert dialogue.turns == (Turn("Ann", "hi"), Turn("bard", "so"))


def test_a_role_that_is_no_text_is_refused(tmp_path: Path) -> None:
    record = {"messages": [{"role": ["tool"], "content": "x"}]}
    messages = [problem.message for problem in problems_of(chat("messages"), tmp_path, record)]
    assert messages == ["messages[0].role: is an array, must be text"]


@pytest.mark.parametrize("as_array", [True, False])
def test_sharegpt_is_read_as_array_and_as_lines(tmp_path: Path, as_array: bool) -> None:
    said = [{"from": "system", "value": "i sail"}, {"from": "human", "value": "hi"}, {"from": "gpt", "value": "ahoy"}]
    record = {"id": 7, "conversations": said}
    (dialogue,) = read(chat("sharegpt"), tmp_path, [record] if as_array else record)
    assert dialogue == Dialogue("7", (Turn("human", "hi"), Turn("gpt", "ahoy")), {"gpt": ("i sail",)})


def test_sharegpt_names_the_key_path_from_the_array_down(tmp_path: Path) -> None:
    records = [
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
        {"conversations": [{"from": "bard"}, {"from": 1, "value": "x"}]},
    ]
    found = [problem.message for problem in problems_of(chat("sharegpt"), tmp_path, records)]
    assert found == [
        "[1].conversations[0].value: required, is missing",
        "[1].conversations[1].from: is a number, must be text",
    ]


def test_pairs_become_turns_and_an_empty_partner_means_self_first(tmp_path: Path) -> None:
    record = {"split": "valid", "persona": ["i sail."], "turns": [["", "ahoy"], ["hi", "fine"]]}
    (dialogue,) = read(personachat_jsonl.read, tmp_path, record)
    turns = (Turn("self", "ahoy"), Turn("partner", "hi"), Turn("self", "fine"))
    assert dialogue == Dialogue("valid-1", turns, {"self": ("i sail",)})


@pytest.mark.parametrize("pair", [["a"], ["a", "b", "c"], ["a", 1], []])
def test_a_pair_must_be_two_texts(tmp_path: Path, pair: list[object]) -> None:
    (problem,) = problems_of(personachat_jsonl.read, tmp_path, {"turns": [["x", "y"], pair]})
    assert problem.message == "turns[1]: must be two texts: the partner's, the own"
