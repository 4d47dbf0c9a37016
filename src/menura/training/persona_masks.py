"""The masks of a run's training personas: found once, before joint training, and read again when it is resumed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from menura.adaptation.alternating import HasPhases
from menura.adaptation.joint_inner_loop import LearnsJointly
from menura.adaptation.masks import PersonaMask, from_tensors, full_mask, mask_statistics, to_tensors
from menura.artefacts import tensors
from menura.errors import ConfigError, DataError
from menura.models.dialogue_model import DialogueModel
from menura.training.data import EncodedTask
from menura.training.run_folder import Run

HEADER_LIMIT = 1 << 20  # bytes; one tensor per layer


SAVE_EVERY = 20  # personas


def find_masks(
    model: DialogueModel[Any],
    method: LearnsJointly,
    tasks: Sequence[EncodedTask],
    shots: int,
    found: Mapping[str, PersonaMask],
) -> Iterator[dict[str, PersonaMask]]:
    """Yield the masks by persona, with one more each time; those in ``found`` are kept.

    A mask is found from the first ``shots`` dialogues, as many as a held-out persona has, or from as many as the method
    wants.
    """
    masks, dialogues = dict(found), method.mask_dialogues or shots
    for task in tasks:
        if task.persona_id not in masks:
            masks[task.persona_id] = method.find_mask(model, task.dialogues[:dialogues])
            yield masks


def check_alone(method: object, ranks: int) -> None:
    """Raise ConfigError for a method that several ranks cannot share."""
    if ranks == 1:
        return
    name = type(method).__name__.lower()
    said = {
        LearnsJointly: f"{name} pools the tasks of a step, which {ranks} ranks would split",
        HasPhases: f"{name} moves weights several times a step: were one of {ranks} ranks lost, no whole step is left",
    }
    for kind, why in said.items():
        if isinstance(method, kind):
            raise ConfigError(why, hint="train with one process", code="method_misfit")


def write(run: Run, masks: Mapping[str, PersonaMask]) -> None:
    """Write masks as packed bits."""
    tensors.save(run.masks, to_tensors(masks))


def read(run: Run, model: DialogueModel[Any]) -> dict[str, PersonaMask]:
    """Read the masks found so far, if any; MismatchError if their layers are not the model's."""
    if not run.masks.exists():
        return {}
    return from_tensors(tensors.load(run.masks, header_limit=HEADER_LIMIT), full_mask(model), run.masks)


def check_complete(run: Run, masks: Mapping[str, PersonaMask], tasks: Sequence[EncodedTask]) -> None:
    """Raise DataError if a persona has no mask: the weights from which to find it are trained already."""
    missing = [task.persona_id for task in tasks if task.persona_id not in masks]
    if missing:
        said = f"no persona mask of {len(missing)} of {len(tasks)} training personas, the first {missing[0]!r}"
        raise DataError(said, place=str(run.masks), hint="--fresh finds them anew")


def tell(run: Run, masks: Mapping[str, PersonaMask], say: Callable[[str], None]) -> None:
    """Print statistics of the masks and warnings, and note them in the run's trace; once per run."""
    if any("masks" in entry or "structures" in entry for entry in run.trace()):
        return
    found = mask_statistics(list(masks.values()))
    for line in [*found.lines(), *found.warnings()]:
        say(line)
    run.note(step=0, masks=asdict(found))
