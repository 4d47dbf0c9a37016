"""``make bench``: prints a table of ratios, writes results/benchmarks.json and, as Markdown, results/benchmarks.md.

One thread. ``--rounds N`` takes other than 5 rounds, ``--only ROW`` (more than once if need be) takes some rows.
``menura report PAGE --output bench=results/benchmarks.md`` keeps what was measured beside a page.
"""

import argparse
import shlex
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from benchmarks import (
    adapting,
    candidates,
    environment,
    generating,
    half_precision,
    many_personas,
    memory,
    meta_step,
    recurrent,
    routing,
    routing_profile,
    server_load,
    serving,
)
from benchmarks.paired import HEAD, Figures, Ratio, Row, markdown
from menura.artefacts.code_path import commit
from menura.artefacts.files import write_json, write_text
from menura.cli.terminal import columns
from menura.errors import MenuraError

ROUNDS = 5
RESULTS = Path("results/benchmarks.json")
GROUPS = (
    meta_step,
    recurrent,
    adapting,
    generating,
    half_precision,
    many_personas,
    memory,
    candidates,
    routing,
    routing_profile,
    server_load,
    serving,
)


def main(words: list[str]) -> int:
    """Run the rows asked for; return 0, or the exit code of the first that is wrong rather than slow."""
    rows = {name: row for group in GROUPS for name, row in group.rows().items()}
    asked = _parser(list(rows)).parse_args(words)
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    warnings.simplefilter("ignore")  # the peers' own
    before, began = environment.described(), time.monotonic()
    found, failures = _run({name: rows[name] for name in asked.only or rows}, asked.rounds)
    ratios = [one for one in found if isinstance(one, Ratio)]
    print(columns([HEAD, *(ratio.cells() for ratio in ratios)]))
    promised = [ratio for ratio in ratios if ratio.at_least is not None]
    print(f"{sum(ratio.met for ratio in promised)} of {len(promised)} promised ratios met")
    tables = [one for one in found if isinstance(one, Figures)]
    facts = {
        "environment": before,
        "rows": [{**asdict(ratio), "met": ratio.met} for ratio in ratios],
        "tables": [table.cells for table in tables],
    }
    write_json(RESULTS, facts)
    first = f"$ {shlex.join(['python', '-m', 'benchmarks', *words])} (commit {commit()})"
    conditions = {**before, "rounds": asked.rounds, "took": f"{(time.monotonic() - began) / 60:.0f} min"}
    parts = [first, *(markdown(cells) for cells in ([HEAD, *(ratio.cells() for ratio in ratios)], *facts["tables"]))]
    write_text(RESULTS.with_suffix(".md"), "\n\n".join([*parts, _listed(conditions)]) + "\n")
    return failures[0].exit_code if failures else 0


def _run(rows: dict[str, Row], rounds: int) -> tuple[list[Ratio | Figures], list[MenuraError]]:
    every: list[Ratio | Figures] = []
    failures: list[MenuraError] = []
    for name, row in rows.items():
        began = time.monotonic()
        print(f"{name} …", flush=True)
        try:
            for found in row(rounds):
                lines = ["  ".join(found.cells())] if isinstance(found, Ratio) else columns(found.cells).splitlines()
                print("\n".join(f"  {line}" for line in lines), flush=True)
                every.append(found)
        except MenuraError as error:
            print(f"  {error}", file=sys.stderr, flush=True)
            failures.append(error)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return every, failures


def _listed(conditions: Mapping[str, object]) -> str:
    """Return what was measured where, a line ``name: value`` each."""
    shown = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in conditions.items()
    }
    return "\n".join(f"{name}: {value}" for name, value in shown.items())


def _parser(rows: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed and memory against peers.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"rounds a row, {ROUNDS} by default")
    parser.add_argument("--only", action="append", choices=rows, metavar="ROW", help=f"some of {', '.join(rows)}")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
