"""Where there is no terminal, progress is a line now and then, and each kind of it begins with one."""

import pytest

from menura.cli.terminal import Screen


def test_a_second_kind_of_progress_shows_its_first_step_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False)
    for label in ("control", "adapt"):
        for step in (1, 2, 3):
            screen.bar(label, step, 3, "loss 1.00")
    wanted = [f"{label}  {step}/3  loss 1.00" for label in ("control", "adapt") for step in (1, 3)]
    assert capsys.readouterr().out.splitlines() == wanted
