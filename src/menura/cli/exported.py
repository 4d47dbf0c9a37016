"""What is printed of a persona or a base that was written for an engine: what to load, what to send."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from menura.errors import number_of

if TYPE_CHECKING:
    from menura.api import Exported

MERGED_DTYPE = Annotated[
    str, typer.Option(help="Numbers of a whole model: float32, bfloat16, or auto: those of the base's file.")
]


def engine_lines(result: "Exported") -> Iterator[str]:
    """Yield what an engine must be given; nothing of a card."""
    chat = result.chat
    if chat is None:
        return
    yield f"model    {result.base_name}"
    if result.template is not None:
        yield f"template {result.template}"
    elif chat.why:
        yield f"template none: {chat.why}; send text or token ids"
    yield "prompt   as raw text, for a chat of one line:"
    yield from (f"  | {line}" for line in chat.prompt.split("\n"))
    yield f"end      token {' or '.join(map(str, chat.stop_token_ids))}"
    if result.facts:
        yield "facts    are in no weights; the prompt has them as its system message, so send them with each chat"


def memory_line(result: "Exported") -> str:
    """Return whether what a persona remembers left with it; empty where it remembers nothing."""
    memory = result.memory
    if memory is None:
        return ""
    what = f"what it remembers ({number_of(memory.exchanges, 'exchange')}{', and a cache of words' * memory.cache})"
    if memory.written:
        return f"memory   {what} is in it, word for word"
    why = "no engine has a place for it" if result.chat else "--to charx --with-memory takes it along"
    return f"memory   {what} stays behind: {why}"


def engine_facts(result: "Exported") -> dict[str, Any]:
    """Return the same as plain data."""
    if result.chat is None:
        return {}
    return {
        "base_name": result.base_name,
        "template": str(result.template) if result.template else None,
        "prompt": result.chat.prompt,
        "prompt_ids": list(result.chat.ids),
        "stop_token_ids": list(result.chat.stop_token_ids),
        "facts": list(result.facts),
        "fidelity": asdict(result.fidelity) if result.fidelity else None,
    }
