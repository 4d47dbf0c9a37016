"""Fields of a settings dataclass become the options of a command, so that no option is written twice."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, get_args, get_type_hints

import typer

from menura.errors import ConfigError, shown

DTYPE = Annotated[str, typer.Option(help="Numbers of the base: float32, bfloat16, or auto: what the memory takes.")]
EXECUTOR = Annotated[str, typer.Option(help="Who starts worker processes: local, ray or dask.")]
JOBS = typer.Option("-j", "--jobs", help="Worker processes, each with a base of its own in memory.", min=1)
EXAMPLES = {"shots": "0,1,3,5,10", "epochs": "1,2,4"}  # of options that take numbers


def options_of(*settings: type) -> list[inspect.Parameter]:
    """Return a parameter of a Typer command for each field that has a help text."""
    return [_parameter(field) for kind in settings for field in _asked(kind)]


def values_of(settings: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of settings from what was typed; ConfigError, with the flag, for what is none."""
    hints = get_type_hints(settings, localns={"Decoding": Any, "Ranking": Any})
    return {field.name: _value(field, hints[field.name], options[field.name]) for field in _asked(settings)}


def with_options(*settings: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of settings to a command, which gets what was typed by name."""

    def added(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command)
        named = [parameter for parameter in own.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
        command.__signature__ = own.replace(parameters=[*named, *options_of(*settings)])  # type: ignore[attr-defined]
        command.__annotations__ |= {option.name: option.annotation for option in options_of(*settings)}
        return command

    return added


def _asked(settings: type) -> Iterator["Field[Any]"]:
    return (field for field in fields(settings) if field.metadata.get("help"))


def _flag(field: "Field[Any]") -> str:
    flags: tuple[str, ...] = field.metadata["flags"]
    return flags[0] if flags else f"--{field.name.replace('_', '-')}"


def _parameter(field: "Field[Any]") -> inspect.Parameter:
    assert field.default is not MISSING, "an option has a default"
    # Without a second name Typer would add a flag that says no.
    flags = field.metadata["flags"] or ((_flag(field),) if isinstance(field.default, bool) else ())
    option = typer.Option(*flags, help=field.metadata["help"], min=field.metadata["minimum"])
    kind: Any = type(field.default) if isinstance(field.default, bool | int | float) else str
    default: Any = field.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    if default is None:
        kind = float | None
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _value(field: "Field[Any]", hint: Any, given: Any) -> Any:
    if hint == tuple[int, ...]:
        return _numbers(given, _flag(field), EXAMPLES[field.name]) if given else ()
    if hint == tuple[str, ...]:
        return tuple(name for name in given.split(",") if name)
    words = [word for word in get_args(hint) if isinstance(word, str)]
    if words and given not in words:
        raise ConfigError(f"{_flag(field)} {shown(str(given))}: {' or '.join(words)} wanted")
    return given


def _numbers(text: str, flag: str, example: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise ConfigError(f"{flag} {shown(text)}: numbers wanted", hint=f"{flag} {example}") from error
