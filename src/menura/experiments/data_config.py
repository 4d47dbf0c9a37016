"""Text on disk becomes encoded tasks on three sides, by settings that a run records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from menura.artefacts.corpus_store import files_of
from menura.batches.encode import EncodedDialogue, Encoder
from menura.corpus import catalogue, chitchat
from menura.corpus.dialogue import Dialogue
from menura.errors import ConfigError, DataError
from menura.tasks.group import by_facts, by_speaker
from menura.tasks.split import Split, split, with_test
from menura.tasks.task import Part, Task


@dataclass(frozen=True)
class DataConfig:
    """Which dialogues, whose, and who learns from what.

    ``corpus`` is ``chitchat`` (packaged), the name of one that ``menura data add`` put into the workspace, or files,
    comma-separated; ``turns`` keeps each dialogue's first turns (0 = all); ``cap`` bounds the dialogues of one persona;
    ``needed`` is how many a held-out persona must have, ``least`` how many a training persona.
    ``test_ids`` names a test side that the corpus itself sets apart: its dialogues' ids begin so (ids begin with the
    corpus's own split, or with the file's name). ``facts`` says whether a persona's facts stand before its dialogues.
    """

    corpus: str = "chitchat"
    format: str = ""  # empty = detected
    group: Literal["speaker", "facts"] = "speaker"
    facts: bool = True
    test_ids: str = ""
    least: int = 2
    turns: int = 16
    cap: int = 30
    needed: int = 7
    train: float = 0.65
    valid: float = 0.1
    test: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that would cut from the wrong end, and no corpus at all."""
        for name in ("turns", "needed", "least"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name}: {getattr(self, name)}, must not be negative")
        if self.cap < 1:
            raise ConfigError(f"data.cap: {self.cap}, must be at least 1")

    @property
    def shares(self) -> Mapping[str, float]:
        """Shares of personas by side, the later side the more protected."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


def tasks_of(config: DataConfig) -> list[Task]:
    """Read a corpus and group it by persona; where it sets a test side apart, personas of both sides stay apart too."""
    training, test = _sides(config, _dialogues(config))
    return [shortened(task, config.turns) for held in (training, test) for task in _grouped(config, held)]


def split_of(config: DataConfig, tasks: Sequence[Task]) -> Split:
    """Split by persona; no persona and no dialogue on two sides."""
    needed = {"valid": config.needed, "test": config.needed}
    if config.least > 2:
        needed["train"] = config.least
    if not config.test_ids:
        return split(tasks, config.shares, seed=config.seed, needed=needed)
    test = [task for task in tasks if task.parts[0].dialogue.dialogue_id.startswith(config.test_ids)]
    training = [task for task in tasks if not task.parts[0].dialogue.dialogue_id.startswith(config.test_ids)]
    shares = {"train": 1 - config.valid, "valid": config.valid, "test": 0.0}
    return with_test(split(training, shares, seed=config.seed, needed=needed), test)


def _dialogues(config: DataConfig) -> list[Dialogue]:
    if config.corpus == "chitchat":
        return list(chitchat.read(chitchat.installed()))
    return catalogue.read(files_of(config.corpus), config.format or None)


def _sides(config: DataConfig, dialogues: list[Dialogue]) -> tuple[list[Dialogue], list[Dialogue]]:
    """Return training and test dialogues where the corpus itself tells them apart, else all and none."""
    if not config.test_ids:
        return dialogues, []
    test = [dialogue for dialogue in dialogues if dialogue.dialogue_id.startswith(config.test_ids)]
    if not test or len(test) == len(dialogues):
        share = "all" if test else "none"
        first = dialogues[0].dialogue_id if dialogues else "none"
        raise DataError(
            f"{share} of the {len(dialogues)} dialogues have an id that begins with {config.test_ids!r}, "
            f"so there is no test side (the first id is {first!r})",
            place=config.corpus,
            hint="set data.test_ids to how the test side's ids begin, or to nothing to draw one",
        )
    kept = {dialogue.dialogue_id for dialogue in test}
    return [dialogue for dialogue in dialogues if dialogue.dialogue_id not in kept], test


def _grouped(config: DataConfig, dialogues: Sequence[Dialogue]) -> list[Task]:
    if not dialogues:
        return []
    if config.group == "facts":
        tasks = [replace(task, parts=task.parts[: config.cap]) for task in by_facts(dialogues)]
    else:
        tasks = by_speaker(dialogues, cap=config.cap)
    return tasks if config.facts else [without_facts(task) for task in tasks]


def without_facts(task: Task) -> Task:
    """Return a task whose dialogues tell nothing of the persona but what is said in them."""
    bare = [Part(replace(part.dialogue, facts={}), part.speaker) for part in task.parts]
    return replace(task, parts=tuple(bare))


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
