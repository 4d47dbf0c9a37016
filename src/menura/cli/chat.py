"""``menura chat NAME[,NAME2]``."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from menura import api
from menura.cli.evaluate import RANK_BY
from menura.cli.globals import Globals
from menura.cli.options import DTYPE
from menura.cli.terminal import Screen, columns
from menura.errors import SHOWN_AT_MOST, printable

if TYPE_CHECKING:
    from menura.api import Agent, Candidate
    from menura.corpus.dialogue import Turn
    from menura.decoding.candidates import Ranking
    from menura.decoding.generate import Decoding


@dataclass(frozen=True)
class ShownCandidates:
    """How many candidates are shown, and the ranking of each agent."""

    count: int
    ranking: "dict[str, Ranking]"


COMMANDS = ("/cand", "/base", "/strength", "/new", "/who", "/quit", "/help")
HELP = (
    "/cand N: N replies with their likelihood · /base: the base answers too · /strength A: the persona weighs 0 to 1 · "
    "/new: forget what was said · /who · /quit"
)
PROFILE = typer.Option(metavar="KEY=VALUE", help="What is known of the persona; several times for more, or several.")

MEMORY = typer.Option(
    min=0, help="So many tokens of recalled exchanges before each reply; 0 for none. Usually 256, with a memory."
)


def chat(
    context: typer.Context,
    names: Annotated[str, typer.Argument(metavar="NAME[,NAME2]", help="Personas, or `shipped` for the model itself.")],
    greedy: Annotated[bool, typer.Option("--greedy", help="Always the likeliest reply.")] = False,
    top_p: Annotated[float, typer.Option(help="Sample from this share of the likeliest tokens.")] = 0.92,
    temperature: Annotated[float, typer.Option(help="Below 1 is more sober, above 1 wilder.")] = 0.8,
    min_p: Annotated[float, typer.Option(help="Sample from tokens so many times as likely as the likeliest.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1, a reply repeats fewer tokens of itself.")] = 1.0,
    num_beams: Annotated[int, typer.Option(help="Search the likeliest reply with a beam of this width.", min=0)] = 0,
    candidates: Annotated[int, typer.Option(help="Show so many replies, and which was chosen.", min=0, max=64)] = 0,
    rank_by: RANK_BY = "",
    memory_tokens: Annotated[int | None, MEMORY] = None,
    strength: Annotated[float | None, typer.Option(help="How much the persona weighs, 0 to 1, where it can.")] = None,
    profile: Annotated[list[str] | None, PROFILE] = None,
    dtype: DTYPE = "auto",
) -> None:
    """Talk in the terminal; two names answer side by side."""
    given: Globals = context.obj
    decoding = api.decoding(
        *(top_p, temperature),
        greedy=greedy,
        num_beams=num_beams,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
    )
    told = _profile(profile or ())
    screen = Screen(as_json=given.as_json)
    agents = api.agents(
        names.split(","),
        device=api.device_of(given.device),
        offline=given.offline,
        dtype=dtype,  # type: ignore[arg-type]  # checked where it is used
        say=screen.say,
    )
    agents = {name: agent.at_strength(strength) for name, agent in agents.items()}
    if memory_tokens is not None:
        agents = _recalling(agents, memory_tokens)
    if told:
        agents = {name: agent.with_profile(told) for name, agent in agents.items()}
    screen.say(f"{' and '.join(agents)} · {decoding.signature} · /help")
    shown = None
    if candidates:
        ways = {name: api.ranking(rank_by or agent.usual_ranking) for name, agent in agents.items()}
        for name, agent in agents.items():
            ways[name].check(agent.loaded.model)
            if ways[name].caution and agent.num_latents:
                screen.say(ways[name].caution)
        shown = ShownCandidates(candidates, ways)
    talk(screen, agents, decoding, seed=given.seed, shown=shown)


def _recalling(agents: "dict[str, Agent]", tokens: int) -> "dict[str, Agent]":
    """Return agents with another budget of recalled exchanges; ConfigError where none remembers."""
    those = {name: agent for name, agent in agents.items() if agent.memory is not None} or agents
    return {**agents, **{name: agent.remembering(tokens) for name, agent in those.items()}}


def talk(
    screen: Screen,
    agents: "dict[str, Agent]",
    decoding: "Decoding",
    *,
    seed: int,
    shown: "ShownCandidates | None" = None,
) -> None:
    """Read lines until the end of input; every agent has its own view of the dialogue."""
    said: dict[str, list[Turn]] = {name: [] for name in agents}
    _greet(screen, agents, said)
    while True:
        try:
            line = input("you > " if screen.live else "").strip()
        except (EOFError, KeyboardInterrupt):
            screen.say("")
            return
        if line == "/quit":
            return
        if line.startswith("/"):
            _command(line, screen, agents, said, decoding)
            continue
        if not line:
            continue
        for name, agent in agents.items():
            said[name].append(api.Turn(api.YOU, line))
            own = seed + len(said[name])
            if shown:
                found = agent.candidates(
                    said[name], shown.count, decoding=decoding, seed=own, ranking=shown.ranking[name]
                )
                _give_candidates(screen, name, found, shown.ranking[name].by)
                reply = _streamed(screen, name, iter([found[0].text]))
            else:
                reply = _streamed(screen, name, agent.stream(said[name], decoding=decoding, seed=own))
            said[name].append(api.Turn(api.PERSONA, reply or "…"))


def _greet(screen: Screen, agents: "dict[str, Agent]", said: "dict[str, list[Turn]]") -> None:
    """Let personas say the first lines of their cards."""
    for name, agent in agents.items():
        if agent.first_line:
            line = _streamed(screen, name, iter([agent.first_line]))
            said[name].append(api.Turn(api.PERSONA, line))


def _streamed(screen: Screen, name: str, pieces: Iterator[str]) -> str:
    if screen.as_json:
        reply = "".join(pieces).strip()
        screen.give("reply", {"name": name, "reply": reply}, reply)
        return reply
    print(f"{name}> ", end="", flush=True)
    whole = ""
    for piece in pieces:
        whole += piece
        # Several messages in a row were learnt as one turn with line breaks; they are several messages again.
        print(printable(piece).replace("\n", f"\n{name}> "), end="", flush=True)
    print()
    return whole.strip()


def _command(
    line: str, screen: Screen, agents: "dict[str, Agent]", said: "dict[str, list[Turn]]", decoding: "Decoding"
) -> None:
    word, _, rest = line.partition(" ")
    if word == "/new":
        for turns in said.values():
            turns.clear()
        screen.say("(forgotten)")
        _greet(screen, agents, said)
    elif word == "/who":
        screen.say(", ".join(f"{name} on {agent.loaded.base.name}" for name, agent in agents.items()))
    elif word == "/cand" and (rest or "4").isdigit() and 1 <= int(rest or "4") <= 32:
        _candidates(screen, agents, said, decoding, int(rest or "4"))
    elif word == "/strength":
        _weigh(rest, screen, agents)
    elif word == "/base":
        first = next(iter(agents))
        agents.setdefault("base", api.without_persona(agents[first]))
        said.setdefault("base", list(said[first]))
        screen.say("(the base answers too)")
    else:
        if word not in COMMANDS:
            screen.say(_unknown(word))
        screen.say(HELP)


def _unknown(word: str) -> str:
    """Return what is said of a command that is none, with the nearest one."""
    near = get_close_matches(word, COMMANDS, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"no command {printable(word[:SHOWN_AT_MOST])}{meant}"


def _weigh(given: str, screen: Screen, agents: "dict[str, Agent]") -> None:
    """Set every persona's weight (none given: the model's own); an invalid value changes nothing."""
    from menura.errors import ConfigError, shown

    try:
        weighed = {name: agent.at_strength(float(given) if given else None) for name, agent in agents.items()}
    except ConfigError as error:
        screen.say(str(error))
    except ValueError:
        screen.say(f"/strength {shown(given)}: a number from 0 to 1 wanted")
    else:
        agents.update(weighed)
        screen.say(f"(strength {given or 'as the model has it'})")


def _profile(given: Sequence[str]) -> dict[str, list[str]]:
    """Return values by key from ``KEY=VALUE``; all invalid pairs are reported together."""
    from menura.errors import ConfigError, Problem, shown

    pairs = [tuple(part.strip() for part in one.partition("=")) for one in given]
    wrong = [one for one, (key, _, value) in zip(given, pairs, strict=True) if not (key and value)]
    if wrong:
        hint = "--profile gender=Female, once for each value"
        message = "--profile {}: KEY=VALUE wanted"
        raise ConfigError.of([Problem(ConfigError.code, message.format(shown(one)), hint=hint) for one in wrong])
    told: dict[str, list[str]] = {}
    for key, _, value in pairs:
        told.setdefault(key, []).append(value)
    return told


def _candidates(
    screen: Screen, agents: "dict[str, Agent]", said: "dict[str, list[Turn]]", decoding: "Decoding", count: int
) -> None:
    for name, agent in agents.items():
        turns: Sequence[Turn] = said[name][:-1]  # other replies to what was said last
        if not turns:
            screen.say("say something first")
            return
        for candidate in agent.candidates(turns, count, decoding=decoding):
            screen.say(f"  {name}  {candidate.nll:5.2f} NLL per token  {printable(candidate.text)}")


def _give_candidates(screen: Screen, name: str, found: "Sequence[Candidate]", by: str) -> None:
    """Show candidates with their latents and scores, which one was chosen, and why."""
    reasons = {
        "rs": "the most coherent",
        "mixture": "the likeliest over all latents",
        "persona": "the persona makes it likelier than anybody",
    }
    why = reasons.get(by, "the likeliest")
    rows = []
    for number, one in enumerate(found):
        latent = "" if one.latent is None else f"z={one.latent}"
        coherent = "" if one.coherence is None else f"coherence {1 / (1 + math.exp(-one.coherence)):.2f}"
        chosen = f"<- chosen: {why} ({by} {one.score:.2f})" if not number else ""
        rows.append(["", latent, coherent, f"{one.nll:.2f} NLL per token", printable(one.text), chosen])
    facts = [{"name": name, "chosen_by": by, **asdict(one), "chosen": not number} for number, one in enumerate(found)]
    screen.give("candidates", {"candidates": facts}, columns(rows))
