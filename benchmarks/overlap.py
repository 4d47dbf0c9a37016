"""Replies at several persona strengths become a table: how often they contain facts of the speaker, or of others.

``python -m benchmarks.overlap FOLDER …`` reads evaluations of one run by ``menura eval --strength``. What
replies say of anybody they say of some other speaker as well; only what they say of their own beyond that is personal.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from menura.artefacts.saved_samples import PREDICTIONS
from menura.corpus.segmentation import content_pieces, says_any
from menura.metrics.attribute_overlap import AttributeOverlap
from menura.metrics.score import Metric, Sample, summed
from menura.metrics.significance import paired_difference, score

HEAD = "| a | of the speaker | of another speaker | the first minus the second |\n| ---: | ---: | ---: | ---: |\n"
Told = Mapping[str, frozenset[str]]  # by persona, the pieces of its facts


@dataclass(frozen=True)
class OverlapOfOthers:
    """The share of replies that contain a piece of another speaker's facts, mean over all others.

    ``own`` counts how much oftener replies say a piece of their speaker's own.
    """

    told: Told
    own: bool = False
    unit: str = "share"
    better: Literal["higher"] = "higher"
    signature: str = "mean:replies,speakers"

    @property
    def name(self) -> str:
        """Which of the two."""
        return "attribute-overlap-beyond-others" if self.own else "attribute-overlap-of-others"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (sum over replies, replies)."""
        return sum(map(self._of, samples)), float(len(samples))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the mean over replies."""
        found, replies = summed(gathered)
        return found / replies

    def _of(self, sample: Sample) -> float:
        others = [says_any(sample.reply, told) for name, told in self.told.items() if name != sample.persona_id]
        by_chance = sum(others) / len(others)
        return says_any(sample.reply, self.told[sample.persona_id]) - by_chance if self.own else by_chance


def table(folders: Sequence[Path]) -> str:
    """Return the rows in the order of their strengths, and what lies between the first and the last, paired."""
    said = {strength_of(_read(folder)): samples_of(folder) for folder in folders}
    told = told_by(next(iter(said.values())))
    metrics: tuple[Metric, ...] = (AttributeOverlap(), OverlapOfOthers(told), OverlapOfOthers(told, own=True))
    lines = []
    for weight in sorted(said):
        found = [score(metric, said[weight], seed=0) for metric in metrics]
        lines.append(f"| {weight:g} | " + " | ".join(_shown(s.value, s.low, s.high) for s in found) + " |\n")
    low, high = said[min(said)], said[max(said)]
    between = [paired_difference(metric, high, low, seed=0) for metric in metrics]
    shown = " | ".join(_shown(d.value, d.low, d.high, "+") for d in between)
    return f"{HEAD}{''.join(lines)}| {max(said):g} − {min(said):g} | {shown} |\n"


def samples_of(folder: Path) -> list[Sample]:
    """Return what was said without adapting; only what is told, and by whom, is read."""
    lines = (json.loads(line) for line in (folder / PREDICTIONS).read_text(encoding="utf-8").splitlines())
    return [
        Sample(row["persona_id"], row["dialogue_id"], row["reply"], row["reference"], 0.0, 1, facts=tuple(row["facts"]))
        for row in lines
        if row["row"] == "un-adapted"
    ]


def told_by(samples: Sequence[Sample]) -> dict[str, frozenset[str]]:
    """Return the pieces of each persona's facts."""
    told: dict[str, frozenset[str]] = {}
    for sample in samples:
        if sample.persona_id not in told:
            told[sample.persona_id] = frozenset().union(*map(content_pieces, sample.facts))
    return told


def strength_of(found: Any) -> float:
    """Return how much every persona weighed in an evaluation, as its scores.json tells."""
    weight = re.search(r"\d+(\.\d+)?", found["about"]["strength"])
    assert weight, "an evaluation without --strength"
    return float(weight.group())


def _read(folder: Path) -> Any:
    return json.loads((folder / "scores.json").read_text(encoding="utf-8"))


def _shown(value: float, low: float, high: float, sign: str = "-") -> str:
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]".replace("-", "−")


def main(words: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description="What replies tell, and of whom.")
    parser.add_argument("read", nargs="+", type=Path, help="folders of menura eval --strength")
    print(table(parser.parse_args(words).read), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
