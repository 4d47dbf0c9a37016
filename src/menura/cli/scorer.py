"""``menura train scorer/NAME`` and ``menura eval scorer/NAME``: the scorers behind the C score and E-acc."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from menura import api
from menura.cli.globals import Globals
from menura.cli.terminal import Screen, StepProgress, columns

if TYPE_CHECKING:
    from menura.scorers.check import Count, ScorerEvaluation

PREFIX = "scorer/"
LISTED = 8  # labels whose recall is shown; of more only those evaluated among themselves


def is_scorer(target: str) -> bool:
    """Tell whether a target names a scorer."""
    return target.startswith(PREFIX)


def train_scorer(target: str, out: Path | None, given: Globals, *, fresh: bool) -> None:
    """Train a scorer into the workspace, or into a folder."""
    screen = Screen(as_json=given.as_json)
    done = api.train_scorer(target, given.options, StepProgress(screen, "train"), out=out, fresh=fresh)
    if done:
        line, seconds, folder = done
        screen.say(f"done: {line}, {seconds:.0f} s -> {folder}", folder=str(folder))


def check_scorer(target: str, scorers: str, given: Globals) -> None:
    """Show how often a trained scorer is right on examples it never learnt from."""
    line, corpus, found, within = api.check_scorer(target, scorers, given.options)
    facts = {
        "scorer": line,
        "figures": [_facts(count) for count in found.figures],
        "recalls": [_facts(count) for count in found.recalls],
        "data": corpus,
        "judged_by": found.description,
    }
    screen = Screen(as_json=given.as_json)
    screen.give("scorer", facts, f"{line}\njudged by {found.description}\n\n{_table(found, within)}")


def _table(found: "ScorerEvaluation", within: Sequence[str]) -> str:
    listed = [c for c in found.recalls if len(found.recalls) <= LISTED or c.name in within]
    rows = [["figure", "% [95 %]", "of"]]
    rows += [[count.name, count.shown, f"{count.total:,}"] for count in found.figures]
    rows += [[f"recall {count.name}", count.shown, f"{count.total:,}"] for count in listed]
    return columns(rows)


def _facts(count: "Count") -> dict[str, object]:
    low, high = count.interval
    return {**asdict(count), "share": count.share, "low": low, "high": high}
