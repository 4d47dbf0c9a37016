"""Keys: kept as hashes, valid until they are revoked, also by another process."""

import json
import re
import stat
from pathlib import Path

import pytest
from local_server import ask

from menura.cli.main import run
from menura.errors import ConfigError, DataError
from menura.serve.http.keys import KeyStore


def test_a_secret_is_right_until_its_key_is_revoked(keys: KeyStore) -> None:
    key, secret = keys.new("laptop")
    other, _ = keys.new("phone", ["anna", "bob-*"])
    assert keys.check(secret) == key
    assert keys.check(secret + "x") is None
    assert keys.check("") is None
    keys.revoke(key.key_id)
    assert keys.check(secret) is None
    assert keys.list() == (other,)


def test_the_file_holds_no_secret_and_only_its_owner_reads_it(keys: KeyStore, tmp_path: Path) -> None:
    _, secret = keys.new("laptop")
    file = tmp_path / "keys.json"
    assert secret not in file.read_text() and secret.removeprefix("menura-") not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert re.fullmatch(r"menura-[\w-]{43}", secret)


def test_what_another_process_changes_holds_from_the_next_request_on(keys: KeyStore, tmp_path: Path) -> None:
    assert keys.check("menura-x") is None
    key, secret = KeyStore(tmp_path / "keys.json").new("laptop")
    assert keys.check(secret) == key
    KeyStore(tmp_path / "keys.json").revoke(key.key_id)
    assert keys.check(secret) is None


def test_a_damaged_file_lets_nobody_in(app: object, keys: KeyStore, tmp_path: Path) -> None:
    keys.new("laptop")
    for damage in ("{", "[]", '{"keys": [{"key_id": "a"}]}', '{"keys": [3]}'):
        (tmp_path / "keys.json").write_text(damage)
        with pytest.raises(DataError, match="damaged"):
            keys.list()
        assert ask(app, "GET", "/v1/models").status_code == 422


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\x1b[0m"])
def test_a_key_without_a_proper_name_is_not_made(keys: KeyStore, name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 64 characters"):
        keys.new(name)
    assert keys.list() == ()


@pytest.mark.parametrize("personas", [(), ("",), ("a/b",), ("anna", "x" * 200)])
def test_a_pattern_that_fits_no_persona_is_refused(keys: KeyStore, personas: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="--personas"):
        keys.new("laptop", personas)


def test_the_command_line_makes_lists_and_revokes(empty_workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["key", "new", "laptop", "--personas", "anna,bob-*", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert KeyStore().check(made["key"]).personas == ("anna", "bob-*")
    assert run(["key", "list"]) == 0
    told = capsys.readouterr().out
    assert "laptop" in told and "anna, bob-*" in told
    assert made["key"] not in told
    assert run(["key", "revoke", made["id"]]) == 0
    assert KeyStore().list() == ()
    assert run(["key", "revoke", made["id"]]) == 2
    assert capsys.readouterr().err.startswith("error[unknown_key]: no key ")


def test_a_key_is_printed_once_alone_on_its_line(empty_workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["key", "new", "laptop"])
    assert KeyStore().check(capsys.readouterr().out.splitlines()[0])
