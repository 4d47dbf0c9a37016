"""A chat export becomes a persona in one line; a character card becomes a persona and a card again."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from menura.cli.main import run
from menura.corpus.chats.cards.card import read_card
from menura.corpus.chats.cards.writing import card_png, new_card

Answer = Callable[..., str]


@pytest.fixture
def typed(
    empty_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Answer:
    """Return a function that types a line in an empty folder and returns what is printed."""
    monkeypatch.chdir(tmp_path)

    def answer(*words: str, piped: str = "") -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        capsys.readouterr()
        assert run(list(words)) == 0
        return capsys.readouterr().out

    return answer


def export(days: int, people: tuple[str, str] = ("Ines", "Anna")) -> str:
    """Return the text of a WhatsApp export with one conversation a day."""
    lines = ["12/1/23, 8:00\u202fAM - Messages and calls are end-to-end encrypted. Tap to learn more."]
    for day in range(1, days + 1):
        for minute in range(6):
            lines.append(f"12/{day}/23, 7:0{minute}\u202fPM - {people[minute % 2]}: line {minute} of day {day}")
        lines.append(f"12/{day}/23, 7:09\u202fPM - {people[0]}: <Media omitted>")
    return "\n".join(lines) + "\n"


def test_a_zip_from_whatsapp_becomes_a_persona_in_one_line_without_a_question(typed: Answer) -> None:
    with zipfile.ZipFile("WhatsApp Chat with Anna.zip", "w") as archive:
        archive.writestr("WhatsApp Chat with Anna.txt", export(9))
        archive.writestr("IMG-0001.jpg", b"\xff\xd8")
    learnt = typed("adapt", "anna", "WhatsApp Chat with Anna.zip", "--base", "tiny")
    assert "WhatsApp export · turns: Ines 27, Anna 27" in learnt
    assert "left out: 9 media, 1 system" in learnt
    assert "dates month-first" in learnt
    assert "15 replies of Anna in 5 of 9 dialogues (the most recent, 2 held out)" in learnt
    assert "a stranger's persona would have made them" in learnt
    assert "anna> " in typed("chat", "anna", "--greedy", piped="hello\n")


def test_who_is_meant_is_told_by_the_files_name_too(typed: Answer) -> None:
    Path("WhatsApp Chat with Anna.txt").write_text(export(7), encoding="utf-8")
    assert "replies of Anna in" in typed("adapt", "bestfriend", "WhatsApp Chat with Anna.txt", "--base", "tiny")


def test_adapting_again_keeps_the_persona_before_and_says_so(typed: Answer) -> None:
    Path("chat.txt").write_text(export(9), encoding="utf-8")
    line = ("adapt", "anna", "chat.txt", "--base", "tiny")
    assert "wrote  " in typed(*line)
    assert "same   " in typed(*line), "the same file and settings give the same bytes"
    assert "the persona before it is anna@1" in typed(*line, "-k", "2")
    assert "anna@1" in typed("persona", "show", "anna")
    assert "anna@1> " in typed("chat", "anna@1", "--greedy", piped="hello\n")
    assert "the persona before it" not in typed(*line, "-k", "3", "--replace")
    assert "anna@1" not in typed("persona", "show", "anna")


def test_what_is_private_is_replaced_before_anything_is_learnt(typed: Answer) -> None:
    text = export(7).replace("line 1 of day 2", "call me: +49 151 23456789, anna@example.org")
    Path("chat.txt").write_text(text, encoding="utf-8")
    assert "phone" in typed("data", "check", "chat.txt")
    typed("data", "convert", "chat.txt", "--out", "clean.jsonl", "--redact")
    written = Path("clean.jsonl").read_text(encoding="utf-8")
    assert "[PHONE]" in written
    assert "[EMAIL]" in written
    assert "23456789" not in written


def test_a_group_needs_a_speaker_and_the_others_are_called_by_name(typed: Answer) -> None:
    people = ("Ines", "Noa", "Tomo")
    lines = [
        f"2023-12-{day:02d}, 19:{minute:02d} - {people[minute % 3]}: {minute} on {day}"
        for day in range(1, 9)
        for minute in range(9)
    ]
    Path("group.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert "replies of Tomo in 5 of 8" in typed("adapt", "me", "group.txt", "--speaker", "Tomo", "--base", "tiny")


@pytest.mark.parametrize("kind", ["json", "png", "charx"])
def test_a_card_becomes_a_persona_that_greets_and_a_card_again_with_all_its_fields(typed: Answer, kind: str) -> None:
    card = new_card("Tomo", ["a gardener"], ["Hello there."], [(("user", "is it well?"), ("Tomo", "It sulks."))], {})
    card["data"]["extensions"]["other/app"] = {"depth": 1.0, "x": [None, "é"]}
    card["data"]["unknown"] = 7
    Path("card.png").write_bytes(card_png(card))
    assert "1 reply of Tomo" in typed("adapt", "tomo", "card.png", "--base", "tiny")
    assert "tomo> Hello there.\n" in typed("chat", "tomo", "--greedy", piped="hi\n")
    typed("persona", "export", "tomo", "--to", kind, "--out", f"out.{kind}")
    back = read_card(Path(f"out.{kind}").read_bytes(), f"out.{kind}").raw
    own = back["data"]["extensions"].pop("menura/v1", {})
    assert bool(own.get("weights_sha256")) == (kind == "charx"), "only charx holds the weights"
    assert json.dumps(back) == json.dumps(card)


def test_a_card_without_dialogues_gives_a_persona_of_its_facts(typed: Answer) -> None:
    card = new_card("Tomo", ["a gardener", "grows ferns"], [], [], {})
    Path("card.json").write_text(json.dumps(card), encoding="utf-8")
    assert "0 replies of Tomo" in typed("adapt", "tomo", "card.json", "--base", "tiny")
    assert json.loads(typed("persona", "show", "tomo", "--json"))["facts"] == ["a gardener", "grows ferns"]
    assert "tomo> " in typed("chat", "tomo", "--greedy", piped="hi\n")
