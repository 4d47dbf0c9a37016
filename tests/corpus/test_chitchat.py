"""The packaged data set, and its rules on made-up conversations."""

import json
from pathlib import Path

import pytest

from menura.corpus import chitchat
from menura.errors import DataError, StorageError


def message(sender: str, text: str) -> dict[str, str]:
    return {"text": text, "timestamp": "2020-01-01T00:00:00Z", "sender": sender}


def read(folder: Path, conversations: dict[str, object]) -> list:
    path = folder / "dataset.json"
    path.write_text(json.dumps(conversations), encoding="utf-8")
    return list(chitchat.read(path))


def talk(*senders: str) -> dict[str, object]:
    return {"messages": [[message(sender, f"word {i}")] for i, sender in enumerate(senders)]}


def test_only_two_senders_with_six_turns_are_kept(tmp_path: Path) -> None:
    conversations = {
        "good": talk(*"ababab"),
        "short": talk(*"ababa"),
        "joined_short": talk(*"aababa"),
        "alone": talk(*"aaaaaa"),
        "three": talk(*"ababac"),
    }
    assert [dialogue.dialogue_id for dialogue in read(tmp_path, conversations)] == ["good"]


def test_messages_of_a_turn_are_joined_and_empty_ones_left_out(tmp_path: Path) -> None:
    conversation = talk(*"ababab")
    conversation["messages"][0] += [message("a", " "), message("a", "more")]
    assert read(tmp_path, {"c": conversation})[0].turns[0].text == "word 0\nmore"


def test_a_message_without_sender_is_named_by_its_key_path(tmp_path: Path) -> None:
    conversation = talk(*"ababab")
    del conversation["messages"][2][0]["sender"]
    with pytest.raises(DataError, match=r"c\.messages\[2\]\[0\]\.sender: required, is missing"):
        read(tmp_path, {"c": conversation})


def test_a_missing_package_is_answered_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chitchat, "PACKAGE", "no-such-package-here")
    with pytest.raises(StorageError, match="pip install no-such-package-here"):
        chitchat.installed()


def test_the_installed_set_has_2963_dialogues_of_947_speakers() -> None:
    dialogues = list(chitchat.read(chitchat.installed()))
    assert len(dialogues) == 2963
    assert len({speaker for dialogue in dialogues for speaker in dialogue.speakers}) == 947
    assert all(len(dialogue.speakers) == 2 for dialogue in dialogues)
    assert all(turn.text.strip() for dialogue in dialogues for turn in dialogue.turns)
