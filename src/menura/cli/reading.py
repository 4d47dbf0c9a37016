"""The options of every verb that reads a person's files: how a chat is read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from menura import api

if TYPE_CHECKING:
    from menura.api import ReadOptions

GAP = Annotated[str | None, typer.Option(help="The silence that ends a dialogue, such as 6h or 90min.")]
DATES = Annotated[str, typer.Option(help="The order of dates, where the file leaves it open: dmy, mdy or ymd.")]
SAME = Annotated[list[str] | None, typer.Option(metavar="A=B", help="Two names of one person; several times for more.")]
ENCODING = Annotated[str, typer.Option(help="The encoding of a file that is not UTF-8, such as cp1252.")]
REDACT = Annotated[bool, typer.Option("--redact", help="Replace phone numbers, addresses, links and the like.")]
DROP_LINKS = Annotated[bool, typer.Option("--drop-links", help="Leave out messages that are a link alone.")]


def options_of(
    gap: str | None,
    dates: str,
    same: Sequence[str] | None,
    encoding: str,
    *,
    redact: bool = False,
    drop_links: bool = False,
) -> "ReadOptions":
    """Return what was typed as options of reading; ConfigError with all that cannot be meant."""
    return api.read_options(
        gap=gap, dates=dates, same=same or (), encoding=encoding, redact=redact, drop_links=drop_links
    )
