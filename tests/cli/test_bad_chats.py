"""Chats that cannot be learnt from are refused: what is wrong, where, what to type, and nothing is changed."""

import io
import re
import shutil
import socket
from pathlib import Path

import pytest
from bad_chats import BAD, ODD, THIRTY, Bad, Odd
from hints import Walk
from made_up_files import MIB, PAIR, bomb, card, file, whatsapp
from test_bad_input import everything

from menura.cli.main import run

ADAPT = ("--base", "tiny")
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a workspace with the tiny base, of which each test gets a copy."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MENURA_HOME", str(folder))
        assert run(["base", "pull", "tiny"]) == 0
    return folder


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder with a workspace beside it, without a terminal and without a network."""
    folder = tmp_path / "here"
    folder.mkdir()
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    return folder


def _no_network(*where: object) -> None:
    raise AssertionError(f"something is fetched from {where[1:]}")


def told_by(words: list[str], capsys: Captured) -> tuple[int, str]:
    """Run a command line; return its exit code and all that it told, never a traceback or a bug."""
    capsys.readouterr()
    code = run(words)
    told = "".join(capsys.readouterr())
    assert "Traceback" not in told, told
    assert "internal" not in told, told
    return code, told


def adapt(path: str, *more: str, name: str = "noa") -> list[str]:
    """Return the line that makes a persona of a chat."""
    return ["adapt", name, path, *more, *ADAPT]


@pytest.mark.parametrize("verb", ["check", "adapt"])
@pytest.mark.parametrize("row", BAD, ids=[row.case.replace(" ", "-") for row in BAD])
def test_a_bad_chat_is_told_and_changes_nothing_and_its_hint_works(
    row: Bad, verb: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    row.give()
    before = everything(here.parent)
    more = row.more.split()
    words = ["data", "check", row.path, *more] if verb == "check" else adapt(row.path, *more)
    code, told = told_by(words, capsys)
    assert code == row.exit, told
    lines = [line.strip() for line in told.splitlines() if line.strip().startswith(f"error[{row.code}]: ")]
    assert lines, told
    for pattern in row.says:
        assert re.search(pattern, lines[0]), lines[0]
    if verb == "adapt":
        assert told.startswith("error["), told
    assert everything(here.parent) == before
    Walk(monkeypatch, capsys).after(words, told)


@pytest.mark.parametrize("row", ODD, ids=[row.case.replace(" ", "-") for row in ODD])
def test_an_odd_chat_is_read_and_what_is_odd_is_said(
    row: Odd, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    row.give()
    before = everything(here.parent)
    words = ["data", "check", row.path, *row.more.split()]
    code, checked = told_by(words, capsys)
    assert code == 0, checked
    Walk(monkeypatch, capsys).after(words, checked)
    assert everything(here.parent) == before
    code, adapted = told_by(adapt(row.path, *row.more.split(), *row.adapt.split()), capsys)
    assert code == 0, adapted
    assert "wrote " in adapted
    for pattern in row.says:
        assert re.search(pattern, checked), checked
        assert re.search(pattern, adapted), adapted


def test_every_case_is_another() -> None:
    assert len({row.case for row in (*BAD, *ODD)}) == len(BAD) + len(ODD)


def test_of_a_group_of_thirty_a_persona_is_made_once_it_is_said_whose(here: Path, capsys: Captured) -> None:
    Path("group.txt").write_text(whatsapp(THIRTY), encoding="utf-8")
    before = everything(here.parent)
    code, checked = told_by(["data", "check", "group.txt"], capsys)
    assert code == 0, checked
    assert "speakers 30" in checked, checked
    code, told = told_by(adapt("group.txt", "-k", "2"), capsys)
    assert code == 2, told
    assert re.search(r"error\[unknown_speaker\]: whose persona\? several people reply", told)
    assert re.search(r"hint: type one of --speaker Person\d\d \(\d+ replies\), .* and \d+ more\)", told)
    assert everything(here.parent) == before
    code, told = told_by(adapt("group.txt", "-k", "2", "--speaker", "Person07"), capsys)
    assert code == 0, told


def test_all_options_that_cannot_be_meant_are_told_at_once(here: Path, capsys: Captured) -> None:
    Path("chat.txt").write_text(whatsapp(), encoding="utf-8")
    before = everything(here.parent)
    wrong = ["--gap", "soon", "--dates", "dym", "--same", "Ann", "--same", "a=b=c", "--encoding", "klingon"]
    for words in (["data", "check", "chat.txt", *wrong], adapt("chat.txt", *wrong)):
        code, told = told_by(words, capsys)
        assert code == 2
        for option in ("--gap 'soon'", "--dates 'dym'", "--same 'Ann'", "--same 'a=b=c'", "--encoding 'klingon'"):
            assert option in told
        assert told.count("(hint: ") == told.count("error[config]") == 5
    code, told = told_by(adapt("chat.txt", "--pick", "last", "-k", "0"), capsys)
    assert code == 2
    assert told.count("(hint: ") == told.count("error[config]") == 2
    assert everything(here.parent) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--pick", "last"), r"--pick 'last': recent or spread wanted \(hint: --pick recent\)"),
        (("-k", "0"), r"-k 0: at least 1 dialogue is needed to learn from \(hint: -k 5\)"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_told(words: tuple[str, ...], says: str, here: Path, capsys: Captured) -> None:
    Path("chat.txt").write_text(whatsapp(), encoding="utf-8")
    before = everything(here.parent)
    code, told = told_by(adapt("chat.txt", *words), capsys)
    assert code == 2
    assert re.match(rf"error\[config\]: {says}", told), told
    assert everything(here.parent) == before


def test_two_cards_at_once_are_refused(here: Path, capsys: Captured) -> None:
    file("a.json", card())()
    file("b.json", card(name="Ines"))()
    before = everything(here.parent)
    code, told = told_by(["adapt", "noa", "a.json", "b.json", *ADAPT], capsys)
    assert code == 3, told
    assert re.search(r"error\[schema\]: 2 character cards \(a.json, b.json\): .*hint: give one of them", told), told
    assert everything(here.parent) == before


@pytest.mark.parametrize("name", ["shipped", "smollm2-135m", "tiny"])
def test_a_name_that_means_a_model_is_refused(name: str, here: Path, capsys: Captured) -> None:
    Path("chat.txt").write_text(whatsapp(), encoding="utf-8")
    before = everything(here.parent)
    code, told = told_by(adapt("chat.txt", "--speaker", "Tomo", name=name), capsys)
    assert code == 2
    assert told.startswith(f"error[bad_name]: persona name '{name}' is a model's (hint: choose another name)")
    assert everything(here.parent) == before


def test_a_name_in_use_gets_a_new_version_unless_the_old_one_is_replaced(here: Path, capsys: Captured) -> None:
    Path("chat.txt").write_text(whatsapp(), encoding="utf-8")
    personas = here.parent / "home" / "personas"

    def made(*more: str) -> tuple[str, list[str]]:
        code, told = told_by(adapt("chat.txt", "-k", "2", *more), capsys)
        assert code == 0, told
        return told, sorted(path.name for path in personas.iterdir())

    assert made("--speaker", PAIR[0])[1] == ["noa.persona"]
    first = (personas / "noa.persona").read_bytes()
    told, names = made("--speaker", PAIR[1])
    assert "the persona before it is noa@1" in told
    assert names == ["noa.persona", "noa@1.persona"]
    assert (personas / "noa@1.persona").read_bytes() == first
    told, names = made("--speaker", PAIR[1])
    assert "is this persona" in told
    assert names == ["noa.persona", "noa@1.persona"]
    assert made("--speaker", PAIR[0], "--replace")[1] == ["noa.persona"]
    assert (personas / "noa.persona").read_bytes() == first


def test_what_a_zip_says_of_its_sizes_is_not_believed(here: Path, capsys: Captured) -> None:
    content = bytearray(bomb())
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = (4 * MIB).to_bytes(4, "little")
    Path("chat.zip").write_bytes(bytes(content))
    before = everything(here.parent)
    code, told = told_by(adapt("chat.zip"), capsys)
    assert code in (3, 4), told
    assert re.match(r"error\[\w+\]: chat.zip.*hint: ", told), told
    assert everything(here.parent) == before
