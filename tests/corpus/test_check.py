"""Checking tells everything at once and never raises for bad data."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from counts import count
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from menura.corpus.catalogue import FORMATS
from menura.corpus.check import check
from menura.errors import ConfigError, UnsafeError

GOOD = "Ann: shall we sail?\nBob: gladly, now?\nAnn: now.\n"


def written(folder: Path, text: str, name: str = "chat.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file_is_counted_without_problems(tmp_path: Path) -> None:
    (report,) = check(written(tmp_path, GOOD), speaker="Bob")
    assert report.format == "transcript"
    assert report.reason
    assert [problem.code for problem in report.problems] == ["few"], "three turns are little to learn from"
    assert (report.statistics.dialogues, report.statistics.turns, report.statistics.speakers) == (1, 3, 2)
    assert report.statistics.replies == {"Bob": 1, "Ann": 1}


def test_alike_problems_are_folded_with_a_count_and_the_first_place(tmp_path: Path) -> None:
    good = json.dumps({"turns": [{"speaker": "Ann", "text": "hi"}, {"speaker": "Bob", "text": "so"}]})
    (report,) = check(written(tmp_path, f"{good}\n[]\n3\n", "a.jsonl"))
    (error,) = report.errors
    assert (error.count, error.place.rsplit(":", 1)[1]) == (2, "2")
    assert report.statistics.dialogues == 1


def test_what_reading_would_change_is_warned_of(tmp_path: Path) -> None:
    text = f"{GOOD}Ann: really.\nAnn: go!\n\n{GOOD}\n{GOOD}\nAnn: alone\n"
    (report,) = check(written(tmp_path, text))
    assert {w.code: w.count for w in report.warnings} == {"few": 1, "duplicate": 1}
    assert report.errors == []
    assert report.notes is not None
    assert report.notes.dropped == {"dialogue of one person": 1}


def test_a_reply_missing_from_its_candidates_is_warned_of(tmp_path: Path) -> None:
    (report,) = check(written(tmp_path, "1 hi\thello\t\tno|maybe\n2 so\tyes\t\tno|yes\n"))
    assert [(warning.code, warning.count) for warning in report.warnings] == [("gold_missing", 1)]


def test_a_field_that_is_not_known_is_warned_of(tmp_path: Path) -> None:
    turns = [{"speaker": "Ann", "text": "hi"}, {"speaker": "Bob", "text": "so"}]
    (report,) = check(written(tmp_path, json.dumps({"turns": turns, "fact": {}}), "a.jsonl"))
    assert [warning.message for warning in report.warnings] == ["field 'fact' is not known; ignored"]


def test_errors_stand_before_warnings(tmp_path: Path) -> None:
    turns = [{"speaker": "Ann", "text": "hi"}, {"speaker": "Bob", "text": "so"}]
    (report,) = check(written(tmp_path, json.dumps({"turns": turns, "fact": {}}) + "\n[]\n", "a.jsonl"))
    assert [problem.level for problem in report.problems] == ["error", "warn"]


def test_an_unknown_speaker_is_answered_with_the_nearest_and_all(tmp_path: Path) -> None:
    (error,) = check(written(tmp_path, GOOD), speaker="Anna")[0].errors
    assert error.code == "unknown_speaker"
    assert "did you mean --speaker Ann?" in error.hint
    assert "'Bob', 'Ann'" in error.message


def test_a_speaker_who_never_replies_is_unknown(tmp_path: Path) -> None:
    (error,) = check(written(tmp_path, "Ann: hi\nBob: so\n"), speaker="Ann")[0].errors
    assert error.code == "unknown_speaker"


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "empty"), (b"a,b\n", "unknown_format"), ("Añn: hi".encode("latin-1"), "encoding")]
)
def test_a_file_that_cannot_be_read_at_all_is_reported_too(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "chat.txt"
    path.write_bytes(content)
    assert [problem.code for problem in check(path)[0].problems] == [code]


def test_strict_reading_and_checking_find_the_same_errors(tmp_path: Path) -> None:
    lines = [{"turns": [{}]}, {"turns": 3}, {"turns": [{"speaker": "a", "text": "b"}, {"speaker": "c", "text": ""}]}]
    path = written(tmp_path, "\n".join(map(json.dumps, lines)), "a.jsonl")
    (report,) = check(path, "jsonl")
    assert sum(error.count for error in report.errors) == 4


def test_a_message_never_repeats_more_than_eighty_characters_of_the_input(tmp_path: Path) -> None:
    long = "x" * 5000
    lines = [
        {"turns": [{"speaker": long, "text": ""}], "facts": {long: 1}},
        {"turns": [], long: 1, "candidates": {long: 1}},
    ]
    (report,) = check(written(tmp_path, "\n".join(map(json.dumps, lines))), "jsonl", speaker=long)
    assert len(report.problems) >= 4
    assert all("x" * 81 not in str(problem) for problem in report.problems)


fragments = st.sampled_from(
    ['{"turns":[', '{"speaker":"a","text":"b"}', ",", "]}", "\n", '["a","b"]', "1 ", "2 hi\thello", "your persona: x.",
     "Ann: hi", "Bob: so", "  ", '{"messages":[', '{"role":"user","content":"x"}', "[[", "NaN", '\\ud800"', "\0", "é"]
)  # fmt: skip


@settings(
    max_examples=count(full_count=10_000, quick_count=150),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(st.binary(max_size=200) | st.lists(fragments, max_size=12).map(lambda parts: "".join(parts).encode()))
def test_any_bytes_in_any_format_give_a_report_or_a_refusal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    for name in [None, *FORMATS]:
        with suppress(UnsafeError):
            (report,) = check(path, name)
            assert report.errors or report.statistics.dialogues


def test_an_unknown_format_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        check(written(tmp_path, GOOD), format="docx")


def test_little_to_learn_from_is_said_of_the_speaker_who_was_named(tmp_path: Path) -> None:
    text = "".join(f"Ann: how are you {day}?\nBob: well {day}\nBob: and you\nAnn: so so\n\n" for day in range(9))
    path = written(tmp_path, f"{text}Ann: hi\nCy: hello\nAnn: so\n")
    told = {who: [p.message for p in check(path, speaker=who)[0].problems if p.code == "few"] for who in ("Ann", "Cy")}
    assert told == {"Ann": [], "Cy": ["1 reply of 'Cy' in 1 dialogue: little to learn from"]}
    (of_all,) = [p.message for p in check(written(tmp_path, GOOD))[0].problems if p.code == "few"]
    assert of_all == "1 reply of 'Ann', who replies most, in 1 dialogue: little to learn from"
