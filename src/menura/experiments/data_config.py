"""Text on disk becomes encoded tasks on three sides, by settings that a run records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from menura.batches.encode import EncodedDialogue, Encoder
from menura.corpus import catalogue, chitchat
from menura.errors import ConfigError
from menura.tasks.group import by_facts, by_speaker
from menura.tasks.split import Split, split
from menura.tasks.task import Part, Task


@dataclass(frozen=True)
class DataConfig:
    """Which dialogues, whose, and who learns from what.

    ``corpus`` is ``chitchat`` (packaged) or a file; ``turns`` keeps each dialogue's first turns (0 = all);
    ``cap`` bounds the dialogues of one persona; ``needed`` is how many a held-out persona must have.
    """

    corpus: str = "chitchat"
    format: str = ""  # empty = detected
    group: Literal["speaker", "facts"] = "speaker"
    turns: int = 16
    cap: int = 30
    needed: int = 7
    train: float = 0.65
    valid: float = 0.1
    test: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that would cut from the wrong end, and no corpus at all."""
        for name in ("turns", "needed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name}: {getattr(self, name)}, must not be negative")
        if self.cap < 1:
            raise ConfigError(f"data.cap: {self.cap}, must be at least 1")

    @property
    def shares(self) -> Mapping[str, float]:
        """Shares of personas by side, the later side the more protected."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


def tasks_of(config: DataConfig) -> list[Task]:
    """Read a corpus and group it by persona."""
    if config.corpus == "chitchat":
        dialogues = list(chitchat.read(chitchat.installed()))
    else:
        dialogues = catalogue.read(Path(config.corpus), config.format or None)
    if config.group == "facts":
        return [shortened(task, config.turns) for task in by_facts(dialogues)]
    return [shortened(task, config.turns) for task in by_speaker(dialogues, cap=config.cap)]


def split_of(config: DataConfig, tasks: Sequence[Task]) -> Split:
    """Split by persona; no persona and no dialogue on two sides."""
    needed = {"valid": config.needed, "test": config.needed}
    return split(tasks, config.shares, seed=config.seed, needed=needed)


def shortened(task: Task, turns: int) -> Task:
    """Keep each dialogue's first ``turns`` turns (0 = all)."""
    if not turns:
        return task
    cut = [Part(replace(p.dialogue, turns=p.dialogue.turns[:turns]), p.speaker) for p in task.parts]
    return replace(task, parts=tuple(part for part in cut if next(part.exchanges(), None)))


@dataclass(frozen=True)
class EncodedTask:
    """A task as ids, one entry a dialogue."""

    persona_id: str
    dialogues: tuple[EncodedDialogue, ...] = field(repr=False)


def encoded(tasks: Sequence[Task], encoder: Encoder) -> list[EncodedTask]:
    """Encode tasks, those without any reply left out."""
    made = (EncodedTask(t.persona.persona_id, encoder.dialogues(t.parts, t.persona.persona_id)) for t in tasks)
    return [task for task in made if task.dialogues]
