"""One small training in a folder, in this process, with a hand on its shoulder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from made_up_chat import settings

from menura.artefacts import tensors
from menura.training import recipes
from menura.training.config import RunConfig
from menura.training.overrides import with_settings
from menura.training.run_folder import Run
from menura.training.run_setup import prepare
from menura.training.trainer import Training

STEPS = 6
AfterStep = Callable[[int, Training], None]


def config_for(corpus: Path, *more: str, recipe: str = "tiny/maml") -> RunConfig:
    """Return the settings of a small training on a corpus."""
    assignments = settings(corpus, f"outer.steps={STEPS}", *more)[1::2]
    return with_settings(recipes.recipe(recipe), assignments)


class Watched:
    """Keeps what a training says; calls ``after`` when it has taken a step."""

    def __init__(self, after: AfterStep | None) -> None:
        self.said: list[str] = []
        self.training: Training | None = None
        self._after = after

    def step(self, step: int, steps: int, loss: float) -> None:
        assert 1 <= step <= steps
        if self._after:
            assert self.training is not None
            self._after(step, self.training)

    def say(self, line: str) -> None:
        self.said.append(line)


def train(config: RunConfig, folder: Path, after: AfterStep | None = None) -> list[str]:
    """Train, or go on with a training, as the command does; return what it said."""
    run, watched = Run(folder), Watched(after)
    given = prepare(config)
    training = Training(
        run, config, given.loaded.model, given.tasks("train"), given.tasks("valid"), watched, origin=given.origin
    )
    watched.training = training
    with run.locked():
        run.open(config, given.sources)
        run.write_split(given.split.record())
        training.go()
    return watched.said


def status(folder: Path) -> dict[str, Any]:
    """Return how a run stands, without the memory that it took, which no two processes have alike."""
    read: dict[str, Any] = json.loads((folder / "STATUS.json").read_text(encoding="utf-8"))
    assert read.pop("peak_memory") > 0
    return read


def ended(folder: Path) -> dict[str, Any]:
    """Return all that a run ends in: hashes of weights and optimiser state, the trace, the status."""
    newest = max((folder / "checkpoints").glob("step_*"))
    files = ("model", "optimizer")
    hashes = {name: tensors.content_sha256(tensors.load(newest / f"{name}.safetensors")) for name in files}
    best = folder / "best.safetensors"
    kept = (tensors.content_sha256(tensors.load(best)), tensors.metadata(best)) if best.exists() else None
    return {**hashes, "step": newest.name, "best": kept, "trace": Run(folder).trace(), "status": status(folder)}
