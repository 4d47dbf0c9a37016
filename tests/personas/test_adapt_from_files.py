"""``adapt`` says what it will do before it does it, and makes the same persona of the same file again."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from menura.api import adapt, adapt_settings, make_persona
from menura.artefacts import persona_store
from menura.corpus.chats.cards.writing import new_card
from menura.errors import EpisodeError
from menura.personas import stranger_control

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


def told_of(name: str, *files: Path, base: str = "tiny", speaker: str | None = None) -> list[str]:
    """Return what is said before anything is loaded."""
    seen: list[str] = []
    adapt(name, files, speaker=speaker, k=1, base=base, dry_run=True, say=seen.append)
    return [line for told in seen for line in told.splitlines()]


def test_little_to_learn_from_is_said_of_the_persona_and_once_for_all_files() -> None:
    talkative = written("a.txt")
    quiet = written("b.txt", days=1)
    quiet.write_text(quiet.read_text(encoding="utf-8").replace("Ines", "Noa"), encoding="utf-8")
    (few,) = [line for line in told_of("noa", talkative, quiet) if "[few]" in line]
    assert few.startswith("warn[few]: 1 reply of 'Noa' in 1 dialogue: little to learn from"), few
    assert not any("[few]" in line for line in told_of("tomo", talkative, quiet))


def carded(*examples: tuple[str, str], name: str = "Otto", file: str = "otto.json") -> Path:
    """Write a character card that greets."""
    card = new_card(name, ["a cat"], ["Purr."], [examples] if examples else [], {})
    Path(file).write_text(json.dumps(card), encoding="utf-8")
    return Path(file)


@pytest.mark.parametrize("examples", [(), (("user", "food?"), ("Otto", "Yes."))], ids=["none", "one"])
def test_a_card_whose_character_is_in_no_chat_is_warned_of_with_who_could_be_meant(
    examples: tuple[tuple[str, str], ...],
) -> None:
    chat = written()
    chat.write_text(chat.read_text(encoding="utf-8").replace("Tomo", "Otto B"), encoding="utf-8")
    (warned,) = [line for line in told_of("pet", carded(*examples), chat, speaker="Otto") if "[card]" in line]
    assert warned == (
        "warn[card]: 'Otto', whose card it is, replies in none of the chats, so nothing is learnt from them "
        "(hint: if they are one person: --same 'Otto=Otto B')"
    )


def test_a_card_whose_character_is_in_the_chat_too_is_not_warned_of() -> None:
    assert not any("[card]" in line for line in told_of("tomo", carded(name="Tomo"), written()))
    assert not any("[card]" in line for line in told_of("otto", carded()))


def test_a_card_of_somebody_else_is_left_out_with_its_greeting_and_said_so() -> None:
    chat = written()
    seen: list[str] = []
    done = adapt("noa", [carded(), chat], speaker="Tomo", k=1, base="tiny", say=seen.append)
    assert done is not None
    assert done.persona.artefact.card == {}
    assert done.persona.first_line == ""
    left_out = "warn[card]: the card is that of 'Otto', not of 'Tomo', so it is left out (hint: "
    assert any(line.startswith(left_out) and "--same Otto=Tomo" in line for line in seen)
    with pytest.raises(EpisodeError, match="too few for 9 shots"):
        adapt("noa", [carded(), chat], speaker="Tomo", k=9, base="tiny")


GERMAN = (
    ("hast du die blumen gegossen", "ja, zweimal, und du weißt ja, wie das ist"),
    ("was ist mit dem basilikum", "das ist noch immer nicht mein freund"),
)


def german() -> Path:
    """Write a chat in German."""
    path = written()
    text = path.read_text(encoding="utf-8")
    for (asked, answered), (first, second) in zip(GERMAN, (SAID[:2], SAID[2:]), strict=True):
        text = text.replace(first, asked).replace(second, answered)
    path.write_text(text, encoding="utf-8")
    return path


def test_before_anything_is_loaded_a_chat_in_a_language_that_the_base_does_not_know_is_warned_of() -> None:
    path = german()
    (warned,) = [line for line in told_of("tomo", path, base="shipped") if "[language]" in line]
    assert warned.startswith("warn[language]: the chat is in German, base shipped knows English above all (hint: ")
    assert "--base" in warned
    assert not any("[language]" in line for line in told_of("tomo", path)), "a random network knows no language"
    assert not any("[language]" in line for line in told_of("tomo", written(), base="shipped"))


def test_the_control_is_foretold_and_its_steps_are_shown_the_one_time_that_it_is_made() -> None:
    path = written()

    def lines() -> list[str]:
        seen: list[str] = []
        adapt(
            *("noa", [path]),
            speaker="Tomo",
            base="tiny",
            say=seen.append,
            on_step=lambda reply, replies, loss: seen.append(f"own {reply} of {replies}"),
            on_control_step=lambda reply, replies, loss: seen.append(f"control {reply} of {replies}"),
        )
        return seen

    first = lines()
    (foretold,) = [at for at, line in enumerate(first) if "adapting a stranger's persona first" in line]
    assert re.search(r"once, to compare with: about \d+ s of these$", first[foretold])
    control = [at for at, line in enumerate(first) if line.startswith("control ")]
    own = [at for at, line in enumerate(first) if line.startswith("own ")]
    assert foretold < control[0] <= control[-1] < own[0]
    done, replies = map(int, re.findall(r"\d+", first[control[-1]]))
    assert done == replies
    again = lines()
    assert not [line for line in again if "stranger's persona first" in line or line.startswith("control ")]


def test_loading_and_the_control_are_counted_in_the_time_foretold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_persona, "seconds_foretold", lambda loaded, method, support: 100.0)
    monkeypatch.setattr(stranger_control, "seconds_foretold", lambda loaded, method, support: 1000.0)
    slowly = adapt_settings.load

    def loading(*words: Any, **more: Any) -> Any:
        clock.append(10_000.0)
        return slowly(*words, **more)

    clock: list[float] = []
    monkeypatch.setattr(make_persona.time, "perf_counter", lambda: sum(clock))
    monkeypatch.setattr(adapt_settings, "load", loading)
    seen: list[str] = []
    adapt("noa", [written()], speaker="Tomo", base="tiny", say=seen.append)
    assert any(line.endswith("· about 11100 s") for line in seen), seen
    assert any(line.endswith("about 1000 s of these") for line in seen), seen


@pytest.mark.parametrize("path", ["method.inner.epochs", "inner.epochs"])
def test_a_setting_of_the_method_is_typed_as_in_recipes_or_without_its_first_word(path: str) -> None:
    adapt("noa", [written()], speaker="Tomo", base="tiny", assignments=[f"{path}=3"], say=lambda line: None)
    assert persona_store.load("noa").recipe["method"]["inner"]["epochs"] == 3
