"""``menura chat NAME[,NAME2]``."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from menura.cli.globals import Globals, device_of
from menura.cli.screen import Screen

if TYPE_CHECKING:
    from menura.api import Voice
    from menura.corpus.dialogue import Turn
    from menura.decoding.generate import Decoding

HELP = (
    "/cand N: N replies with their likelihood · /base: the base answers too · /new: forget what was said · /who · /quit"
)


def chat(
    context: typer.Context,
    names: Annotated[str, typer.Argument(metavar="NAME[,NAME2]", help="Personas, or `shipped` for the model itself.")],
    greedy: Annotated[bool, typer.Option("--greedy", help="Always the likeliest reply.")] = False,
    nucleus: Annotated[float, typer.Option(help="Sample from this share of the likeliest tokens.")] = 0.92,
    temperature: Annotated[float, typer.Option(help="Below 1 is more sober, above 1 wilder.")] = 0.8,
    beam: Annotated[int, typer.Option(help="Search the likeliest reply with a beam of this width.", min=0)] = 0,
) -> None:
    """Talk in the terminal; two names answer side by side."""
    from menura import api
    from menura.cli.decoding import decoding
    from menura.decoding.choice import Nucleus

    given: Globals = context.obj
    choice = decoding(Nucleus(nucleus, temperature), greedy=greedy, beam=beam)
    screen = Screen(as_json=given.as_json)
    voices = api.voices(names.split(","), device=device_of(given), offline=given.offline)
    screen.say(f"{' and '.join(voices)} · {choice.signature} · /help")
    talk(screen, voices, choice, seed=given.seed)


def talk(screen: Screen, voices: "dict[str, Voice]", choice: "Decoding", *, seed: int) -> None:
    """Read lines until the end of input; every voice remembers its own side of the dialogue."""
    from menura.api import PERSONA, YOU
    from menura.corpus.dialogue import Turn as Said

    said: dict[str, list[Turn]] = {name: [] for name in voices}
    while True:
        try:
            line = input("you > " if screen.live else "").strip()
        except (EOFError, KeyboardInterrupt):
            screen.say("")
            return
        if line == "/quit":
            return
        if line.startswith("/"):
            _command(line, screen, voices, said, choice)
            continue
        if not line:
            continue
        for name, voice in voices.items():
            said[name].append(Said(YOU, line))
            reply = _streamed(screen, name, voice.stream(said[name], choice=choice, seed=seed + len(said[name])))
            said[name].append(Said(PERSONA, reply or "…"))


def _streamed(screen: Screen, name: str, pieces: Iterator[str]) -> str:
    if screen.as_json:
        reply = "".join(pieces).strip()
        screen.give("reply", {"name": name, "reply": reply}, reply)
        return reply
    print(f"{name}> ", end="", flush=True)
    whole = ""
    for piece in pieces:
        whole += piece
        print(_printable(piece), end="", flush=True)
    print()
    return whole.strip()


def _command(
    line: str, screen: Screen, voices: "dict[str, Voice]", said: "dict[str, list[Turn]]", choice: "Decoding"
) -> None:
    word, _, rest = line.partition(" ")
    if word == "/new":
        for turns in said.values():
            turns.clear()
        screen.say("(forgotten)")
    elif word == "/who":
        screen.say(", ".join(f"{name} on {voice.loaded.base.name}" for name, voice in voices.items()))
    elif word == "/cand" and (rest or "4").isdigit() and 1 <= int(rest or "4") <= 32:
        _candidates(screen, voices, said, choice, int(rest or "4"))
    elif word == "/base":
        from menura.api import without_persona

        first = next(iter(voices))
        voices.setdefault("base", without_persona(voices[first]))
        said.setdefault("base", list(said[first]))
        screen.say("(the base answers too)")
    else:
        screen.say(HELP)


def _candidates(
    screen: Screen, voices: "dict[str, Voice]", said: "dict[str, list[Turn]]", choice: "Decoding", count: int
) -> None:
    for name, voice in voices.items():
        turns: Sequence[Turn] = said[name][:-1]  # other replies to what was said last
        if not turns:
            screen.say("say something first")
            return
        for candidate in voice.candidates(turns, count, choice=choice):
            screen.say(f"  {name}  {candidate.nats:5.2f} nats a token  {_printable(candidate.text)}")


def _printable(text: str) -> str:
    """Show control characters instead of sending them to the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
