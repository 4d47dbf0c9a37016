"""Evaluations of several systems on the same queries become paired differences to one of them."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from menura.artefacts import saved_samples
from menura.artefacts.saved_samples import LIKELIHOODS, PREDICTIONS
from menura.errors import ConfigError, shown
from menura.evaluation.settings import OF_LIKELIHOOD
from menura.evaluation.systems import ADAPTED, UNADAPTED
from menura.metrics import catalogue
from menura.metrics.score import Sample
from menura.metrics.significance import paired_difference
from menura.report import saved_results
from menura.report.saved_results import WrittenRow
from menura.report.table import DifferenceRow

SEED = 0


def differences(folders: Sequence[Path], against: str) -> list[DifferenceRow]:
    """Return each system's rows minus the adapted one, of the largest K, of the system named ``against``.

    A system that does not adapt is compared by its only row. Raises ConfigError for a name that none of the folders
    has, DataError where personas differ or a folder lacks its samples.
    """
    found = {folder.name: folder for folder in folders}
    if against not in found:
        near = get_close_matches(against, found, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(found)}"
        raise ConfigError(f"--against {shown(against)}: no such system here", hint=hint, code="unknown_system")
    rows = {
        name: [r for r in saved_results.read(folder)[0] if r.kind in (UNADAPTED, ADAPTED)]
        for name, folder in found.items()
    }
    theirs = max(rows[against], key=lambda row: row.shots)
    told = _Samples(found)
    pairs = [(ours, theirs) for own in rows.values() for ours in own if ours is not theirs]
    return [DifferenceRow(_label(ours), _label(theirs), told.compared(ours, theirs)) for ours, theirs in pairs]


class _Samples:
    """The samples of the systems' rows, read once per folder."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._lines = {
            name: {file: list(saved_samples.read(folder / file)) for file in (LIKELIHOODS, PREDICTIONS)}
            for name, folder in folders.items()
        }

    def compared(self, ours: WrittenRow, theirs: WrittenRow) -> dict[str, Any]:
        """Return the difference of every metric that both rows have."""
        shared = [name for name in ours.scores if name in theirs.scores]
        return {
            metric.name: paired_difference(
                metric, self._of(ours, metric.name), self._of(theirs, metric.name), seed=SEED
            )
            for metric in catalogue.named(shared)
        }

    def _of(self, row: WrittenRow, metric: str) -> list[Sample]:
        lines = self._lines[row.system][LIKELIHOODS if metric.startswith(OF_LIKELIHOOD) else PREDICTIONS]
        return [sample for label, sample in lines if label == row.label]


def _label(row: WrittenRow) -> str:
    return f"{row.system}: {row.label}"
