"""``menura persona`` shows people what they have, in lines that line up, and programs everything as JSON."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from chat_of_two import SAID

from menura.artefacts.persona_artefact import ABOUT
from menura.cli.main import run
from menura.corpus.chats.cards.card import read_card
from menura.corpus.chats.cards.writing import new_card

Captured = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("beside_a_chat")


def typed(capsys: Captured, *words: str, exit_code: int = 0) -> str:
    """Return what a line prints."""
    capsys.readouterr()
    assert run(list(words)) == exit_code
    return capsys.readouterr().out


def made(capsys: Captured, name: str, *words: str) -> None:
    """Make a persona of Tomo on the random base."""
    typed(capsys, "adapt", name, "chat.txt", "--speaker", "Tomo", "--base", "tiny", *words)


def rewritten(name: str, **said: Any) -> None:
    """Write what a persona's file says of itself anew, with some of it changed."""
    path = Path("home", "personas", f"{name}.persona")
    with zipfile.ZipFile(path) as archive:
        content = {member: archive.read(member) for member in archive.namelist()}
    content[ABOUT] = json.dumps({**json.loads(content[ABOUT]), **said}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for member, value in content.items():
            archive.writestr(member, value)


def test_the_list_has_what_each_was_made_of_in_columns_that_line_up(capsys: Captured) -> None:
    made(capsys, "noa")
    made(capsys, "noa", "-k", "1")
    made(capsys, "somebody-else", "-k", "3")
    os.utime("home/personas/noa.persona", (1_700_000_000, 1_700_000_000))
    head, first, second = typed(capsys, "persona", "list").splitlines()
    starts = [head.index(column) for column in ("name", "version", "base", "learnt from", "made", "size")]
    cells = [
        [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
        for line in (first, second)
    ]
    assert cells[0][:4] == ["noa", "2", "tiny", "2 replies in 1 dialogue"]
    assert cells[0][4].startswith("2023-11-1")
    assert cells[1][:4] == ["somebody-else", "1", "tiny", "6 replies in 3 dialogues"]
    size = Path("home/personas/noa.persona").stat().st_size
    assert cells[0][5] == f"{size / 1024:,.0f} KiB"
    (event,) = map(json.loads, typed(capsys, "persona", "list", "--json").splitlines())
    told = [(one["name"], one["version"], one["dialogues"], one["replies"]) for one in event["personas"]]
    assert told == [("noa", 2, 1, 2), ("somebody-else", 1, 3, 6)]
    assert event["personas"][0]["bytes"] == size


@pytest.mark.parametrize("damage", ["no zip", "recipe", "shots"])
def test_a_damaged_persona_is_listed_as_such_beside_the_others(capsys: Captured, damage: str) -> None:
    made(capsys, "noa", "-k", "1")
    made(capsys, "tomo", "-k", "1")
    if damage == "no zip":
        Path("home/personas/noa.persona").write_text("hello", encoding="utf-8")
    else:
        rewritten("noa", recipe=7 if damage == "recipe" else {"shots": "many"})
    _, noa, tomo = typed(capsys, "persona", "list").splitlines()
    assert "cannot be read: " in noa
    assert "2 replies in 1 dialogue" in tomo
    assert run(["persona", "show", "noa"]) == 3
    assert "error[persona_damaged]: " in capsys.readouterr().err


def test_show_is_a_page_in_words(capsys: Captured) -> None:
    made(capsys, "noa")
    made(capsys, "noa", "-k", "3", "--pick", "spread")
    page = dict(line.split("  ", 1) for line in typed(capsys, "persona", "show", "noa").splitlines() if line[0] != " ")
    page = {name: value.strip() for name, value in page.items()}
    assert page["name"] == "noa"
    assert page["speaker"] == "Tomo"
    assert page["from"] == "chat.txt"
    assert page["base"] == "tiny"
    assert page["learnt from"] == "6 replies in 3 dialogues (spread over all)"
    assert page["method"].startswith("finetune, 2 epochs, lr 0.001, loss ")
    assert page["check"].startswith("Tomo's held-out replies became ")
    assert "a stranger's persona would have made them" in page["check"]
    assert page["file"].startswith(str(Path("home/personas/noa.persona").resolve()))
    assert page["versions"] == "noa@1"
    assert {"greetings", "facts"}.isdisjoint(page)


def test_show_of_a_card_s_persona_has_its_greetings_and_facts(capsys: Captured) -> None:
    card = new_card("Tomo", ["a gardener", "dry"], ["Hello.", "Oh."], [(("user", "well?"), ("Tomo", "No."))], {})
    Path("card.json").write_text(json.dumps(card), encoding="utf-8")
    typed(capsys, "adapt", "tomo", "card.json", "--base", "tiny")
    page = typed(capsys, "persona", "show", "tomo")
    assert "from         card.json, a character card\n" in page
    assert "greetings    Hello.\n             Oh.\n" in page
    assert "facts        a gardener\n             dry\n" in page
    assert "check        no dialogue was held out" in page


def test_show_as_json_has_every_setting(capsys: Captured) -> None:
    made(capsys, "noa", "-k", "1")
    facts = json.loads(typed(capsys, "persona", "show", "noa", "--json"))
    assert facts["recipe"]["files"] == ["chat.txt"]
    assert facts["recipe"]["method"]["inner"]["epochs"] == 2
    assert facts["model"]["base"] == "tiny"


def test_a_persona_of_an_earlier_version_is_listed_and_shown_with_what_it_noted(capsys: Captured) -> None:
    made(capsys, "noa", "-k", "1")
    with zipfile.ZipFile("home/personas/noa.persona") as archive:
        recipe = json.loads(archive.read(ABOUT))["recipe"]
    held_out = {name: recipe["held_out"][name] for name in ("dialogues", "replies", "ppl_before", "ppl_after")}
    rewritten("noa", recipe={"shots": 1, "speaker": "Tomo", "held_out": held_out})
    assert "1 dialogue  " in typed(capsys, "persona", "list")
    page = typed(capsys, "persona", "show", "noa")
    assert "check        PPL " in page
    assert "from " not in page.replace("learnt from", "")


@pytest.mark.parametrize("to", ["json", "png", "charx"])
def test_a_card_of_what_was_learnt_from_a_chat_says_whether_it_carries_the_weights(capsys: Captured, to: str) -> None:
    made(capsys, "noa", "-k", "1")
    told = typed(capsys, "persona", "export", "noa", "--to", to)
    alone = " (the card alone: what the persona learnt is in its weights, which charx holds)"
    assert told == f"wrote noa.{to}{'' if to == 'charx' else alone}\n"
    data = read_card(Path(f"noa.{to}").read_bytes(), f"noa.{to}").raw["data"]
    carries = ("menura/v1" in data["extensions"], "does not carry" not in data["creator_notes"])
    assert carries == ((True, True) if to == "charx" else (False, False))
    assert "weights" in data["creator_notes"]
    assert data["description"] == "", "a model would read it as a fact of the persona"
    text = json.dumps(data)
    assert not any(line in text for line in SAID), "no sentence of the chat"


def test_a_persona_is_renamed_with_its_versions(capsys: Captured) -> None:
    made(capsys, "noa", "-k", "1")
    made(capsys, "noa", "-k", "2")
    assert typed(capsys, "persona", "rename", "noa", "mia", "--dry-run") == "would call noa mia\n"
    assert typed(capsys, "persona", "rename", "noa", "mia") == "noa is now mia\n"
    versions = typed(capsys, "persona", "history", "mia").splitlines()
    assert len(versions) == 3
    assert run(["persona", "show", "noa"]) == 2
    assert run(["persona", "rename", "noa", "other"]) == 2
    made(capsys, "noa", "-k", "1")
    assert run(["persona", "rename", "noa", "mia"]) == 2
    assert "name_taken" in capsys.readouterr().err


def test_a_package_from_another_machine_becomes_a_persona_under_a_name_of_its_own(capsys: Captured) -> None:
    made(capsys, "noa", "-k", "1")
    typed(capsys, "persona", "export", "noa", "--out", "from-noa.charx")
    assert "wrote  " in typed(capsys, "persona", "import", "from-noa.charx", "--name", "mia")
    page = typed(capsys, "persona", "show", "mia")
    assert page.splitlines()[0].split() == ["name", "mia"]
    Path("bad.persona").write_text("hello", encoding="utf-8")
    assert run(["persona", "import", "bad.persona", "--name", "eva"]) == 3
    assert not Path("home/personas/eva.persona").exists()


def test_deleting_a_persona_deletes_what_was_written_for_engines(capsys: Captured) -> None:
    made(capsys, "noa", "-k", "1")
    served = Path("home/served/noa/v1")
    served.mkdir(parents=True)
    (served / "adapter_model.safetensors").write_bytes(b"weights")
    typed(capsys, "persona", "rm", "noa")
    assert not Path("home/served/noa").exists()
