"""``menura serve`` fetches what new personas need before it listens, and serves what is here where it cannot."""

from pathlib import Path
from typing import Any

import pytest

from menura.cli.main import run
from menura.errors import StorageError

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note the settings of a server that prepares itself and does not run."""
    monkeypatch.setenv("MENURA_HOME", str(tmp_path))
    noted: list[Any] = []

    def prepared(settings: Any, say: Any, prepare: Any, *, verbose: bool) -> None:
        del say, verbose
        if prepare is not None:
            prepare()
        noted.append(settings)

    monkeypatch.setattr("menura.serve.server.run", prepared)
    return noted


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr("menura.api.inventory.pull_base", lambda name, **named: names.append(name))
    return names


def test_the_default_base_is_fetched_before_the_server_listens(served: list[Any], fetched: list[str]) -> None:
    assert run(["serve"]) == 0
    assert fetched == ["smollm2-135m"]
    assert (served[0].host, served[0].offline) == ("127.0.0.1", False)


@pytest.mark.parametrize("words", [["--offline"], ["--store", "/somewhere"]])
def test_offline_or_with_a_shared_store_nothing_is_fetched(
    words: list[str], served: list[Any], fetched: list[str]
) -> None:
    assert run(["serve", *words]) == 0
    assert fetched == []
    assert len(served) == 1


def test_without_a_network_what_is_here_is_served(
    served: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def unreachable(name: str, **named: Any) -> None:
        raise StorageError("no network", place=name)

    monkeypatch.setattr("menura.api.inventory.pull_base", unreachable)
    assert run(["serve"]) == 0
    assert len(served) == 1
    assert "new personas need it" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "size"), [("512MiB", 512 << 20), ("1.5GiB", 3 << 29), ("7b", 7)])
def test_a_size_is_bytes(given: str, size: int, served: list[Any], fetched: list[str]) -> None:
    del fetched
    assert run(["serve", "--resident", given, "--port", "9"]) == 0
    assert (served[0].engine.resident_bytes, served[0].port) == (size, 9)


def test_what_is_no_size_is_refused(served: list[Any], fetched: list[str], capsys: Captured) -> None:
    assert run(["serve", "--resident", "much"]) == 2
    assert "a size wanted" in capsys.readouterr().err
    assert (served, fetched) == ([], [])
