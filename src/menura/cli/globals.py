"""The flags that every verb takes, wherever on the line they stand."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from menura.errors import ConfigError, shown

EPILOG = (
    "Everywhere: -c FILE · --set path=value · --dry-run · --json · --seed N · --device auto|cpu|cuda · "
    "--offline · --debug"
)

Config = TypeVar("Config")
LARGEST_SEED = 2**32 - 1  # what every library's generator takes, with room to add to it


@dataclass(frozen=True)
class Globals:
    """What every verb was told."""

    config: Path | None
    assignments: tuple[str, ...]
    dry_run: bool
    as_json: bool
    seed: int
    device: str
    offline: bool
    debug: bool


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


def configured(config: Config, given: Globals) -> Config:
    """Return settings as ``--config`` and ``--set`` change them."""
    from menura.training.overrides import with_file, with_settings  # the help must not wait for it

    return with_settings(with_file(config, given.config) if given.config else config, given.assignments)


def device_of(given: Globals) -> str:
    """Return the device to compute on; ConfigError if it is asked for and not there."""
    import torch  # the help must not wait for it

    if given.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=given.device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {given.device}: {str(error).splitlines()[0][:80]}", hint="--device cpu") from error
    return given.device


def warn(line: str) -> None:
    """Print a line to the error stream."""
    print(line, file=sys.stderr, flush=True)
