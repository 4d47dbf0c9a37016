"""A server that other machines reach is not started without a key, and needs one for all that is asked (S2)."""

import socket
from pathlib import Path
from typing import Any

import pytest

from menura.cli.main import run
from menura.errors import StorageError
from menura.serve import server
from menura.serve.http.keys import KeyStore

REACHED = (
    *("0.0.0.0", "::", "", "0", "::ffff:0.0.0.0", "192.168.1.5", "10.0.0.1", "fe80::1"),
    *("menura.example", "localhost.evil", "127.0.0.1.nip.io", "unix:/tmp/menura.sock"),
)
HERE = ("127.0.0.1", "127.0.0.2", "::1", "localhost")


@pytest.fixture(autouse=True)
def listened(empty_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note where a server would have listened, and let it go no further."""
    del empty_workspace
    noted: list[str] = []

    def bound(settings: Any) -> socket.socket:
        noted.append(settings.host)
        raise StorageError("no further")

    monkeypatch.setattr(server, "bound", bound)
    return noted


def served(host: str) -> int:
    return run(["--offline", "serve", "--host", host, "--port", "0"])


@pytest.mark.parametrize("host", [*REACHED, socket.gethostname() or "machine"])
def test_without_a_key_no_address_that_others_reach_is_listened_on(
    host: str, listened: list[str], empty_workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served(host) == 2
    told = capsys.readouterr().err
    assert "there is no key" in told
    assert "menura key new NAME" in told
    assert listened == []
    assert not list(empty_workspace.iterdir()), "nothing was begun"


def test_twelve_addresses_are_tried() -> None:
    assert len(set(REACHED)) == 12


@pytest.mark.parametrize("host", [*HERE, *REACHED])
def test_with_a_key_or_on_this_machine_it_listens(host: str, listened: list[str]) -> None:
    if host in REACHED:
        KeyStore().new("laptop")
    assert served(host) == StorageError.exit_code
    assert listened == [host]


def test_a_key_that_was_revoked_is_none(listened: list[str]) -> None:
    key, _ = KeyStore().new("laptop")
    KeyStore().revoke(key.key_id)
    assert served("0.0.0.0") == 2
    assert listened == []


def test_keys_that_cannot_be_read_are_no_leave_to_listen(listened: list[str], empty_workspace: Path) -> None:
    (empty_workspace / "keys.json").write_text("{", encoding="utf-8")
    assert served("0.0.0.0") == 3
    assert listened == []
