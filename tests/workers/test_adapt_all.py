"""A folder of people becomes a persona for each, the same ones however many workers there are and whatever dies."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import made_up_chat
import pytest
from adapting import killed_once
from counts import count

from menura.adaptation.weights import PersonaWeights
from menura.api import AdaptRequest, AdaptSettings, ManyAdapted, Workers, adapt_all, many_personas
from menura.artefacts import persona_store
from menura.artefacts.tensors import content_sha256
from menura.cli.main import run
from menura.errors import ConfigError, DataError

PEOPLE = count(full_count=200, quick_count=5)
ON_TINY = AdaptRequest("", (), settings=AdaptSettings(base="tiny"))
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder with a workspace of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    return tmp_path


def folder_of(people: int, dialogues: int = 7) -> Path:
    """Write a folder with a file for each person."""
    folder = Path("people")
    folder.mkdir()
    for person in range(people):
        lines = [json.dumps(made_up_chat.dialogue(person, number)) for number in range(dialogues)]
        (folder / f"{made_up_chat.name_of(person)}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def hashes() -> dict[str, str]:
    """Return the hash of each persona's weights in the workspace."""

    def hashed(weights: PersonaWeights) -> str:
        return content_sha256(weights)

    return {name: hashed(persona_store.load(name).weights) for name in persona_store.names()}


def states(adapted: ManyAdapted) -> dict[str, int]:
    """Return how many people there are of each state that occurs."""
    return {state: found for state in ("made", "kept", "planned", "failed") if (found := adapted.count(state))}


def in_workspace(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on with a workspace of that name."""
    monkeypatch.setenv("MENURA_HOME", str(Path(name).resolve()))


def test_weights_are_the_same_with_one_worker_and_two_and_with_one_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(PEOPLE)
    assert states(adapt_all(folder, ON_TINY, Workers())) == {"made": PEOPLE}
    alone = hashes()
    assert len(set(alone.values())) == len(alone) == PEOPLE
    in_workspace("home-of-two", monkeypatch)
    monkeypatch.setattr(many_personas, "adapt_one", killed_once)
    assert sum(states(adapt_all(folder, ON_TINY, Workers("local", 2))).values()) == PEOPLE
    assert Path("killed").exists()
    assert hashes() == alone


@pytest.mark.parametrize("executor", ["ray", "dask"][: count(full_count=2, quick_count=1)])
def test_weights_are_the_same_with_other_executors(executor: str) -> None:
    if find_spec({"ray": "ray", "dask": "distributed"}[executor]) is None:
        pytest.skip(f"{executor} is not installed")
    folder = folder_of(PEOPLE)
    adapt_all(folder, ON_TINY, Workers())
    alone = hashes()
    home = str(Path("home-of-others").resolve())
    words = ["adapt", "--all", str(folder), "--base", "tiny", "--executor", executor, "-j", "2"]
    # In a process of its own: ray changes joblib for the whole process.
    subprocess.run([sys.executable, "-m", "menura", *words], env={**os.environ, "MENURA_HOME": home}, check=True)
    os.environ["MENURA_HOME"] = home
    assert hashes() == alone


@pytest.mark.slow  # and not `weights`: the checks of a commit need not run it
@pytest.mark.skipif(count(full_count=0, quick_count=1), reason="with --full only")
def test_weights_are_the_same_on_the_real_base(weights_workspace: Path) -> None:
    folder = folder_of(6)
    ways = [("-j", "1"), ("-j", "2")]
    if find_spec("ray") is not None:
        ways.append(("--executor", "ray", "-j", "2"))
    seen = []
    for number, way in enumerate(ways):
        home = Path(f"real-{number}").resolve()
        home.mkdir()
        (home / "bases").symlink_to(weights_workspace / "bases")
        environment = {**os.environ, "MENURA_HOME": str(home)}
        words = ["adapt", "--all", str(folder), "--offline", *way]
        subprocess.run([sys.executable, "-m", "menura", *words], env=environment, check=True)
        os.environ["MENURA_HOME"] = str(home)
        seen.append(hashes())
    assert len(seen[0]) == 6
    assert all(each == seen[0] for each in seen[1:])


def test_whoever_is_made_already_is_kept_and_replace_makes_all_again() -> None:
    folder = folder_of(2)
    adapt_all(folder, ON_TINY, Workers())
    made = persona_store.path_of("person-00").stat().st_mtime_ns
    with (folder / "person-01.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(made_up_chat.dialogue(1, 8)))
    again = adapt_all(folder, ON_TINY, Workers())
    assert {record.name: record.state for record in again.records} == {"person-00": "kept", "person-01": "made"}
    assert again.records[1].earlier == "person-01@1"
    assert persona_store.path_of("person-00").stat().st_mtime_ns == made
    other = AdaptRequest("", (), settings=AdaptSettings(base="tiny", assignments=("inner.lr=0.5",)))
    assert states(adapt_all(folder, other, Workers())) == {"made": 2}, "other settings"
    assert states(adapt_all(folder, ON_TINY, Workers())) == {"kept": 2}, "an earlier version counts"
    replaced = AdaptRequest("", (), settings=ON_TINY.settings, replace_old=True)
    assert states(adapt_all(folder, replaced, Workers())) == {"made": 2}
    assert persona_store.versions("person-00") == []


def test_files_that_cannot_be_used_are_told_together_and_the_others_are_made(capsys: Captured) -> None:
    folder = folder_of(2)
    (folder / "few.jsonl").write_text(json.dumps(made_up_chat.dialogue(5, 0)), encoding="utf-8")
    (folder / "zoe.txt").write_text("nonsense", encoding="utf-8")
    assert run(["adapt", "--all", "people", "--base", "tiny", "--json"]) == 3
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {event["name"]: event["state"] for event in events if event["event"] == "person"} == {
        **dict.fromkeys(("person-00", "person-01"), "made"),
        **dict.fromkeys(("few", "zoe"), "failed"),
    }
    assert [(event["code"], event["place"]) for event in events if event["event"] == "error"] == [
        ("unknown_speaker", "people/few.jsonl"),
        ("unknown_format", "people/zoe.txt"),
    ]


def test_a_dry_run_lists_whom_it_would_make_and_writes_nothing(capsys: Captured) -> None:
    folder_of(2)
    assert run(["adapt", "--all", "people", "--base", "tiny", "-n"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "planned  person-00: person-00 in 5 of 7 dialogues (the most recent, 2 held out)",
        "planned  person-01: person-01 in 5 of 7 dialogues (the most recent, 2 held out)",
        "2 people: 2 to make",
    ]
    assert not Path("home").exists()


def test_names_that_cannot_be_told_apart_or_are_none_are_told_together() -> None:
    folder = Path("people")
    folder.mkdir()
    for file in ("José P.txt", "Jose-P.json", "李.txt", "shipped.txt"):
        (folder / file).touch()
    with pytest.raises(ConfigError) as error:
        adapt_all(folder, ON_TINY, Workers())
    told = [problem.message for problem in error.value.problems]
    assert sorted(told) == [
        "Jose-P.json, José P.txt would all be persona 'Jose-P'",
        "no letter of its name can be in a persona's",
        "no persona can be called 'shipped'",
    ]


def test_a_folder_that_is_none_or_empty_is_told() -> None:
    with pytest.raises(ConfigError, match="no folder"):
        adapt_all(Path("nowhere"), ON_TINY, Workers())
    Path("people").mkdir()
    with pytest.raises(DataError, match="no files in it"):
        adapt_all(Path("people"), ON_TINY, Workers())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("adapt ann --all people", "--all and NAME ann"),
        ("adapt --all people --more", "--all and --more"),
        ("adapt", "Missing argument 'NAME'"),
        ("adapt ann", "Missing argument 'FILES...'"),
        ("adapt --all people --executor slurm", "--executor 'slurm': local, ray, dask wanted"),
    ],
)
def test_a_line_that_cannot_be_meant_is_told(words: str, told: str, capsys: Captured) -> None:
    folder_of(1)
    assert run(words.split()) == 2
    assert told in capsys.readouterr().err
