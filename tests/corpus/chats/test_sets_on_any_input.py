"""Whatever a file holds, readers of training sets, tables and scripts give dialogues or one of Menura's errors."""

import json
import time
from contextlib import suppress

import pytest
from counts import count
from hypothesis import given, settings
from hypothesis import strategies as st
from set_readings import FORMATS, found_by

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Notes
from menura.corpus.chats.reading import ChatReading
from menura.corpus.chats.training_sets.json_rows import rows
from menura.errors import MenuraError

SAID = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": [{"type": "text", "text": "b"}], "weight": 0},
]
EXAMPLES = {
    "card": json.dumps({"spec": "chara_card_v2", "data": {"name": "T", "mes_example": "<START>\n{{user}}: a\nT: b"}}),
    "sillytavern": '{"user_name": "A", "chat_metadata": {}}\n'
    '{"name": "B", "mes": "{{user}}", "send_date": "2023-1-1 @1h 2m"}\n'
    '{"name": "A", "is_user": true, "mes": "x", "send_date": 1701424800}',
    "messages": json.dumps([{"messages": [*SAID, {"role": "tool", "content": None, "tool_calls": []}]}], indent=1),
    "sharegpt": json.dumps({"id": 1, "system": "s", "conversations": [{"from": "human", "value": "a"}, {"gpt": "b"}]}),
    "personality": json.dumps(
        {"train": [{"personality": ["x"], "utterances": [{"candidates": ["b"], "history": ["a"]}]}]}
    ),
    "msc": json.dumps(
        {"personas": [["a"], ["b"]], "dialog": [{"id": "S", "text": "a"}], "previous_dialogs": [{"dialog": []}]}
    ),
    "blended_skill_talk": json.dumps(
        [{"personas": [["x"], ["y"]], "free_turker_utterance": "p", "dialog": [[0, "a"], [1, "b"]]}]
    ),
    "light": json.dumps({"agents": [{"name": "k", "persona": "p"}], "character": ["k", "s"], "speech": ["a", None]}),
    "instructions": json.dumps(
        {"instruction": "a", "input": "b", "output": "c", "history": [["d", "e"]], "system": "s"}
    ),
    "parlai": "text:your persona: x.\\nhi\tlabels:a|b\tepisode_done:False\ntext:c\teval_labels:d\tepisode_done:True\n",
    "synthetic_persona_chat": "user 1 personas,user 2 personas,Best Generated Conversation\n"
    'a,b,"User 1: a\nUser 2: b"\n',
    "table": 'date,time,from,text,thread\n1.12.2023,10:00,Ann,"a, ""b""\nc",1\n13.12.2023,1701424800,Bob,d,2\n',
    "subtitles": "WEBVTT\n\n1\n00:01.000 --> 00:02.000\n<v Ann>a</v>\n- <i>Bob</i>: b\n\n"
    "00:03.000 --> 00:04.000\n{\\an8}[x]\n",
    "screenplay": "INT. A - DAY\n\nANN (V.O.)\n(x)\nhi\n\n@Bob\nso\n\nANN\nwell\n",
}
LIGHT_IN_TEXT = "text:_self_name k\\n_partner_say a\\n_self_act b\tlabels:_self_say c\tepisode_done:True\n"
EXAMPLES_BY_FORMAT = [*EXAMPLES.items(), ("light", LIGHT_IN_TEXT)]
WORDS = sorted(
    {
        word
        for text in EXAMPLES.values()
        for word in text.replace("'", '"').split('"')
        if word.replace("_", "").isalnum() and len(word) < 30
    }
    | {
        "prompt",
        "completion",
        "question",
        "answer",
        "loss",
        "name",
        "free_messages",
        "guided_messages",
        "conv_id",
        "extra",
    }
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.text(max_size=6) | st.sampled_from(WORDS),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.sampled_from(WORDS), below, max_size=5),
    max_leaves=20,
)
EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 9), st.text(max_size=4) | st.sampled_from(WORDS)), max_size=5
)


def refused_at_most(text: str, format: str) -> None:
    """Read a text by a format, whether it looks like it or not."""
    file = ChatFile.of_text("talk.txt", text)
    with suppress(MenuraError):
        head = file.head()
        for other in FORMATS.values():
            assert isinstance(other.looks_like(head, file.name), str)
        for dialogue in ChatReading(file, FORMATS[format]).dialogues():
            assert len(dialogue.speakers) > 1


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=count(full_count=10_000, quick_count=30))
@given(text=st.text(st.characters(exclude_categories=[])))
def test_any_text_is_read_or_refused(format: str, text: str) -> None:
    refused_at_most(text, format)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=count(full_count=10_000, quick_count=30))
@given(values=st.lists(JSON, max_size=3), style=st.sampled_from(["lines", "array", "object", "pretty"]))
def test_any_json_is_read_or_refused(format: str, values: list[object], style: str) -> None:
    if style == "lines":
        text = "\n".join(map(json.dumps, values))
    else:
        value = values if style == "array" else {"train": values} if style == "pretty" else next(iter(values), {})
        text = json.dumps(value, indent=1 if style == "pretty" else None)
    refused_at_most(text, format)


@pytest.mark.parametrize(("format", "example"), EXAMPLES_BY_FORMAT)
@settings(max_examples=count(full_count=10_000, quick_count=30))
@given(edits=EDITS)
def test_examples_with_slips_are_read_or_refused(format: str, example: str, edits: list[tuple[int, int, str]]) -> None:
    for place, length, text in edits:
        place %= len(example) + 1
        example = example[:place] + text + example[place + length :]
    refused_at_most(example, format)


@pytest.mark.parametrize(("format", "example"), EXAMPLES_BY_FORMAT)
@settings(max_examples=count(full_count=10_000, quick_count=30))
@given(value=JSON, at=st.integers(0, 10**6))
def test_examples_with_another_value_somewhere_are_read_or_refused(
    format: str, example: str, value: object, at: int
) -> None:
    try:
        whole = json.loads(example)
    except ValueError:
        return
    places = list(_places(whole))
    owner, key = places[at % len(places)]
    owner[key] = value
    refused_at_most(json.dumps(whole), format)


def _places(value: object) -> "list[tuple[dict | list, object]]":
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found: list = []
    for key in keys:
        found += [(value, key), *_places(value[key])]  # type: ignore[index]
    return found


@pytest.mark.parametrize(("format", "example"), EXAMPLES_BY_FORMAT)
def test_each_example_is_found_by_its_own_format_alone(format: str, example: str) -> None:
    assert found_by(example)[0] == format


@pytest.mark.parametrize("name", ["messages", "sharegpt"])
def test_the_format_is_found_where_the_start_is_cut_off_anywhere(name: str) -> None:
    text = EXAMPLES[name]
    least = text.index("role" if name == "messages" else "from") + 20
    assert all(found_by(text[:end])[:1] == [name] for end in range(least, len(text)))


NASTY = ["[" * 65_000, '{"a":' * 13_000, "{" * 65_000, " " * 65_000, '"' * 65_000, "A\n" * 32_000, "A: \n\n" * 13_000]
NASTY += [f"{mark}{' ' * 32_000}{mark}" * 2 for mark in '♪-<{["(|,;']
NASTY += ["1\n00:00:01,000 --> 00:00:02,000\n" + line * 10_000 for line in ("<v A", "A ", "A" * 6, "(", "</i>", "♪ ")]
NASTY += ["from,text\n" + line * 10_000 for line in ('"', 'a,"', ",", "a\tb")]
NASTY += ["text:" + "a\tlabels:" * 6_000, '{"a": ' + "9" * 65_000, '{"messages": [' + " " * 65_000]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_no_start_of_a_file_takes_long_to_look_at_or_to_read(text: str) -> None:
    before = time.monotonic()
    for format in FORMATS:
        refused_at_most(text, format)
    assert time.monotonic() - before < 10


def test_an_object_too_large_to_be_parsed_at_once_is_streamed_below_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menura.corpus.chats.chat_file.WHOLE_LIMIT", 10)
    monkeypatch.setattr("menura.corpus.chats.training_sets.json_rows.OBJECT_LIMIT", 10)
    notes = Notes("a.json")
    text = json.dumps({"train": [{"messages": 1}, {"messages": 2}], "valid": [{"messages": 3}, 4]}, indent=1)
    found = [(row.path, row.value["messages"]) for row in rows(ChatFile.of_text("a.json", text), notes, ("messages",))]
    assert found == [("train[0]", 1), ("train[1]", 2), ("valid[0]", 3)]
    assert [p.message for p in notes.problems] == ["valid[1]: is a number, must be a JSON object"]
    notes = Notes("a.json")
    assert list(rows(ChatFile.of_text("a.json", json.dumps({"messages": [1]}, indent=1)), notes, ("messages",))) == []
    assert [p.code for p in notes.problems] == ["too_large"]
