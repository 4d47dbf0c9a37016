"""One browser for all tests of the pages, and a workspace with personas for each server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Give one browser; skip where there is none."""
    pytest.importorskip("selenium")
    from page_browser import chromium  # noqa: PLC0415  # needs selenium

    driver = chromium()
    yield driver
    driver.quit()


@pytest.fixture
def page_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a workspace of the test's own."""
    monkeypatch.setenv("MENURA_HOME", str(tmp_path))
    return tmp_path
