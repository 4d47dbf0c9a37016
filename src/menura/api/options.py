"""What every command accepts becomes settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class CommandOptions:
    """What every command accepts: settings, seed, device."""

    config: Path | None = None
    assignments: tuple[str, ...] = ()
    seed: int = 0
    device: str = "auto"
    offline: bool = False
    dry_run: bool = False


def overridden(settings: Settings, config: Path | None, assignments: Sequence[str]) -> Settings:
    """Return settings as a YAML file and ``path=value`` assignments change them; ConfigError with all that is wrong."""
    if config is None and not assignments:
        return settings
    from menura.training.overrides import with_file, with_settings

    return with_settings(with_file(settings, config) if config else settings, assignments)
