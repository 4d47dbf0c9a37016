"""Two trained continuations become the start that ships: the better one on held-back personas, and a record of both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from menura.artefacts import tensors
from menura.artefacts.files import read_json, sha256_of, write_json
from menura.artefacts.loaded import load_model, write_start
from menura.errors import DataError
from menura.experiments.judge import config_of
from menura.experiments.run import Run

CONTINUATIONS = ("runs/start-pooled", "runs/start-meta")
STARTS = Path(__file__).parent.parent / "artefacts" / "starts"


def ship(folders: Sequence[str], record: Path) -> Path:
    """Write the start of the run whose best check is lowest, and what was compared; return the file.

    Raises DataError if a run is not done: a half-trained one would lose unfairly.
    """
    found = {folder: _checks(Run(Path(folder))) for folder in folders}
    chosen = min(found, key=lambda folder: min(check["valid_after"] for check in found[folder]["checks"]))
    config = config_of(chosen)
    loaded = load_model(config.model, offline=True)
    weights = tensors.load(Run(Path(chosen)).best)
    file = STARTS / f"{config.model.base}.safetensors"
    about = {"recipe": config.recipe, "corpus": config.data.corpus, "split_sha256": str(found[chosen]["split_sha256"])}
    write_start(file, weights, loaded, about)
    shipped = {"file": file.name, "sha256": sha256_of(file), "bytes": file.stat().st_size, "recipe": config.recipe}
    write_json(record, {"shipped": shipped, "compared": found})
    return file


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
    ship(CONTINUATIONS, Path("docs/results/start.json"))
