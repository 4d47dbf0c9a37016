"""``menura key new | list | revoke``."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from menura.cli.globals import EPILOG, Globals
from menura.cli.terminal import Screen, columns

app = typer.Typer(help="Keys that let clients use the server.", epilog=EPILOG, no_args_is_help=True)
PERSONAS = typer.Option(help="Personas that the key may use: names or patterns, such as anna,bob-*.")


@app.command(epilog=EPILOG)
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    personas: Annotated[str, PERSONAS] = "*",
) -> None:
    """Make a key and print it, this once; from the first key on, every request needs one."""
    from menura.serve.http.keys import KeyStore

    given: Globals = context.obj
    key, secret = KeyStore().new(name, tuple(part.strip() for part in personas.split(",") if part.strip()))
    facts = {"id": key.key_id, "name": key.name, "personas": key.personas, "key": secret}
    text = f"{secret}\nkept as a hash alone, so copy it now (id {key.key_id}, personas {', '.join(key.personas)})"
    Screen(as_json=given.as_json).give("key", facts, text)


@app.command("list", epilog=EPILOG)
def list_keys(context: typer.Context) -> None:
    """Show all keys: never the secrets, which nobody has but their holders."""
    from menura.serve.http.keys import KeyStore

    given: Globals = context.obj
    keys = KeyStore().list()
    rows = [["id", "name", "personas", "made"]]
    rows += [[key.key_id, key.name, ", ".join(key.personas), f"{_day(key.created):%Y-%m-%d %H:%M}"] for key in keys]
    text = columns(rows) if keys else "no keys: on 127.0.0.1 none is needed; menura key new NAME makes one"
    facts = [{name: value for name, value in asdict(key).items() if name != "sha256"} for key in keys]
    Screen(as_json=given.as_json).give("keys", {"keys": facts}, text)


@app.command(epilog=EPILOG)
def revoke(
    context: typer.Context, key_id: Annotated[str, typer.Argument(metavar="ID", help="As `menura key list` has it.")]
) -> None:
    """Revoke a key; a running server refuses it from the next request on."""
    from menura.serve.http.keys import KeyStore

    given: Globals = context.obj
    key = KeyStore().revoke(key_id)
    Screen(as_json=given.as_json).say(f"revoked {key.key_id} ({key.name})", id=key.key_id)


def _day(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds)
