"""``adapt`` says what it will do before it does it, and makes the same persona of the same file again."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from menura.api import adapt
from menura.artefacts import persona_store

SAID = ("did you water the fern", "yes, twice", "and the basil?", "it sulks")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder with a workspace of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    return tmp_path


def written(name: str = "chat.txt", days: int = 8, long_reply: str = "") -> Path:
    """Write a chat of two people with a dialogue of two exchanges a day."""
    lines = []
    for day in range(days):
        for minute, text in enumerate((*SAID, *(("well?", long_reply) if long_reply else ()))):
            when = datetime(2023, 12, 1, 19) + timedelta(days=day, minutes=minute)
            lines.append(f"{when:%Y-%m-%d %H:%M} - {('Ines', 'Tomo')[minute % 2]}: {text} {day}")
    path = Path(name)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def made(*files: Path, k: int = 5, seen: list[str] | None = None) -> bytes:
    """Return the bytes of the persona of Tomo; ``seen`` gets what is said and how far it is, in order."""
    told: list[str] = [] if seen is None else seen
    done = adapt(
        "noa",
        files,
        speaker="Tomo",
        k=k,
        base="tiny",
        replace_old=True,
        say=told.append,
        on_step=lambda reply, replies, loss: told.append(f"reply {reply} of {replies}"),
    )
    assert done is not None
    return done.saved.path.read_bytes()


def test_the_same_file_and_settings_give_the_same_bytes() -> None:
    path = written()
    first = made(path)
    persona_store.remove("noa")
    assert made(path) == first, "with the stranger's persona kept from the first time"
    assert made(path, k=4) != first
    path.write_text(path.read_text(encoding="utf-8").replace("it sulks 6", "it thrives 6"), encoding="utf-8")
    assert made(path) != first, "another reply is held out"


def test_how_many_replies_and_about_how_long_is_said_before_the_first_is_learnt() -> None:
    seen: list[str] = []
    made(written(), seen=seen)
    plan = next(index for index, line in enumerate(seen) if line.startswith("plan "))
    steps = [index for index, line in enumerate(seen) if line.startswith("reply ")]
    told = r"plan   base tiny · 10 replies of Tomo in 5 of 8 dialogues \(the most recent, 2 held out\) · about \d+ s"
    assert re.fullmatch(told, seen[plan])
    assert plan < steps[0]
    assert seen[steps[-1]] == "reply 10 of 10"
    counts = [int(seen[step].split()[1]) for step in steps]
    assert counts == sorted(counts)


def test_replies_that_no_model_could_read_are_left_out_and_counted() -> None:
    seen: list[str] = []
    made(written(long_reply="so " * 3000), seen=seen)
    assert any(re.match(r"note   left out: 5 replies longer than [\d,]+ tokens", line) for line in seen), seen
    assert any("10 replies of Tomo" in line for line in seen)
