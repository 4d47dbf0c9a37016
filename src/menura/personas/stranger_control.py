"""A stranger's persona is the control of every adaptation: what helps a person must not help as anybody else's.

It is that of a speaker of the packaged corpus, adapted once from five dialogues with the same model and method, and
kept in the workspace.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from menura.adaptation.inner_loop import StepCallback
from menura.adaptation.protocol import Adaptation
from menura.artefacts import persona_artefact
from menura.artefacts.files import home
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.batches.encode import EncodedDialogue
from menura.corpus import chitchat
from menura.errors import DataError, EpisodeError, StorageError
from menura.models.catalogue import named_settings
from menura.personas.adapt_persona import adapt_persona, encoded, seconds_foretold
from menura.personas.selection import Selection
from menura.tasks.persona_groups import by_speaker
from menura.tasks.task import Task

FOLDER = "strangers"
DIALOGUES = 5  # learnt from, however many the other persona learns from: it is made once
USUAL_REPLIES = 4  # in a dialogue


@dataclass(frozen=True)
class Stranger:
    """A stranger's persona, and where it is kept for the next time."""

    artefact: PersonaArtefact
    path: Path

    def keep(self) -> None:
        """Write it, unless it is there already; without room it is made again the next time."""
        if not self.path.exists():
            with suppress(StorageError):
                self.artefact.write(self.path)


@dataclass(frozen=True)
class Control:
    """A stranger's persona that is kept already, or the dialogues that it is to be adapted from."""

    path: Path
    kept: PersonaArtefact | None = None
    someone: Selection | None = None
    support: tuple[EncodedDialogue, ...] = ()

    def seconds(self, loaded: LoadedModel, method: Adaptation) -> float:
        """Return about how long adapting it takes, 0 where it is kept."""
        return seconds_foretold(loaded, method, self.support) if self.support else 0.0

    def adapted(self, loaded: LoadedModel, method: Adaptation, on_step: StepCallback | None = None) -> Stranger | None:
        """Return the persona, adapted unless it is kept; None where the stranger says nothing that can be learnt."""
        if self.kept is not None:
            return Stranger(self.kept, self.path)
        assert self.someone is not None, "who is not kept is to be adapted"
        try:
            artefact = adapt_persona(
                loaded, method, self.someone, name="stranger", support=self.support, on_step=on_step
            )
        except EpisodeError:
            return None
        return Stranger(artefact, self.path)


def control_for(loaded: LoadedModel, method: Adaptation) -> Control | None:
    """Return the control for a model and a method; None where the packaged corpus has nobody with enough dialogues."""
    asked = [loaded.base.sha256, loaded.init_sha256, named_settings(loaded.config), method.name, asdict(method)]
    key = hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()[:24]
    path = home() / FOLDER / f"{key}.persona"
    if path.exists():
        try:
            return Control(path, persona_artefact.read(path))
        except (DataError, StorageError):
            path.unlink(missing_ok=True)  # damaged: it can be made again
    someone = packaged_speaker()
    if someone is None:
        return None
    return Control(path, None, someone, encoded(loaded, someone.support, someone.speaker))


@lru_cache(maxsize=1)  # reading takes seconds, and all who are in the corpus take 150 MB
def packaged_speaker() -> Selection | None:
    """Return five dialogues of a speaker of the packaged corpus who speaks about as much as most; None: no corpus."""
    speakers = by_speaker(chitchat.read(chitchat.installed()))
    known = [task for task in speakers if len(task.dialogues) >= DIALOGUES]
    return Selection.first_of(min(known, key=_unusual), DIALOGUES, 0) if known else None


def _unusual(task: Task) -> tuple[int, str]:
    """Return how far a speaker's number of replies is from the usual one; the name decides between equals."""
    replies = sum(1 for view in task.dialogues[:DIALOGUES] for _ in view.exchanges())
    return abs(replies - USUAL_REPLIES * DIALOGUES), task.persona_id
