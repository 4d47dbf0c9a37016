"""What every test stands on: one thread, a workspace of its own, and the default base where it is on this machine.

``--full`` takes the full counts (``counts.py``); ``--no-skips`` fails a test that is skipped for want of what
``.ci/run`` puts there.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import counts
import pytest
from chat_of_two import chat_of_two
from hypothesis import settings

WEIGHTS = "smollm2-135m"
SHARED = Path(__file__).parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the full counts of kills, inputs and steps")
    parser.addoption("--no-skips", action="store_true", help="skipped tests of weights, browser and shared data fail")


def pytest_configure(config: pytest.Config) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # of the processes that tests start, too
        os.environ[name] = "1"
    os.environ["MENURA_JOB_NICE"] = "0"  # beside other tests a job that gives way takes minutes
    counts.full = config.getoption("full")
    # Examples are the same on every machine, and a busy machine is no fault of the code.
    examples = counts.count(full_count=100, quick_count=30)
    settings.register_profile("menura", max_examples=examples, deadline=None, derandomize=True, database=None)
    settings.load_profile("menura")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, so that no worker waits for it at the end."""
    items.sort(key=lambda item: not (item.get_closest_marker("weights") and item.get_closest_marker("slow")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where what the test needs ought to be there."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("no_skips"):
        wanted = [name for name in wanted_here() if item.get_closest_marker(name)]
        if wanted:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} is marked {wanted[0]} and must run, but: {reason}"
    return report


def wanted_here() -> tuple[str, ...]:
    """Return the markers whose tests have all they need on this machine, or should have."""
    return ("weights", "browser", "shared") if SHARED.exists() else ("weights", "browser")


@pytest.fixture(scope="session", autouse=True)
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the session a workspace, so that no test reads or writes the user's own."""
    os.environ.setdefault("MENURA_WEIGHTS", os.environ.get("MENURA_HOME") or str(Path.home() / ".menura"))
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("workspace")
    patch.setenv("MENURA_HOME", str(home))
    patch.setenv("MENURA_RUNS", "runs")  # in the folder that a test works in
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
def beside_a_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder with a workspace of its own, beside a chat of two people."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    Path("chat.txt").write_text(chat_of_two(), encoding="utf-8")


@pytest.fixture
def weights_workspace(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give one test the workspace that holds the default base; skip where there is none."""
    home = Path(os.environ["MENURA_WEIGHTS"]).expanduser()
    if not (home / "bases" / WEIGHTS / "base.json").exists():
        pytest.skip(f"base {WEIGHTS} is not in {home}; fetch it, or set MENURA_WEIGHTS to a workspace that has it")
    monkeypatch.setenv("MENURA_HOME", str(home))
    return home
