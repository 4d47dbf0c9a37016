"""An experiment: the rows of a paper's tables, most important first, and the rule by which they are read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, TypeVar

from menura.errors import ConfigError, shown

T = TypeVar("T")
Beside = Literal["costs", "masks", "distances"]
Kind = Literal["base", "un-adapted", "wrong persona", "adapted", "prompt", "upper bound"]


@dataclass(frozen=True)
class ExperimentRow:
    """One system of a table: how it is trained and, where that differs from its neighbours, how it is scored.

    ``settings`` are ``--set`` of the training, ``settings_tiny`` those of size tiny where others are needed. ``start``
    is the row whose run its weights begin at, of the same seed or of its last, ``run_of`` the row whose run it scores
    instead of training one of its own. ``scored_with`` are more flags of ``menura eval``, or all of them where it is
    ``scored_otherwise`` than the experiment. A row without training (``trains=False``) scores the recipe as it is, or
    with the weights of ``start``; one that is not ``scored`` only gives others their initial weights. A row runs
    ``seeds`` times, with seeds 0, 1, …. With ``rates`` its first seed is trained once at each of these learning rates,
    and all seeds go on with the one that was best on validation personas; ``rate_of`` is the row whose choice a row
    takes.
    """

    name: str
    title: str
    recipe: str
    settings: tuple[str, ...] = ()
    settings_tiny: tuple[str, ...] = ()
    start: str = ""
    run_of: str = ""
    scored_with: tuple[str, ...] = ()
    scored_otherwise: bool = False
    trains: bool = True
    scored: bool = True
    rates: tuple[float, ...] = ()
    rate_of: str = ""
    seeds: int = 1


@dataclass(frozen=True)
class Table:
    """A table of a page: lines of some rows, columns of metrics.

    ``kinds`` are the lines of each row: one for each kind of the evaluation. With ``against``, a row's name, the lines
    are differences to it, of the last of ``kinds`` each, paired by persona and seed. ``paper`` holds what the paper
    printed, by row, or by row and kind (``row: kind``), in the order of ``paper_columns``. ``beside`` are columns of a
    line's first seed that no metric has: ``costs`` the seconds and size of a persona and the evaluation's peak memory,
    ``distances`` of adapted weights, ``masks`` what personas keep, how alike that is, and whether it follows how alike
    personas are.
    """

    name: str
    metrics: tuple[str, ...]
    rows: tuple[str, ...]
    kinds: tuple[Kind, ...] = ("adapted",)
    against: str = ""
    paper_columns: tuple[str, ...] = ()
    paper: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    beside: tuple[Beside, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """Rows in the order in which they run; where the budget ends, the last ones are left out.

    ``rule`` says before the first run which result counts as which finding. ``scored_with`` are the flags of
    ``menura eval`` for all rows, ``scored_with_tiny`` those of size tiny. ``core_hours`` is the budget of size cpu.
    """

    name: str
    question: str
    rule: str
    core_hours: float
    rows: tuple[ExperimentRow, ...]
    tables: tuple[Table, ...]
    scored_with: tuple[str, ...]
    scored_with_tiny: tuple[str, ...]

    def row(self, name: str) -> ExperimentRow:
        """Return a row by name; ConfigError with the nearest name if there is none."""
        return named(name, {row.name: row for row in self.rows}, f"row of {self.name}")

    def table(self, name: str) -> Table:
        """Return a table by name; ConfigError with the nearest name if there is none."""
        return named(name, {table.name: table for table in self.tables}, f"table of {self.name}")

    def units(self, rows: Sequence[str] = (), seeds: int | None = None) -> Iterator[tuple[ExperimentRow, int]]:
        """Yield the rows that are named, or all, in rank order, each with its seeds or with ``seeds`` of them."""
        for row in [self.row(name) for name in rows] or self.rows:
            for seed in range(row.seeds if seeds is None else min(seeds, row.seeds)):
                if row.scored:
                    yield row, seed


def named(name: str, entries: Mapping[str, T], what: str) -> T:
    """Return the entry of a name; ConfigError with the nearest name if there is none."""
    if name not in entries:
        near = get_close_matches(name, entries, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(entries)}"
        raise ConfigError(f"no {what} is called {shown(name)}", hint=hint, code=f"unknown_{what.split()[0]}")
    return entries[name]
