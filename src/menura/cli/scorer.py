"""``menura train scorer/NAME`` and ``menura eval scorer/NAME``: the scorers behind the C score and E-acc."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from menura.cli.globals import Globals, configured, device_of
from menura.cli.screen import Screen, columns

if TYPE_CHECKING:
    from menura.scorers.check import Checked, Count

PREFIX = "scorer/"
LISTED = 8  # labels whose recall is shown, where there are more only those judged apart


def is_scorer(target: str) -> bool:
    """Tell whether a target names a scorer."""
    return target.startswith(PREFIX)


def train_scorer(target: str, out: Path | None, given: Globals, *, fresh: bool) -> None:
    """Train a scorer into the workspace, or into a folder."""
    from menura.scorers import store
    from menura.scorers.catalogue import named
    from menura.training import train_scorer as training

    screen = Screen(as_json=given.as_json)
    name, kind = named(target)
    folder = out or store.folder_of(name)
    config = configured(replace(kind.config(), seed=given.seed), given)
    if given.dry_run:
        screen.say(f"would train {target} in {folder}: {config.learning.epochs} epochs of {config.data.corpus}")
        return
    about = training.train_scorer(target, config, folder, _ScorerProgress(screen), fresh=fresh, device=device_of(given))
    screen.say(f"done: {about.line}, {about.seconds:.0f} s -> {folder}", folder=str(folder))


def check_scorer(target: str, scorers: str, given: Globals) -> None:
    """Show how often a trained scorer is right on examples it never learnt from."""
    from menura.scorers import store
    from menura.scorers.catalogue import named
    from menura.training import train_scorer as training

    name, _ = named(target)
    folder = store.folder_of(name, scorers)
    about = store.about_of(name, folder)
    config = configured(training.settings_of(name, folder), given)
    found = training.check_scorer(target, folder, config, device=device_of(given))
    facts = {
        "scorer": about.line,
        "figures": [_facts(count) for count in found.figures],
        "recalls": [_facts(count) for count in found.recalls],
        "data": config.data.corpus,
        "judged_by": found.said,
    }
    screen = Screen(as_json=given.as_json)
    screen.give("scorer", facts, f"{about.line}\njudged by {found.said}\n\n{_table(found, about.within)}")


def _table(found: "Checked", within: Sequence[str]) -> str:
    listed = [c for c in found.recalls if len(found.recalls) <= LISTED or c.name in within]
    rows = [["figure", "% [95 %]", "of"]]
    rows += [[count.name, count.shown, f"{count.total:,}"] for count in found.figures]
    rows += [[f"recall {count.name}", count.shown, f"{count.total:,}"] for count in listed]
    return columns(rows)


def _facts(count: "Count") -> dict[str, object]:
    low, high = count.interval
    return {**asdict(count), "share": count.share, "low": low, "high": high}


class _ScorerProgress:
    """Progress on the screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def step(self, step: int, steps: int, loss: float) -> None:
        self._screen.bar("train", step, steps, f"loss {loss:.3f}")

    def say(self, line: str) -> None:
        self._screen.say(line)
