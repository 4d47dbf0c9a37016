"""The persona masks of a run's training personas, compared with one another and with their personas."""

from pathlib import Path

from menura.adaptation.joint_inner_loop import LearnsJointly
from menura.errors import ConfigError
from menura.evaluation.mask_similarity import Likeness, likeness
from menura.evaluation.run import config_of
from menura.training import persona_masks
from menura.training.run_folder import Run
from menura.training.run_setup import prepare


def likeness_of_run(folder: str) -> Likeness:
    """Compare the persona masks of a run's training personas; ConfigError for a run that has none."""
    config = config_of(folder)
    prepared = prepare(config)
    if not isinstance(config.method, LearnsJointly):
        raise ConfigError(f"run {folder} has no persona masks", hint="name the run of a cmaml recipe", code="no_masks")
    found = persona_masks.read(Run(Path(folder)), prepared.loaded.model)
    tasks = [task for task in prepared.split.splits["train"] if task.persona_id in found]
    return likeness([found[task.persona_id] for task in tasks], tasks)
