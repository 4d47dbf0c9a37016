"""The flags that every verb takes, wherever on the line they stand."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from menura import api
from menura.errors import ConfigError, shown

if TYPE_CHECKING:
    from menura.api import CommandOptions

EPILOG = (
    "Everywhere: -c FILE · --set path=value · --dry-run · --json · --seed N · --device auto|cpu|cuda · "
    "--offline · --debug"
)

LARGEST_SEED = 2**32 - 1  # what every library's generator takes, with room to add to it


@dataclass(frozen=True)
class Globals:
    """The values of the flags of all verbs."""

    config: Path | None
    assignments: tuple[str, ...]
    dry_run: bool
    as_json: bool
    seed: int
    device: str
    offline: bool
    debug: bool

    @property
    def options(self) -> "CommandOptions":
        """The part that the API takes."""
        return api.CommandOptions(self.config, self.assignments, self.seed, self.device, self.offline, self.dry_run)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise ConfigError(message, hint="menura --help", code="usage")


def taken_from(words: Sequence[str]) -> tuple[Globals, list[str]]:
    """Split a command line into the flags of all verbs and the rest."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="assignments", metavar="PATH=VALUE")
    parser.add_argument("--dry-run", "-n", action="store_true")
    parser.add_argument("--json", action="store_true", dest="as_json")
    parser.add_argument("--seed", type=_seed, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--debug", action="store_true")
    known, rest = parser.parse_known_args(list(words))
    values = vars(known)
    return Globals(**{**values, "assignments": tuple(values["assignments"])}), rest


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"invalid number {shown(text)}") from error
    if not 0 <= seed <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not from 0 to {LARGEST_SEED}")
    return seed


def warn(line: str) -> None:
    """Print a line to the error stream."""
    print(line, file=sys.stderr, flush=True)
