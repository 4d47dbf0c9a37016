"""What every test stands on: one thread, a workspace of its own, and the default base where it is on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Examples are the same on every machine, and a busy machine is no fault of the code.
settings.register_profile("menura", deadline=None, derandomize=True, database=None)
settings.load_profile("menura")

WEIGHTS = "smollm2-135m"


@pytest.fixture(scope="session", autouse=True)
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the session a workspace, so that no test reads or writes the user's own."""
    os.environ.setdefault("MENURA_WEIGHTS", os.environ.get("MENURA_HOME") or str(Path.home() / ".menura"))
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("workspace")
    patch.setenv("MENURA_HOME", str(home))
    yield home
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep sums in one order and leave the other cores alone."""
    import torch  # noqa: PLC0415  # tests of stations without torch still pay for it only once

    torch.set_num_threads(1)


@pytest.fixture
def empty_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give one test a workspace with nothing in it."""
    monkeypatch.setenv("MENURA_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def weights_workspace(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give one test the workspace that holds the default base; skip where there is none."""
    home = Path(os.environ["MENURA_WEIGHTS"]).expanduser()
    if not (home / "bases" / WEIGHTS / "base.json").exists():
        pytest.skip(f"base {WEIGHTS} is not in {home}; fetch it, or set MENURA_WEIGHTS to a workspace that has it")
    monkeypatch.setenv("MENURA_HOME", str(home))
    return home
