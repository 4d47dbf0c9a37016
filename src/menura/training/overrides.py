"""``--set path=value`` and YAML become changed settings; an unknown path is an error with the nearest name."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from menura import registry
from menura.artefacts.earlier_names import names_now, renamed_settings
from menura.corpus.source import opened
from menura.errors import ConfigError, MenuraError, Problem, shown
from menura.training.config import RunConfig

Config = TypeVar("Config")
RENAMED = "renamed"  # the code of an error for a name of an earlier version
KINDS = ("method", "model")  # settings that are one of several kinds, named as in the registry


def with_file(config: Config, path: Path) -> Config:
    """Apply a YAML file of nested settings."""
    read = _parsed(opened(path).text, "", str(path)) or {}
    if not isinstance(read, Mapping):
        raise ConfigError("settings must be a mapping of names to values", place=str(path))
    return _with_all(config, list(_flat(read)))


def with_settings(config: Config, assignments: Sequence[str]) -> Config:
    """Apply ``path=value`` assignments in order; all that are wrong are reported together."""
    pairs = []
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {shown(assignment)}: no '=' in it", hint="write --set outer.steps=50")
        pairs.append((path.strip(), _parsed(value, f"--set {shown(assignment)}: ") if value else ""))
    return _with_all(config, pairs)


def from_plain(default: Config, plain: Mapping[str, Any], scope: str = "run") -> Config:
    """Return settings from plain data that ``asdict`` made of them, in this version or an earlier one."""
    return _with_all(default, list(_flat(renamed_settings(plain, scope))))


def of_written(plain: Mapping[str, Any]) -> RunConfig:
    """Return the settings that a run saved; settings added since have their defaults."""
    return from_plain(
        RunConfig(str(plain["recipe"])), {name: value for name, value in plain.items() if name != "recipe"}
    )


def paths_of(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting as (path, value)."""
    for field in fields(config):
        value: Any = getattr(config, field.name)
        if field.name in KINDS and is_dataclass(value):
            yield f"{prefix}{field.name}", getattr(value, "name", "")
        if is_dataclass(value):
            yield from paths_of(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def _parsed(text: str, what: str, place: str = "") -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        said = f"{what}not valid YAML: {str(error).splitlines()[0]}"
        raise ConfigError(said, place=place, code="yaml_syntax") from error


def _with_all(config: Config, pairs: Sequence[tuple[str, Any]]) -> Config:
    """Apply assignments that are valid only together, such as fewer layers with fewer groups."""
    problems: list[Problem] = []
    try:
        whole = config
        for path, value in pairs:
            whole = _with(whole, path, path.split("."), value, _unchecked)
        return _again(whole)
    except MenuraError as error:
        problems += error.problems
    one_by_one: list[Problem] = []  # the wrong ones, by their own place
    for path, value in pairs:
        try:
            config = _with(config, path, path.split("."), value, replace)
        except MenuraError as error:
            one_by_one += error.problems
    raise ConfigError.of(one_by_one or problems)


def _unchecked(config: Any, **changes: Any) -> Any:
    """Return changed settings without their checks."""
    made = copy(config)
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def _again(config: Config) -> Config:
    """Return the same settings, every part constructed again and so checked."""
    settings: Any = config
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    made: Config = replace(settings, **{name: _again(value) for name, value in values.items() if is_dataclass(value)})
    return made


def _with(config: Any, path: str, names: Sequence[str], value: Any, made: Callable[..., Any]) -> Any:
    field_names = {field.name for field in fields(config)}
    name, *rest = names
    if name not in field_names:
        raise _unknown(path, name, field_names)
    current = getattr(config, name)
    if rest:
        if not is_dataclass(current):
            raise ConfigError(f"setting {path}: {name} has no parts", code="unknown_setting")
        return made(config, **{name: _with(current, path, rest, value, made)})
    if name in KINDS:
        return made(config, **{name: _changed_to(of_kind(name, str(value)), current)})
    if is_dataclass(current):
        raise ConfigError(f"setting {path} has parts: set one of {', '.join(f.name for f in fields(current))}")
    return made(config, **{name: _checked(config, path, name, value)})


def _unknown(path: str, name: str, names: set[str]) -> ConfigError:
    """Return the error for an unknown setting, or for the name of an earlier version."""
    now = [new for new in dict.fromkeys(names_now(name)) if new in names]
    if now:
        within = path.removesuffix(name)
        called = " or ".join(f"{within}{new}" for new in now)
        return ConfigError(f"setting {path} is called {called} now", hint=f"--set {within}{now[0]}=…", code=RENAMED)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(names))}"
    return ConfigError(f"unknown setting {shown(path)}", hint=hint, code="unknown_setting")


def _checked(config: Any, path: str, name: str, value: Any) -> Any:
    wanted = get_type_hints(type(config))[name]
    if isinstance(value, list | dict):
        raise ConfigError(f"setting {path}: one value wanted, not several", code="bad_setting")
    if wanted is str and value is not None:
        return str(value)
    if isinstance(value, bool) and wanted is not bool:
        raise _invalid(path, value, "yes and no are no value here")
    try:
        valid = TypeAdapter(wanted).validate_python(value)
    except ValidationError as error:
        raise _invalid(path, value, error.errors()[0]["msg"]) from error
    if isinstance(valid, float) and not math.isfinite(valid):
        raise _invalid(path, value, "it must be a finite number")
    return valid


def _invalid(path: str, value: Any, said: str) -> ConfigError:
    return ConfigError(f"setting {path}: {shown(str(value))} is not valid: {said}", code="bad_setting")


def of_kind(what: str, name: str) -> Any:
    """Return the default settings of the method or model of this name; ConfigError with the nearest name if unknown."""
    return registry.model(name).entry.settings if what == "model" else registry.method(name)


def _changed_to(kind: Any, current: Any) -> Any:
    """Return the settings of another method or model; settings that both have keep their values."""
    shared = {field.name for field in fields(kind)} & {field.name for field in fields(current)}
    return kind(**{name: getattr(current, name) for name in shared})


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            name = value.get("name") if key in KINDS else None
            if name:
                yield path, name
            yield from _flat({k: v for k, v in value.items() if not (name and k == "name")}, f"{path}.")
        else:
            yield path, value
