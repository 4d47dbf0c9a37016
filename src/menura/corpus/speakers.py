"""The speakers of some dialogues become hints that can be typed, and a warning where one of them says too little."""

import shlex
from collections.abc import Sequence
from difflib import get_close_matches

from menura.errors import SHOWN_AT_MOST, Problem, number_of, shown

NAMES_LISTED = 10
NEAR_LISTED = 3
FEW_REPLIES, FEW_DIALOGUES = 10, 2


def speaker_hint(speaker: str | None, replies: Sequence[tuple[str, int]]) -> str:
    """Return which ``--speaker`` to type, quoted for a shell: names like ``speaker``, else who replies most.

    ``replies`` are the speakers with their numbers of replies.
    """
    # A name that a message would cut or escape cannot be typed from it.
    names = {name: count for name, count in replies if name.isprintable() and len(name) <= SHOWN_AT_MOST}
    if near := get_close_matches(speaker or "", names, n=NEAR_LISTED):
        return f"did you mean {' or '.join(map(_option, near))}?"
    most = sorted(names.items(), key=lambda pair: -pair[1])[:NAMES_LISTED]
    if not most:
        return "nobody who can be named replies"
    listed = ", ".join(f"{_option(name)} ({number_of(count, 'reply')})" for name, count in most)
    more = f" and {len(replies) - len(most)} more" if len(replies) > len(most) else ""
    return f"type {'' if len(replies) == 1 else 'one of '}{listed}{more}"


def _option(name: str) -> str:
    return f"--speaker {shlex.quote(name)}"


def few(
    speaker: str, replies: int, dialogues: int, *, place: str = "", aside: str = "", of_card: bool = False
) -> Problem | None:
    """Return the warning that there is little to learn of a speaker, None where there is enough.

    ``aside`` says why this speaker is meant.
    """
    if replies >= FEW_REPLIES and dialogues >= FEW_DIALOGUES:
        return None
    who = f"{shown(speaker)}, {aside}," if aside else shown(speaker)
    said = f"{number_of(replies, 'reply')} of {who} in {number_of(dialogues, 'dialogue')}: little to learn from"
    hint = "more example dialogues would help" if of_card else "export more of the chat"
    return Problem("few", said, place, hint, "warn")
