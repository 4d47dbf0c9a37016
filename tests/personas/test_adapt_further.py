"""A persona goes on from what it is, keeps its versions, and goes back to any of them."""

import json
from pathlib import Path

import made_up_chat
import pytest
import torch

from menura.api import adapt, back, persona_history
from menura.artefacts import persona_store
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.errors import ConfigError, DataError, EpisodeError, MismatchError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder with a workspace of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    return tmp_path


def chat(*numbers: int) -> Path:
    """Write these dialogues of one made-up person."""
    path = Path(f"chat-{'-'.join(map(str, numbers))}.jsonl")
    path.write_text("\n".join(json.dumps(made_up_chat.dialogue(0, number)) for number in numbers), encoding="utf-8")
    return path


def first(*words: str) -> PersonaArtefact:
    """Make the first version, from dialogues 0 to 4."""
    adapt("ann", [chat(*range(5))], speaker="person-00", base="tiny", assignments=words)
    return persona_store.load("ann")


def test_it_goes_on_from_its_weights_with_what_is_new_alone() -> None:
    old, seen = first(), list[str]()
    adapt("ann", [chat(*range(8))], more=True, say=seen.append)
    new = persona_store.load("ann")
    assert "note   left out: 5 dialogues that person-00's persona has learnt from" in seen
    assert new.recipe["support_sha256"][:5] == old.recipe["support_sha256"]
    assert len(set(new.recipe["support_sha256"])) == new.recipe["shots"] == 8
    assert new.recipe["replies"] == 16
    assert new.recipe["more"]["from_version"] == 1
    assert new.recipe["more"]["shots"] == 3
    assert new.recipe["files"] == ["chat-0-1-2-3-4.jsonl", "chat-0-1-2-3-4-5-6-7.jsonl"]
    adapt("anew", [chat(5, 6, 7)], speaker="person-00", base="tiny", k=3)
    anew = persona_store.load("anew")
    assert all(name in new.weights for name in anew.weights)
    assert any(not torch.equal(value, anew.weights[name]) for name, value in new.weights.items()), "not from the start"
    assert any(not torch.equal(value, old.weights[name]) for name, value in new.weights.items()), "it learnt"


def test_the_check_says_how_the_version_before_did() -> None:
    first()
    seen: list[str] = []
    adapt("ann", [chat(*range(5, 12))], more=True, k=3, say=seen.append)
    assert any(line.startswith("       version 1 had PPL ") for line in seen), seen


def test_files_with_nothing_new_change_nothing() -> None:
    first()
    with pytest.raises(EpisodeError, match="all 5 dialogues of 'person-00' were learnt from before"):
        adapt("ann", [chat(*range(5))], more=True)
    assert persona_store.versions("ann") == []


def test_another_base_other_settings_and_replacing_are_refused() -> None:
    first()
    with pytest.raises(MismatchError, match="was made with other settings: inner"):
        adapt("ann", [chat(9)], more=True, assignments=["inner.lr=0.5"])
    with pytest.raises(MismatchError, match="was made with other settings: name finetune"):
        adapt("ann", [chat(9)], more=True, method="maml")
    with pytest.raises(MismatchError):
        adapt("ann", [chat(9)], more=True, base="tiny", assignments=["model.adapters.rank=3"])
    with pytest.raises(ConfigError, match="--more and --replace"):
        adapt("ann", [chat(9)], more=True, replace_old=True)
    with pytest.raises(ConfigError, match="unknown persona 'ana'"):
        adapt("ana", [chat(9)], more=True)


def test_going_back_is_taken_back_by_going_back() -> None:
    old = first()
    adapt("ann", [chat(*range(8))], more=True)
    new = persona_store.load("ann")
    number, saved = back("ann")
    assert (number, saved.earlier) == (1, "ann@2")
    assert persona_store.load("ann").packed() == old.packed()
    history = persona_history("ann")
    told = [(one["version"], one["dialogues"], one["from_version"], one["same_as"], one["current"]) for one in history]
    assert told == [(1, 5, None, None, False), (2, 8, 1, None, False), (3, 5, None, 1, True)]
    back("ann")
    assert persona_store.load("ann").packed() == new.packed()
    back("ann", 1)
    assert persona_store.load("ann").packed() == old.packed()
    assert not back("ann", 5)[1].changed, "it is the current one"
    assert back("ann", 2, dry_run=True)[1].changed is False
    assert persona_store.load("ann").packed() == old.packed()


def test_an_unknown_or_damaged_version_is_told() -> None:
    first()
    with pytest.raises(ConfigError, match="has no version but 1"):
        back("ann")
    adapt("ann", [chat(*range(8))], more=True)
    with pytest.raises(ConfigError, match="no version 7; there are 1, 2"):
        back("ann", 7)
    persona_store.path_of("ann@1").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a whole persona package"):
        back("ann", 1)
    assert [one.get("error", "") for one in persona_history("ann")] == ["not a whole persona package", ""]


def test_when_a_version_was_made_is_kept() -> None:
    first()
    made = persona_store.path_of("ann").stat().st_mtime_ns
    adapt("ann", [chat(*range(8))], more=True)
    assert persona_store.path_of("ann@1").stat().st_mtime_ns == made
