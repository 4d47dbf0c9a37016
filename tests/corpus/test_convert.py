"""What is written is read back, or not written at all."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from counts import count
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from menura.corpus import inputs
from menura.corpus.chats.cleaning.normalise import clean, mended
from menura.corpus.chats.cleaning.placeholders import dropped_as, stripped
from menura.corpus.convert import write
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import ConfigError, DataError

TALK = Dialogue("a", (Turn("Ann", "shall we?"), Turn("Bob", "gladly.\nnow?")))
CHAT = Dialogue("a", (Turn("user", "hi"), Turn("assistant", "ahoy")), {"assistant": ("i sail", "i cook.")})
PAIRS = Dialogue(
    "a",
    (Turn("self", "ahoy"), Turn("partner", "hi"), Turn("self", "fine"), Turn("partner", "bye")),
    {"self": ("i sail", "i cook."), "partner": ("i mend: clocks",)},
    {2: ("no", "fine")},
)


def stays(text: str) -> bool:
    """Tell whether a text of a chat is read as it is: clean, and no placeholder."""
    unchanged = clean(text, Counter()) == text and mended(text)[0] == text and stripped(text)[0] == text
    return unchanged and not dropped_as(text)


any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
plain_text = st.text("abc é:'\"\\\u2028|.", min_size=1, max_size=20).map(str.strip).filter(bool)
chat_text = any_text.filter(stays)


def dialogues(names: st.SearchStrategy[str], texts: st.SearchStrategy[str]) -> st.SearchStrategy[Dialogue]:
    """Two different speakers taking turns."""
    speakers = st.lists(names, min_size=2, max_size=2, unique=True)
    said = st.lists(texts, min_size=2, max_size=5)
    return st.builds(
        lambda two, texts: Dialogue("x", tuple(Turn(two[i % 2], text) for i, text in enumerate(texts))), speakers, said
    )


def back(found: list[Dialogue], path: Path, format: str) -> list[Dialogue]:
    write(found, path, format)
    read = inputs.read(path, format)
    return [replace(new, dialogue_id=old.dialogue_id) for new, old in zip(read, found, strict=True)]


some = settings(
    max_examples=count(full_count=60, quick_count=30),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)


@some
@given(
    st.lists(dialogues(st.text("abcé ", min_size=1, max_size=9).filter(str.strip), any_text), min_size=1, max_size=3),
    st.data(),
)
def test_any_dialogue_survives_jsonl_with_id_facts_candidates_and_profiles(
    tmp_path: Path, talks: list[Dialogue], data: st.DataObject
) -> None:
    facts = data.draw(st.dictionaries(st.text("ab", min_size=1), st.lists(any_text, max_size=2).map(tuple), max_size=2))
    candidates = data.draw(st.dictionaries(st.integers(0, 1), st.lists(any_text, max_size=2).map(tuple)))
    candidates = {index: given for index, given in candidates.items() if given}
    values = st.lists(any_text, min_size=1, max_size=3).map(tuple)
    known = st.dictionaries(st.text("ab é", min_size=1).filter(str.strip), values, min_size=1, max_size=3)
    profiles = data.draw(st.dictionaries(st.text("ab", min_size=1), known, max_size=2))
    talks = [Dialogue(f"id {i}", talk.turns, facts, candidates, profiles) for i, talk in enumerate(talks)]
    write(talks, tmp_path / "t.jsonl", "jsonl")
    assert inputs.read(tmp_path / "t.jsonl") == talks


@some
@given(
    st.lists(
        dialogues(st.text("abcé", min_size=1, max_size=9), plain_text.filter(stays)),
        min_size=1,
        max_size=3,
    )
)
def test_plain_dialogues_survive_a_transcript(tmp_path: Path, talks: list[Dialogue]) -> None:
    assert back(talks, tmp_path / "t.txt", "transcript") == talks


@some
@given(st.lists(dialogues(st.sampled_from(["self", "partner"]), plain_text), min_size=1, max_size=3))
def test_plain_dialogues_survive_personachat(tmp_path: Path, talks: list[Dialogue]) -> None:
    assert back(talks, tmp_path / "t.txt", "personachat") == talks


@some
@given(st.lists(dialogues(st.sampled_from(["user", "assistant"]), chat_text), min_size=1, max_size=3))
def test_any_chat_survives_messages(tmp_path: Path, talks: list[Dialogue]) -> None:
    assert back(talks, tmp_path / "t.jsonl", "messages") == talks


@some
@given(
    dialogues(st.text(min_size=1, max_size=4), st.text(max_size=8)),
    st.sampled_from(["transcript", "personachat", "messages", "jsonl"]),
)
def test_what_cannot_be_written_is_refused_never_changed(tmp_path: Path, talk: Dialogue, format: str) -> None:
    with suppress(DataError):
        assert back([talk], tmp_path / "t", format) == [talk]


@pytest.mark.parametrize(("talk", "format"), [(TALK, "transcript"), (CHAT, "messages"), (PAIRS, "personachat")])
def test_each_format_holds_its_own(tmp_path: Path, talk: Dialogue, format: str) -> None:
    assert back([talk, talk], tmp_path / "t", format) == [talk, talk]


@pytest.mark.parametrize(
    ("talk", "format", "lost"),
    [
        (CHAT, "transcript", "its facts"),
        (Dialogue("a", ()), "transcript", "dialogue as a whole"),
        (PAIRS, "messages", "its facts"),
        (replace(CHAT, candidates={1: ("a", "ahoy")}), "messages", "its candidates"),
        (replace(TALK, profiles={"Ann": {"age": ("7",)}}), "transcript", "its profiles"),
        (replace(TALK, profiles={"Ann": {"Age": ("7",)}}), "jsonl", "the dialogue as a whole"),
        (replace(PAIRS, turns=(*PAIRS.turns[:3], Turn("partner", "a\tb"))), "personachat", r"turns\[3\]"),
        (replace(PAIRS, turns=(*PAIRS.turns[:2], Turn("self", " "))), "personachat", "dialogue as a whole"),
        (replace(TALK, turns=(Turn("A:b", "x"), Turn("c", "y"))), "transcript", r"turns\[0\]|whole"),
    ],
)
def test_what_would_be_lost_is_told(tmp_path: Path, talk: Dialogue, format: str, lost: str) -> None:
    path = tmp_path / "t"
    with pytest.raises(DataError, match=lost):
        write([talk], path, format)
    assert not path.exists()


def test_a_format_that_is_only_read_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only read"):
        write([TALK], tmp_path / "t", "sharegpt")


def test_no_dialogues_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dialogues"):
        write([], tmp_path / "t", "jsonl")


def test_more_lines_than_would_be_read_again_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with pytest.raises(DataError, match="limit 32 MiB and 100,000 lines"):
        write([TALK] * 100_001, path, "jsonl")
    assert not path.exists()
