"""``menura serve``."""

import re
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.options import DTYPE
from menura.cli.terminal import Screen
from menura.errors import ConfigError, StorageError, shown

HOST = typer.Option(help="The address to listen on; any but a loopback address needs a key (menura key new NAME).")
PORT = typer.Option(min=0, max=65535, help="The port; 0 for a free one.")
ALLOW_HOST = typer.Option(metavar="NAME", help="Another name that clients may call it by; several times for more.")
ALLOW_ORIGIN = typer.Option(metavar="URL", help="Another site whose pages may use it, such as https://menura.example.")
RAW_PROMPTS = typer.Option(help="Allow /v1/completions. Usually on 127.0.0.1 alone.", show_default=False)
SLOTS = typer.Option(min=1, max=4096, help="Replies that are generated at once.")
RESIDENT = typer.Option(metavar="SIZE", help="Memory for personas, such as 512MiB or 2GiB; the rest wait on the disk.")
STORE = typer.Option(metavar="URL", help="Serve the personas of a folder or an address of fsspec, and change none.")
DEFAULT_BASE = "smollm2-135m"
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)", re.IGNORECASE)
UNITS = {"b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}


def serve(
    context: typer.Context,
    host: Annotated[str, HOST] = "127.0.0.1",
    port: Annotated[int, PORT] = 8765,
    allow_host: Annotated[list[str] | None, ALLOW_HOST] = None,
    allow_origin: Annotated[list[str] | None, ALLOW_ORIGIN] = None,
    raw_prompts: Annotated[bool | None, RAW_PROMPTS] = None,
    slots: Annotated[int, SLOTS] = 32,
    resident: Annotated[str, RESIDENT] = "2GiB",
    store: Annotated[str, STORE] = "",
    dtype: DTYPE = "float32",
) -> None:
    """Serve personas: a web page, and OpenAI's API for any client of it."""
    size = bytes_of(resident)
    from menura.serve.server import run
    from menura.serve.settings import EngineSettings, ServerSettings

    given: Globals = context.obj
    settings = ServerSettings(
        host=host,
        port=port,
        hosts=tuple(allow_host or ()),
        origins=tuple(allow_origin or ()),
        raw_prompts=raw_prompts,
        store=store,
        device=str(api.device_of(given.device)),
        dtype=dtype,
        offline=given.offline,
        engine=replace(EngineSettings(), slots=slots, resident_bytes=size),
    )
    screen = Screen(as_json=given.as_json)
    prepare = None if given.offline or store else partial(_fetch_default_base, screen)
    run(settings, screen.say, prepare, verbose=given.debug)


def _fetch_default_base(screen: Screen) -> None:
    """Fetch what new personas are adapted on, once: a running server fetches nothing. Without a network, say so."""
    try:
        api.pull_base(DEFAULT_BASE, say=screen.say)
    except StorageError as error:
        screen.say(f"{error}\nnew personas need it; those that are here are served")


def bytes_of(size: str) -> int:
    """Return the bytes of a size such as ``2GiB``; ConfigError where it is none."""
    found = SIZE.fullmatch(size.strip())
    if not found:
        raise ConfigError(f"--resident {shown(size)}: a size wanted", hint="--resident 2GiB")
    return int(float(found[1]) * UNITS[found[2].lower()])
