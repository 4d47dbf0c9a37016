"""``menura eval RECIPE|RUN`` and ``menura report FOLDERS|PAGES``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.options import EXECUTOR, JOBS, values_of, with_options
from menura.cli.scorer import check_scorer, is_scorer
from menura.cli.terminal import Screen
from menura.cli.train import SIZE
from menura.errors import ConfigError, shown

RANK_BY = Annotated[
    str,
    typer.Option(help="What candidates are ranked by: rs, lm, lm-norm, mixture, or in a chat persona."),
]

TOP_LATENTS = Annotated[
    int, typer.Option(help="Reply under so many latents, the likeliest of the prior; 0 = all.", min=0)
]

OUT = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Where tables go; if left out, results in the folder of runs ($MENURA_RUNS)."),
]

PRINTED = Annotated[
    list[str] | None,
    typer.Option("--output", help="NAME=FILE: keep beside a page what a command printed; may be given again."),
]


@with_options(api.EvaluateConfig, api.DecodingFlags)
def evaluate(
    context: typer.Context,
    targets: Annotated[list[str], typer.Argument(help="Recipes (menura config list), runs' folders, or scorer/nli.")],
    personas: Annotated[int, typer.Option(help="How many held-out personas; 0 = all.", min=0)] = 0,
    size: SIZE = None,
    rank_by: RANK_BY = "rs",
    top_latents: TOP_LATENTS = 0,
    out: OUT = None,
    executor: EXECUTOR = "local",
    jobs: Annotated[int, JOBS] = 1,
    **options: Any,
) -> None:
    """Score held-out personas: un-adapted, wrong persona and adapted rows, with 95 % intervals."""
    given: Globals = context.obj
    workers = api.Workers(executor, jobs)
    if all(is_scorer(target) for target in targets):
        if jobs > 1:
            message = f"--jobs {jobs}: a scorer has no personas to share among workers"
            raise ConfigError(message, hint="leave --jobs out", code="usage")
        for target in targets:
            check_scorer(target, options["scorers"], given)
        return
    screen = Screen(as_json=given.as_json)
    settings = api.EvaluateConfig(
        **values_of(api.EvaluateConfig, options),
        decoding=api.decoding(**values_of(api.DecodingFlags, options)),
        ranking=api.ranking(rank_by, top=top_latents),
        seed=given.seed,
    )
    out = out or api.results_folder()
    plan = {target: api.plan_evaluation(target, settings, given.options, size) for target in targets}
    if given.dry_run:
        screen.say(f"would evaluate {', '.join(targets)} with K = {options['shots']} into {out}")
        return
    for target, config in plan.items():
        found = api.evaluate_target(config, settings, given.options, personas=personas, workers=workers, say=screen.say)
        written = found.save(out / api.results_name(target))
        facts = {"target": target, "files": [str(path) for path in written]}
        screen.give("results", facts, f"\n{found.table()}")
        screen.say(f"wrote {', '.join(str(path) for path in written)}")


def report(
    context: typer.Context,
    folders: Annotated[list[Path], typer.Argument(help="Folders that menura eval wrote, one a system; or pages.")],
    metrics: Annotated[str, typer.Option(help="Metrics of the curves, comma-separated; empty = ppl.")] = "ppl",
    against: Annotated[str, typer.Option(help="Add paired differences to the system of this name.")] = "",
    printed: PRINTED = None,
    out: OUT = None,
    size: SIZE = None,
) -> None:
    """Put evaluations side by side: one table, and K-shot curves as CSV and SVG.

    Of a page (.md) make the tables again, from the rows of its experiments that are scored on this machine.
    """
    given: Globals = context.obj
    pages = [path for path in folders if path.suffix == ".md"]
    if pages:
        if len(pages) < len(folders):
            message = "pages and folders together: a page is made from its experiments"
            raise ConfigError(message, hint="menura report PAGE.md", code="usage")
        _report_pages(pages, _printed(printed or []), size or "cpu", given)
        return
    if printed:
        raise ConfigError("--output without a page: it is kept beside one", hint="menura report PAGE.md", code="usage")
    names = [name for name in metrics.split(",") if name]
    out = out or api.results_folder() / "report"
    table, written = api.report(folders, names, against=against, out=None if given.dry_run else out)
    files = [str(out / name) for name in written]
    Screen(as_json=given.as_json).give("report", {"files": files}, f"{table}\nwrote {', '.join(files)}")


def _printed(given: list[str]) -> dict[str, Path]:
    """Return what is to be kept, by name; ConfigError where NAME=FILE is not what stands there."""
    wrong = [one for one in given if not all(one.partition("="))]
    if wrong:
        raise ConfigError(f"--output {shown(wrong[0])}: NAME=FILE wanted", code="usage")
    return {name: Path(file) for name, _, file in (one.partition("=") for one in given)}


def _report_pages(paths: list[Path], printed: dict[str, Path], size: str, given: Globals) -> None:
    screen = Screen(as_json=given.as_json)
    for path in paths:
        if given.dry_run:
            screen.say(f"would make the tables of {path}")
            continue
        changed = api.report_page(path, size, printed=printed, say=screen.say)
        screen.say(f"{'wrote' if changed else 'nothing new in'} {path}", page=str(path), changed=changed)
