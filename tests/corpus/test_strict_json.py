"""Untrusted JSON: each thing refused, with its key path."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menura.corpus.strict_json import parsed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1, NaN]}', "a[1]: NaN is not allowed in JSON"),
        ('{"a": -Infinity}', "a: -Infinity is not allowed in JSON"),
        ('{"a": {"b": 1e999}}', "a.b: number too large"),
        ('{"a": ' + "9" * 5000 + "}", "a: number too large"),
        ('{"a": 1, "a": 2}', "a: the key stands twice"),
        ('{"a": ["x", "\\ud800"]}', "a[1]: half of a surrogate pair"),
        ('{"\\udc00": 1}', "half of a surrogate pair in a key"),
        ("[" * 33 + "]" * 33, "nested deeper than 32 levels"),
        ("[" * 100_000, "nested deeper than 32 levels"),
    ],
)
def test_what_json_should_not_hold_is_refused_with_its_key_path(text: str, message: str) -> None:
    value, problems = parsed(text, "f", 3)
    assert value is None
    assert problems[0].code == "json_limit"
    assert message in problems[0].message
    assert problems[0].place == "f:3"


def test_depth_32_is_still_read() -> None:
    assert parsed("[" * 32 + "]" * 32, "f", 1)[1] == []


def test_brackets_inside_texts_do_not_count_as_depth() -> None:
    text = json.dumps({"a": "[{" * 100 + '\\"['})
    assert parsed(text, "f", 1)[1] == []


def test_escaped_pairs_of_surrogates_are_one_character() -> None:
    assert parsed('{"a": "\\ud83d\\ude00"}', "f", 1) == ({"a": "\U0001f600"}, [])


def test_a_syntax_error_tells_line_and_column() -> None:
    _, problems = parsed('{"a" 1}', "talk.jsonl", 17)
    assert problems[0].code == "jsonl_syntax"
    assert problems[0].place == "talk.jsonl:17:6"
    assert "Expecting ':'" in problems[0].message


def test_a_syntax_error_in_a_whole_file_tells_its_own_line() -> None:
    assert parsed('[\n{"a": }]', "f")[1][0].place == "f:2:7"


def test_a_line_of_open_quotes_takes_no_longer_than_its_length() -> None:
    assert parsed("[" * 40 + '"\\' * 60_000, "f", 1)[1]


@given(st.text())
def test_any_text_gives_a_value_or_problems(text: str) -> None:
    value, problems = parsed(text, "f", 1)
    assert value is None or not problems


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    max_leaves=8,
)


@given(values)
def test_sound_json_is_read_as_the_standard_library_does(value: object) -> None:
    assert parsed(json.dumps(value), "f", 1) == (value, [])
