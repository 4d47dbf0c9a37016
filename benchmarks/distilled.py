"""What does a persona lose that is distilled into LoRA so that an engine can serve it, and what does that take?

Validation speakers are adapted with the Houlsby adapters of earlier versions, which no engine has a place for. Each is
then distilled, as ``menura persona export --distil`` does it. ``python -m benchmarks.distilled`` prints the table.
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.speaker_table import line, sample, table
from menura.adaptation.weights import PersonaWeights, swapped_weights
from menura.artefacts.loading import LoadOptions
from menura.evaluation.folds import Fold, folds_of
from menura.evaluation.run import config_of
from menura.metrics.score import Sample
from menura.personas.distil import distilled, student_settings
from menura.registry import load_model
from menura.training.data import encoded
from menura.training.run_setup import Prepared, prepare

RECIPE = "default-adapters/houlsby"
SHOTS, QUERIES = 5, 2
ROWS = ("base", "un-adapted", "adapted", "adapted, distilled into LoRA")


def rows(prepared: Prepared, student: Any, fold: Fold) -> tuple[Mapping[str, Sample], float, float]:
    """Return the held-out replies' NLL of each row, and the seconds of adapting and of distilling.

    ``student`` is the bare base with LoRA that changes nothing.
    """
    loaded, support = prepared.loaded, fold.support(SHOTS)
    began = time.monotonic()
    weights = prepared.config.method.adapt(loaded.model, support)
    adapted = time.monotonic()
    learnt, _ = distilled(loaded, weights, support, ())
    ended = time.monotonic()
    used: tuple[tuple[Any, PersonaWeights], ...] = (
        (student, {}),
        (loaded.model, {}),
        (loaded.model, weights),
        (student, learnt),
    )
    return {row: _sample(*model, fold) for row, model in zip(ROWS, used, strict=True)}, adapted - began, ended - adapted


@torch.no_grad()
def _sample(model: Any, weights: PersonaWeights, fold: Fold) -> Sample:
    with swapped_weights(model, weights):
        loss = model.loss(model.batch(fold.exchanges))
    return sample(fold.exchanges[0].persona_id, float(loss.nll.sum()), int(loss.tokens.sum()))


def main(words: list[str]) -> None:
    """Print one line a speaker, then the table and the seconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distilled", description=__doc__.split("\n")[0])
    parser.add_argument("--personas", type=int, default=14)
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    prepared = prepare(config_of(RECIPE), offline=True)
    settings = student_settings(prepared.loaded.config)  # type: ignore[arg-type]  # the recipe's is one of a base
    student = load_model(settings, LoadOptions(offline=True)).model
    valid = [task for task in prepared.split.splits["valid"] if len(task.dialogues) >= SHOTS + QUERIES]
    samples: dict[str, list[Sample]] = {name: [] for name in ROWS}
    adapting = distilling = 0.0
    for task in encoded(valid[: given.personas], prepared.loaded.encoder):
        (fold,) = folds_of(task, "following", first=SHOTS, queries=QUERIES)
        scored, adapted, took = rows(prepared, student, fold)
        adapting, distilling = adapting + adapted, distilling + took
        for name in ROWS:
            samples[name].append(scored[name])
        print(f"{line(task.persona_id, samples)} ({adapted:.0f} s, then {took:.0f} s)", flush=True)
    people = len(samples[ROWS[0]])
    print(f"\n{table(samples, f'{people} validation speakers', ('un-adapted', 'adapted'))}")
    print("\n| seconds a persona | |\n| --- | ---: |")
    print(f"| adapting | {adapting / people:.0f} |\n| distilling | {distilling / people:.0f} |")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
