"""Columns of an experiment's tables that no metric has: costs, distances of adapted weights, persona masks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from menura.experiments.experiment import Beside

NONE = "–"


@dataclass(frozen=True)
class ColumnGroup:
    """The titles of some columns, and how a line of an evaluation, and its origin, become their cells."""

    titles: tuple[str, ...]
    cells: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]


def _costs(line: Mapping[str, Any], origin: Mapping[str, Any]) -> list[str]:
    persona = [f"{line['seconds']:.0f} s", f"{line['kilobytes'] / 1000:.1f} MB"] if line["kilobytes"] else [NONE, NONE]
    return [*persona, f"{origin['peak_memory'] / 1e9:.1f} GB"]


def _distances(line: Mapping[str, Any], origin: Mapping[str, Any]) -> list[str]:
    distances = line["distances"]
    return [f"{1e10 * distances[name]:,.4g}" for name in ("delta_sq", "diff_sq")] if distances else [NONE, NONE]


def _masks(line: Mapping[str, Any], origin: Mapping[str, Any]) -> list[str]:
    masks = line.get("masks")
    if not masks:
        return [NONE] * 4
    statistics = masks["mask_statistics"]
    density = " / ".join(f"{100 * share:.1f} %" for share in statistics["density"].values()) or NONE
    follows = (
        [NONE, NONE] if masks["p"] is None else [f"{masks['correlation']:+.3f}".replace("-", "−"), f"{masks['p']:.3f}"]
    )
    return [density, f"{statistics['jaccard']:.3f}", *follows]


COLUMNS: Mapping[Beside, ColumnGroup] = {
    "costs": ColumnGroup(("to adapt", "persona", "peak memory"), _costs),
    "distances": ColumnGroup(("Δ, e-10", "Diff, e-10"), _distances),
    "masks": ColumnGroup(("edges kept", "mean Jaccard", "correlation", "p"), _masks),
}
