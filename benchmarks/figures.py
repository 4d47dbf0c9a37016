"""What was measured of attention routing becomes pictures.

``python -m benchmarks.figures strength FOLDER … --out FILE.svg`` draws evaluations at several strengths of a persona,
``python -m benchmarks.figures cost results/benchmarks.json --out FILE.svg`` speed and memory of each system beside AR.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from menura.artefacts.files import write_text
from menura.report.curves import HEIGHT, WIDTH, picture

STEP, MEMORY = "training step of ", "memory of training "


def strength(folders: Sequence[Path], metric: str = "attribute-overlap") -> str:
    """Return a picture of a metric over how much a persona weighs; bars are 95 % intervals over personas."""
    points = sorted(
        _point(json.loads((folder / "scores.json").read_text(encoding="utf-8")), metric) for folder in folders
    )
    weights, values, lows, highs = zip(*points, strict=True)
    around = [
        [v - low for v, low in zip(values, lows, strict=True)],
        [h - v for v, h in zip(values, highs, strict=True)],
    ]
    with picture(WIDTH, HEIGHT) as (figure, text):
        panel = figure.subplots()
        panel.errorbar(weights, values, yerr=around, marker="o", ms=3, lw=1.0, elinewidth=0.7)
        panel.set(xlabel="strength a", ylabel=metric, ylim=(0, None))
        panel.grid(alpha=0.3)
    return text.getvalue()


def strength_of(found: Any) -> float:
    """Return how much every persona weighed in an evaluation, as its scores.json tells."""
    weight = re.search(r"\d+(\.\d+)?", found["about"]["strength"])
    assert weight, "an evaluation without --strength"
    return float(weight.group())


def _point(found: Any, metric: str) -> tuple[float, float, float, float]:
    score = next(row["scores"][metric] for row in found["rows"] if row["label"] == "un-adapted")
    return strength_of(found), score["value"], score["low"], score["high"]


def cost(results: Path) -> str:
    """Return a picture of how much quicker than AR each system trains, and in how much less memory."""
    rows = json.loads(results.read_text(encoding="utf-8"))["rows"]
    panels = {"times as quick as AR": STEP, "times less memory than AR": MEMORY}
    with picture(2 * WIDTH, HEIGHT) as (figure, text):
        for panel, (title, begins) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            shown = {row["what"].removeprefix(begins): row["median"] for row in rows if row["what"].startswith(begins)}
            panel.barh(list(shown), list(shown.values()), height=0.6)
            panel.axvline(1, lw=0.8, color="black")
            panel.invert_yaxis()
            panel.set(title=title)
    return text.getvalue()


def main(words: list[str]) -> int:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description="Pictures of what was measured.")
    parser.add_argument("what", choices=("strength", "cost"))
    parser.add_argument("read", nargs="+", type=Path, help="folders of menura eval --strength, or benchmarks.json")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args(words)
    write_text(asked.out, strength(asked.read) if asked.what == "strength" else cost(asked.read[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
