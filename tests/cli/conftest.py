"""What several tests of the command line begin with."""

from pathlib import Path

import pytest
from chat_of_two import chat_of_two


@pytest.fixture
def beside_a_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder with a workspace of its own, beside a chat of two people."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    Path("chat.txt").write_text(chat_of_two(), encoding="utf-8")
