"""``make bench``: prints a table of ratios, writes results/benchmarks.json and, as Markdown, results/benchmarks.md.

One thread. ``--rounds N`` takes other than 5 rounds, ``--only ROW`` (more than once if need be) takes some rows.
"""

import argparse
import sys
import time
import warnings
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
from benchmarks.paired import HEAD, Ratio, Row
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
    before = environment.described()
    ratios, failures = _run({name: rows[name] for name in asked.only or rows}, asked.rounds)
    print(columns([HEAD, *(ratio.cells() for ratio in ratios)]))
    promised = [ratio for ratio in ratios if ratio.at_least is not None]
    print(f"{sum(ratio.met for ratio in promised)} of {len(promised)} promised ratios met")
    facts = {"environment": before, "rows": [{**asdict(ratio), "met": ratio.met} for ratio in ratios]}
    write_json(RESULTS, facts)
    write_text(RESULTS.with_suffix(".md"), _markdown(ratios))
    return failures[0].exit_code if failures else 0


def _run(rows: dict[str, Row], rounds: int) -> tuple[list[Ratio], list[MenuraError]]:
    ratios: list[Ratio] = []
    failures: list[MenuraError] = []
    for name, row in rows.items():
        began = time.monotonic()
        print(f"{name} …", flush=True)
        try:
            for found in row(rounds):
                print("  " + "  ".join(found.cells()), flush=True)
                ratios.append(found)
        except MenuraError as error:
            print(f"  {error}", file=sys.stderr, flush=True)
            failures.append(error)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return ratios, failures


def _markdown(ratios: list[Ratio]) -> str:
    lines = [HEAD, ["---"] * len(HEAD), *(ratio.cells() for ratio in ratios)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _parser(rows: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed and memory against peers.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"rounds a row, {ROUNDS} by default")
    parser.add_argument("--only", action="append", choices=rows, metavar="ROW", help=f"some of {', '.join(rows)}")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
