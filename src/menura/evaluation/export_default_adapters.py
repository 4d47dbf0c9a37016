"""What was trained becomes the default adapter checkpoint of the default base, with a record of how.

The default is LoRA, as ``menura base prepare`` trains it. That of earlier versions, Houlsby adapters, is the best of
several runs on validation personas; personas that were made from it are still read.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from menura import registry
from menura.adaptation.finetune import Finetune
from menura.artefacts import tensors
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.prepared import prepared_file
from menura.artefacts.files import read_json, sha256_of, write_bytes, write_json
from menura.artefacts.loaders.causal_lm import write_adapters
from menura.artefacts.loading import LoadOptions
from menura.artefacts.runs import run_path
from menura.errors import DataError
from menura.evaluation.run import config_of
from menura.training.recipes.default_adapters import INNER
from menura.training.run_folder import Run
from menura.training.run_setup import prepare
from menura.training.trainer import held_out_nll

CONTINUATIONS = ("default-adapters-pooled", "default-adapters-meta")
FOLDER = Path(__file__).parent.parent / "artefacts" / "default_adapters"


def ship_prepared(name: str, record: Path) -> Path:
    """Write the checkpoint that was prepared for a base as its default, and a record of its run; return its path."""
    prepared = prepared_file(bases.pull(name, offline=True))
    file = FOLDER / f"{name}.safetensors"
    write_bytes(file, prepared.read_bytes())
    file.chmod(0o644)
    shipped = {"file": file.name, "sha256": sha256_of(file), "bytes": file.stat().st_size, **tensors.metadata(file)}
    write_json(record, {"shipped": shipped, "run": _checks(Run(prepared.parent / "run"))})
    return file


def ship_houlsby(folders: Sequence[str], record: Path) -> Path:
    """Write the best run's adapters as the Houlsby checkpoint, and a record of the comparison; return its path.

    All validation personas are adapted from each run's best weights, in float32; test personas are not used. Raises
    DataError if a run is not finished, as a comparison would be unfair.
    """
    found = {folder: {**_checks(Run(run_path(folder))), **_held_back(folder)} for folder in folders}
    chosen = min(found, key=lambda folder: float(found[folder]["held_back_ppl_adapted"]))
    config = config_of(chosen)
    loaded = registry.load_model(config.model, LoadOptions(offline=True))
    weights = tensors.load(Run(run_path(chosen)).best)
    file = FOLDER / f"{loaded.base.name}.houlsby.safetensors"
    origin = {"corpus": config.data.corpus, "split_sha256": str(found[chosen]["split_sha256"])}
    write_adapters(file, weights, loaded, {"recipe": config.recipe, **origin})
    shipped = {"file": file.name, "sha256": sha256_of(file), "bytes": file.stat().st_size, "recipe": config.recipe}
    write_json(record, {"shipped": shipped, "compared": found})
    return file


def _held_back(folder: str) -> Mapping[str, Any]:
    config = config_of(folder)
    prepared = prepare(config, offline=True)
    outer = config.outer
    tasks = [task for task in prepared.tasks("valid") if len(task.dialogues) > outer.shots]
    before, after = held_out_nll(prepared.loaded.model, Finetune(INNER).adapt, tasks, outer.shots, outer.queries)
    return {
        "held_back_personas": len(tasks),
        "held_back_ppl": math.exp(before),
        "held_back_ppl_adapted": math.exp(after),
    }


def _checks(run: Run) -> Mapping[str, Any]:
    status = read_json(run.folder / "STATUS.json")
    if status["state"] != "done":
        raise DataError(f"run is {status['state']} after step {status['step']}, not done", place=str(run.folder))
    saved = read_json(run.folder / "run.json")
    trace = run.trace()
    return {
        **saved["sources"],
        "settings": saved["settings"],
        "environment": read_json(run.folder / "env.json"),
        "training_tokens_with_loss": sum(entry.get("tokens", 0) for entry in trace),
        "checks": [entry for entry in trace if "valid_after" in entry],
        "loss": [round(entry["loss"], 4) for entry in trace if "loss" in entry],
        "best_sha256": sha256_of(run.best),
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["houlsby"]:
        ship_houlsby(CONTINUATIONS, Path("docs/results/houlsby-adapters.json"))
    else:
        ship_prepared("smollm2-135m", Path("docs/results/default-adapters.json"))
