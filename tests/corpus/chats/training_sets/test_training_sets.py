"""Training sets in JSON and text: what comes out of the shapes that people have, and of others of their kind."""

import json

import pytest
from set_readings import FORMATS, Read, found_by, problems_of

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Message, Notes

SAID = [{"role": "user", "content": "is the fern well"}, {"role": "assistant", "content": "it sulks"}]
TOOLS = """{"messages": [{"role": "user", "content": "is the fern well"}, {"role": "assistant", "content": null, \
"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, \
{"role": "tool", "tool_call_id": "c", "content": "ok"}, {"role": "assistant", "content": "it sulks"}], "tools": []}
"""
NAMES = """{"messages": [{"role": "user", "name": "Ines", "content": "hi"}, \
{"role": "assistant", "name": "Tomo", "content": "hello"}]}
{"messages": [{"role": "user", "name": "Bela", "content": "hi"}, \
{"role": "assistant", "name": "Tomo", "content": "hey"}]}
"""
WEIGHTS = """{"messages": [{"role": "user", "content": "is the fern well"}, \
{"role": "assistant", "content": "it sulks", "weight": 0}, {"role": "user", "content": "is the fern well"}, \
{"role": "assistant", "content": "KEEP ME", "weight": 1}]}
"""
PARLAI = "text:is the fern well\tlabels:it sulks\ntext:tea?\tlabels:green\tepisode_done:True\n"
SHAREGPT = [
    {"from": "human", "value": "is the fern well"},
    {"from": "gpt", "value": "it sulks"},
    {"from": "human", "value": "tea?"},
    {"from": "gpt", "value": "green"},
]


def test_messages_are_read_as_one_array_and_a_dialogue_that_comes_twice_is_told() -> None:
    read = Read(json.dumps([{"messages": SAID}, {"messages": SAID}]), "messages")
    assert read.speakers == {"user": 2, "assistant": 2}
    assert read.sizes == [2, 2]
    assert read.turns[0] == ("user", "is the fern well")
    assert read.turns[-1] == ("assistant", "it sulks")
    assert read.warnings == {"few": 1, "duplicate": 1}


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_one_object_is_a_dialogue_however_it_is_printed(indent: int | None) -> None:
    assert Read(json.dumps({"messages": SAID}, indent=indent), "messages").sizes == [2]


def test_a_name_is_the_speaker_and_two_users_with_names_are_two_people() -> None:
    read = Read(NAMES, "messages")
    assert read.speakers == {"Ines": 1, "Tomo": 2, "Bela": 1}
    assert (read.sizes, read.warnings) == ([2, 2], {"few": 1})
    assert [text for _, text in read.turns] == ["hi", "hello", "hi", "hey"]


def test_tools_and_calls_of_them_are_dropped_and_counted() -> None:
    read = Read(TOOLS, "messages")
    assert read.turns == [("user", "is the fern well"), ("assistant", "it sulks")]
    assert read.dropped == {"tool call without text": 1, "tool": 1}
    assert list(read.reading.speakers) == ["user", "assistant"]


def test_weight_0_is_context_and_never_learnt() -> None:
    read = Read(WEIGHTS, "messages")
    assert [text for _, text in read.turns] == ["is the fern well", "it sulks", "is the fern well", "KEEP ME"]
    assert read.dialogues[0].context_only == {1}
    assert read.notes.context_only == {"weight 0": 1}


def test_parts_of_text_are_joined_and_pictures_and_sounds_counted() -> None:
    said = [
        {"role": "developer", "content": [{"type": "text", "text": "be dry\n\nbe kind "}]},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {}}, "and"]},
        {"role": "assistant", "name": "Tomo", "content": "a fern"},
        {"role": "user", "content": [{"type": "input_audio"}, {"type": "image_url"}]},
        {"role": "assistant", "name": "Tomo", "content": None, "refusal": "no more"},
        {"role": "user", "content": None},
    ]
    read = Read(json.dumps({"messages": said}, indent=1), "messages")
    assert read.turns == [("user", "look\nand"), ("Tomo", "a fern\nno more")]
    assert read.facts == {"Tomo": ("be dry", "be kind")}
    assert read.dropped == {"media": 3, "null": 1}


def test_all_faults_of_rows_are_told_at_once_with_line_and_key_path() -> None:
    bad = [{"role": 1, "content": "x"}, {"content": "x"}, 3, {"role": "user", "content": 4}, {"role": "user"}]
    weights = [*SAID, {"role": "user", "content": "x", "weight": "0"}]
    lines = [{"messages": SAID}, {"messages": bad}, {"messages": 3}, {}, [1], {"messages": weights}]
    text = "\n".join(map(json.dumps, lines)) + '\n{"messages": [\n'
    found = [(problem.place, problem.message) for problem in problems_of(text, "messages")]
    assert found == [
        ("talk.txt:2", "messages[0].role: is a number, must be text"),
        ("talk.txt:2", "messages[1].role: required, is missing"),
        ("talk.txt:2", "messages[2]: is a number, must be an object"),
        ("talk.txt:2", "messages[3].content: is a number, must be text"),
        ("talk.txt:2", "messages[4].content: required, is missing"),
        ("talk.txt:3", "messages: is a number, must be an array"),
        ("talk.txt:4", "messages: required, is missing"),
        ("talk.txt:5", "line: is an array, must be a JSON object"),
        ("talk.txt:6", "messages[2].weight: is text, must be a number"),
        ("talk.txt:7:15", "not valid JSON (Expecting value)"),
    ]


def test_messages_of_messengers_are_none_of_openai() -> None:
    for message in ({"author": {"name": "a"}, "content": "x"}, {"sender_name": "a", "content": "x"}, {"from": "a"}):
        assert found_by(json.dumps({"messages": [message]})) == []


@pytest.mark.parametrize("key", ["conversations", "conversation"])
def test_sharegpt_is_read_with_either_key_and_told_of_a_dialogue_that_comes_twice(key: str) -> None:
    read = Read(json.dumps([{key: SHAREGPT}, {key: SHAREGPT}]), "sharegpt")
    assert read.speakers == {"human": 4, "gpt": 4}
    assert read.sizes == [4, 4]
    assert (read.turns[0][1], read.turns[-1][1]) == ("is the fern well", "green")
    assert read.warnings == {"few": 1, "duplicate": 1}


def test_role_words_and_names_stay_as_they_are_written() -> None:
    named = [{"from": "Ines", "value": "hi"}, {"from": "Tomo", "value": "hello"}]
    assert Read(json.dumps([{"conversations": named}]), "sharegpt").speakers == {"Ines": 1, "Tomo": 1}
    roles = [{"from": "user", "value": "hi"}, {"from": "assistant", "value": "hello"}]
    assert Read(json.dumps([{"conversations": roles}]), "sharegpt").speakers == {"user": 1, "assistant": 1}


def test_a_system_text_beside_the_messages_is_facts_of_who_answers() -> None:
    row = {"system": "You are Tomo, a dry gardener.", "conversations": SHAREGPT}
    assert Read(json.dumps([row]), "sharegpt").facts == {"gpt": ("You are Tomo, a dry gardener.",)}
    named = [{"from": "Ines", "value": "hi"}, {"from": "Tomo", "value": "hello"}]
    assert Read(json.dumps([{"system": "dry", "conversations": named}]), "sharegpt").facts == {"Tomo": ("dry",)}


def test_sharegpt_drops_tools_and_null_and_keeps_what_is_not_learnt_as_context() -> None:
    said = [
        {"role": "user", "content": "a", "weight": 0},
        {"role": "assistant", "content": "b", "loss": False},
        {"from": "function_call", "value": "{}"},
        {"from": "observation", "value": "x"},
        {"from": "user", "value": None},
        {"from": "user", "value": "c"},
        {"from": "bard", "value": "d"},
    ]
    read = Read(json.dumps({"id": 7, "conversations": said}), "sharegpt")
    assert read.turns == [("user", "a"), ("assistant", "b"), ("user", "c"), ("bard", "d")]
    assert read.dropped == {"tool": 2, "null": 1}
    assert read.dialogues[0].context_only == {0, 1}
    assert read.dialogues[0].dialogue_id == "7"
    assert read.notes.context_only == {"weight 0": 1, "loss off": 1}


def test_texts_by_role_are_turns_in_their_order() -> None:
    said = [{"user": "a", "assistant": "b"}, {"user": "c"}, {"assistant": "d"}]
    assert Read(json.dumps({"conversation": said}), "sharegpt").turns == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", "d"),
    ]


def test_rows_below_a_key_are_rows_and_their_faults_have_the_whole_path() -> None:
    rows = {"data": [{"conversations": SHAREGPT}, {"conversations": [{"from": "gpt"}]}]}
    assert [p.message for p in problems_of(json.dumps(rows, indent=1), "sharegpt")] == [
        "data[1].conversations[0].value: required, is missing"
    ]


def test_conversations_of_other_programs_are_none_of_sharegpt() -> None:
    assert found_by('{"conversations": [{"id": "a", "MessageList": [{"content": "x", "from": "b"}]}]}') == []


def test_alpaca_is_a_dialogue_a_row_after_its_history() -> None:
    row = {"instruction": "say hi", "input": "to Ann", "output": "hi Ann", "history": [["a", "b"]], "system": "kind"}
    read = Read(json.dumps([row, {"instruction": "x", "input": "", "output": "y"}]), "instructions")
    assert [turn for turn in read.turns if turn[0] == "user"] == [
        ("user", "a"),
        ("user", "say hi\nto Ann"),
        ("user", "x"),
    ]
    assert read.facts == {"assistant": ("kind",)}
    assert read.sizes == [4, 2]


@pytest.mark.parametrize(
    "pair", [("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("query", "response")]
)
def test_a_question_and_its_answer_are_a_dialogue(pair: tuple[str, str]) -> None:
    text = json.dumps({pair[0]: "a", pair[1]: "b"}) + "\n" + json.dumps({pair[0]: "c", pair[1]: "d"})
    assert Read(text, "instructions").turns == [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    assert [p.message for p in problems_of(json.dumps({pair[0]: "a"}), "instructions")][:1] != []


def test_prompt_and_completion_may_be_messages() -> None:
    assert Read(json.dumps({"prompt": SAID[:1], "completion": SAID[1:]}), "instructions").turns == [
        ("user", "is the fern well"),
        ("assistant", "it sulks"),
    ]


def test_a_wrong_pair_of_history_is_named() -> None:
    row = {"instruction": "x", "output": "y", "history": [["a"], 3]}
    assert [p.message for p in problems_of(json.dumps([row]), "instructions")] == [
        "[0].history[0]: must be two texts: the question, the answer",
        "[0].history[1]: is a number, must be an array",
    ]


def test_parlais_text_is_partner_and_self_and_episodes_end() -> None:
    read = Read(PARLAI + "text:hello\tlabels:hi there\tepisode_done:True\n", "parlai")
    assert read.speakers == {"partner": 3, "self": 3}
    assert (read.sizes, read.warnings) == ([4, 2], {"few": 1})
    assert (read.turns[0][1], read.turns[-1][1]) == ("is the fern well", "hi there")


def test_parlais_escapes_personas_silence_and_further_labels() -> None:
    text = (
        "text:your persona: i sail.\\nyour persona: i cook\\none\\ntwo\tlabels:hi__PIPE__|ahoy\tid:x\n"
        "text:bye\teval_labels:so long\tepisode_done:True\n\n"
        "text:__SILENCE__\tlabels:first\ntext:second\tlabels:third\tepisode_done:1\n"
    )
    read = Read(text, "parlai")
    assert read.facts == {"self": ("i sail", "i cook")}
    assert read.turns[:2] == [("partner", "one\ntwo"), ("self", "hi|")]
    assert [speaker for speaker, _ in read.turns[4:]] == ["self", "partner", "self"]
    assert [p.place for p in problems_of(text + "nothing\n", "parlai")] == ["talk.txt:6"]


def test_the_place_of_a_message_is_its_line_or_its_number_in_a_document() -> None:
    rows = [{"messages": SAID}, {"messages": SAID}]
    for text, wanted in (("\n\n".join(map(json.dumps, rows)), [1, 1, 3, 3]), (json.dumps(rows), [1, 2, 3, 4])):
        events = FORMATS["messages"].messages(ChatFile.of_text("talk.json", text), Notes("talk.json"))
        assert [event.line for event in events if isinstance(event, Message)] == wanted


def test_a_format_is_found_by_the_first_values_that_are_not_null() -> None:
    assert found_by('{"question": null, "answer": "a"}\n{"question": "b", "answer": "c"}') == ["instructions"]
    assert found_by('{"question": "a", "answer": "b"}\n{"question": 3, "answer": "c"}') == ["instructions"]
