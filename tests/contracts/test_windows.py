"""The package can be imported where modules of Unix are missing, and names and paths of Windows do no harm."""

import ast
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from menura.artefacts import persona_store
from menura.batches import limited_process, process_resources
from menura.corpus import file_lock
from menura.errors import ConfigError
from menura.serve.uploads import Upload, shown_name

SOURCE = Path(__file__).parents[2] / "src"
UNIX_ONLY = ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog", "posix")
IMPORT_ALL = """
import builtins, importlib, pkgutil, sys
hidden, as_ever = sys.argv[1].split(","), builtins.__import__

def import_as_on_windows(name, globals=None, *further, **named):
    if name in hidden and (globals or {}).get("__name__", "").startswith("menura"):
        raise ImportError(name)
    return as_ever(name, globals, *further, **named)

builtins.__import__ = import_as_on_windows  # other packages ask which system it is
import menura
for module in pkgutil.walk_packages(menura.__path__, "menura."):
    if module.name not in ("menura.__main__", "menura.api.vllm_resolver"):
        importlib.import_module(module.name)
"""


def unguarded(tree: ast.Module) -> list[str]:
    """Return the modules that are imported when a module is, outside ``try``."""
    names = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append((node.module or "").partition(".")[0])
    return names


def test_no_module_needs_one_that_windows_lacks() -> None:
    wrong = {
        f"{path.relative_to(SOURCE)}: {name}"
        for path in SOURCE.rglob("*.py")
        for name in unguarded(ast.parse(path.read_text("utf-8")))
        if name in UNIX_ONLY
    }
    assert wrong == set()


@pytest.mark.slow
def test_every_module_can_be_imported_without_what_windows_lacks() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_ALL, ",".join(UNIX_ONLY)],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Hide what Windows lacks, and put a module in the place of ``msvcrt``; give what was locked."""
    locked: list[tuple[int, int, int]] = []
    held: set[tuple[int, int]] = set()

    def locking(descriptor: int, mode: int, count: int) -> None:
        stat = os.fstat(descriptor)
        if (stat.st_dev, stat.st_ino) in held:
            raise PermissionError(13, "Permission denied")
        held.add((stat.st_dev, stat.st_ino))
        locked.append((os.lseek(descriptor, 0, os.SEEK_CUR), mode, count))

    made = types.ModuleType("msvcrt")
    made.locking, made.LK_NBLCK = locking, 2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "msvcrt", made)
    monkeypatch.setattr(file_lock, "fcntl", None)
    monkeypatch.setattr(process_resources, "resource", None)
    monkeypatch.delattr(os, "fork", raising=False)
    return locked


def test_a_lock_of_windows_is_beyond_what_others_read(windows: list[tuple[int, int, int]], tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a+") as first, path.open("a+") as second:
        first.write("pid 7")
        first.flush()
        assert file_lock.try_lock(first.fileno())
        assert not file_lock.try_lock(second.fileno())
        assert second.read() == "pid 7"  # it stands where it stood
    assert windows == [(file_lock.BEYOND, 2, 1)]


def test_without_fork_a_call_is_limited_in_time(windows: list[tuple[int, int, int]]) -> None:
    del windows
    assert limited_process.call_limited(lambda: [1, {"a": 2}], seconds=10, memory=1 << 20) == [1, {"a": 2}]
    with pytest.raises(TimeoutError):
        limited_process.call_limited(lambda: sys.stdin and threading_wait(), seconds=0.05, memory=1 << 20)
    with pytest.raises(ChildProcessError):
        limited_process.call_limited(lambda: 1 / 0, seconds=10, memory=1 << 20)
    assert process_resources.peak_memory() == 0
    process_resources.limit_address_space(1)  # nothing, or this process would end here
    process_resources.limit_processor(1)


def threading_wait() -> None:
    import threading  # noqa: PLC0415  # named where it waits

    threading.Event().wait(2)


NO_FILE_ON_WINDOWS = ["CON", "nul", "Prn", "AUX", "com1", "LPT9"]
NO_NAMES = [
    "anna.",
    "anna ",
    "..",
    "..\\anna",
    "a\\b",
    "C:anna",
    "C:\\anna",
    "\\\\host\\share",
    "anna:stream",
    "a*",
    "a/b",
]


@pytest.mark.parametrize("name", [*NO_FILE_ON_WINDOWS, *NO_NAMES, *(f"{one}." for one in NO_FILE_ON_WINDOWS)])
def test_a_persona_has_no_name_that_windows_reads_in_another_way(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        persona_store.check_new(name)
    assert caught.value.problems[0].code == "bad_name"


@pytest.mark.parametrize("name", ["console", "con-1", "com", "com10", "null", "lpt"])
def test_a_name_that_only_begins_like_a_device_is_one(name: str) -> None:
    persona_store.check_new(name)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("C:\\chats\\WhatsApp Chat.txt", "WhatsApp Chat.txt"),
        ("\\\\host\\share\\chat.json", "chat.json"),
        ("..\\..\\chat.txt", "chat.txt"),
        ("D:chat.txt", "D:chat.txt"),
        ("NUL", "NUL"),
        ("...", "chat.txt"),
    ],
)
def test_a_sent_name_is_shown_and_never_a_path(sent: str, shown: str, empty_workspace: Path) -> None:
    assert shown_name(sent) == shown
    path = Upload("0" * 32, "", shown_name(sent), 0, 0.0).path
    assert path.parent == empty_workspace / "uploads" / ("0" * 32) / "content"
    assert path.stem == "chat"
    assert path.suffix in (".txt", ".json")
