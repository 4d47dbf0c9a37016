"""``menura eval RECIPE|RUN``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from menura.cli.decoding import RANK_BY
from menura.cli.globals import Globals, configured, device_of
from menura.cli.scorer import check_scorer, is_scorer
from menura.cli.screen import Screen
from menura.cli.train import SIZE

if TYPE_CHECKING:
    from menura.evaluation.evaluate import SplitName
    from menura.evaluation.folds import Protocol

EXAMPLES = {"--k": "0,1,3,5,10", "--epochs": "1,2,4"}  # of flags that take numbers


def evaluate(
    context: typer.Context,
    targets: Annotated[list[str], typer.Argument(help="Recipes (menura config list), runs' folders, or scorer/nli.")],
    shots: Annotated[str, typer.Option("--k", "-k", help="Support dialogues, one or a sweep: 0,1,3,5,10")] = "5",
    personas: Annotated[int, typer.Option(help="How many held-out personas; 0 = all.", min=0)] = 0,
    queries: Annotated[int, typer.Option(help="Query dialogues a persona.")] = 2,
    protocol: Annotated[str, typer.Option(help="following, or leave-one-out (--queries 0: each dialogue).")] = "",
    draws: Annotated[int, typer.Option(help="Draws of the support; the first is file order.")] = 1,
    epochs: Annotated[str, typer.Option(help="Inner epochs to choose from on held-back personas: 1,2,4")] = "",
    prompt: Annotated[bool, typer.Option("--prompt", help="Rows with the support dialogues in the context.")] = False,
    size: SIZE = None,
    replies: Annotated[int, typer.Option(help="Exchanges a persona to reply to and to rank; 0 = all.")] = 4,
    candidates: Annotated[int, typer.Option(help="Replies that the real one is ranked among, itself included.")] = 20,
    metrics: Annotated[
        str, typer.Option(help="Names, comma-separated; empty = the usual, by words or characters.")
    ] = "",
    greedy: Annotated[bool, typer.Option("--greedy", help="Decode greedily instead.")] = False,
    top_p: Annotated[float, typer.Option(help="Sample from this share of the likeliest tokens.")] = 0.92,
    temperature: Annotated[float, typer.Option(help="Below 1 is more sober, above 1 wilder.")] = 1.0,
    num_beams: Annotated[int, typer.Option(help="Decode by a beam of this width.", min=0)] = 0,
    collapse: Annotated[bool, typer.Option("--collapse", help="Leave out words the beam's reply repeats.")] = False,
    length_penalty: Annotated[float, typer.Option(help="Of the beam: 0 the summed log-probability, 1 its mean.")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens a reply may have.")] = 40,
    min_new_tokens: Annotated[int, typer.Option(help="Tokens a reply must have before it may end.", min=0)] = 0,
    strength: Annotated[float | None, typer.Option(help="How much a persona weighs, 0 to 1, where it can.")] = None,
    split: Annotated[str, typer.Option(help="Who is judged: test, or valid, by whom settings may be chosen.")] = "test",
    rank_by: RANK_BY = "rs",
    upper_bound: Annotated[
        bool, typer.Option("--upper-bound", help="A row that always picks the best candidate.")
    ] = False,
    ranker: Annotated[str, typer.Option(help="A ranker's file, or its run: it chooses among candidates.")] = "",
    scorers: Annotated[str, typer.Option(help="The folder of trained scorers; the workspace's if left out.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Where tables and replies are written.")] = Path("results"),
) -> None:
    """Score held-out personas: un-adapted, wrong persona and adapted rows, with 95 % intervals."""
    from menura.cli.decoding import decoding, ranking
    from menura.decoding.choice import Nucleus
    from menura.evaluation.evaluate import EvaluateConfig
    from menura.evaluation.run import config_of, evaluate_run
    from menura.metrics import catalogue
    from menura.report import results

    given: Globals = context.obj
    if all(is_scorer(target) for target in targets):
        for target in targets:
            check_scorer(target, scorers, given)
        return
    screen = Screen(as_json=given.as_json)
    names = tuple(name for name in metrics.split(",") if name)
    catalogue.named(names)
    settings = EvaluateConfig(
        shots=_numbers(shots),
        queries=queries,
        protocol=_protocol(protocol),
        draws=draws,
        epochs=_numbers(epochs, "--epochs") if epochs else (),
        prompt=prompt,
        replies=replies,
        candidates=candidates,
        decoding=decoding(
            Nucleus(top_p, temperature),
            greedy=greedy,
            num_beams=num_beams,
            collapse=collapse,
            length_penalty=length_penalty,
        ),
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        ranking=ranking(rank_by),
        upper_bound=upper_bound,
        ranker=ranker,
        metrics=names,
        scorers=scorers,
        strength=strength,
        split=_split(split),
        seed=given.seed,
    )
    configs = {target: configured(config_of(target, size), given) for target in targets}
    if given.dry_run:
        screen.say(f"would evaluate {', '.join(targets)} with K = {shots} into {out}")
        return
    device = device_of(given)
    for target, config in configs.items():
        found = evaluate_run(config, settings, personas=personas, device=device, offline=given.offline, say=screen.say)
        written = results.write(found, out / target.replace("/", "-"))
        screen.give(
            "results", {"target": target, "files": [str(path) for path in written]}, f"\n{results.table(found)}"
        )
        screen.say(f"wrote {', '.join(str(path) for path in written)}")


def _protocol(name: str) -> "Protocol":
    from menura.errors import ConfigError, shown

    match name:
        case "" | "following":
            return "following"
        case "leave-one-out":
            return "leave-one-out"
    raise ConfigError(f"--protocol {shown(name)}: following or leave-one-out wanted")


def _split(name: str) -> "SplitName":
    from menura.errors import ConfigError, shown

    match name:
        case "test" | "valid":
            return name
    raise ConfigError(f"--split {shown(name)}: test or valid wanted")


def _numbers(text: str, flag: str = "--k") -> tuple[int, ...]:
    from menura.errors import ConfigError, shown

    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise ConfigError(f"{flag} {shown(text)}: numbers wanted", hint=f"{flag} {EXAMPLES[flag]}") from error
