"""Text on disk becomes encoded tasks in three splits, by settings that a run records."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from menura.artefacts.corpus_store import files_of
from menura.batches.encode import EncodedDialogue, Encoder
from menura.corpus import inputs
from menura.corpus.dialogue import Dialogue
from menura.errors import ConfigError, DataError, number_of, shown
from menura.tasks.dedup import deduplicated
from menura.tasks.persona_groups import by_dialogue, by_facts, by_speaker
from menura.tasks.similarity import choose_users
from menura.tasks.size_limits import cap_dialogues, cap_utterances, fewer_dialogues, first_dialogues
from menura.tasks.speaker_holdout import hold_out_speakers, known_only, rarest
from menura.tasks.split import Splits, split_tasks, with_split
from menura.tasks.task import DialogueView, Task


@dataclass(frozen=True)
class DataConfig:
    """Which dialogues are read, how they are grouped into tasks, and how tasks are split.

    ``corpus`` is ``chitchat`` (packaged), the name of one that ``menura data add`` put into the workspace, or files;
    several, comma-separated, are read together. ``task_by`` defines a task: all dialogues of one speaker's name, of one
    set of facts, or one dialogue with each of its speakers. ``max_turns`` keeps each dialogue's first turns (0 = all).
    A held-out persona needs ``min_heldout_dialogues`` dialogues, a training persona ``min_train_dialogues``.
    ``with_facts``: a persona's facts are part of the model's input. ``dedup`` removes training dialogues that are
    repeated in a held-out split, and copies of training ones. ``max_heldout_tasks`` tasks are drawn of each held-out
    split (0 = all). ``total_train_dialogues`` bounds the training dialogues (0 = all); a smaller set is always part of
    a larger one.

    ``max_dialogues`` bounds the dialogues of a persona (``max_test_dialogues``, if not 0, those of a test persona):
    ``select_dialogues`` takes the first, or draws them with ``select_seed``. ``max_utterances`` bounds the utterances
    of both speakers in all of them (0 = no bound).

    ``test_id_prefixes`` names the corpus's own test split by prefixes of dialogue ids, comma-separated (ids begin with
    the corpus's split, or with the file's name); ``valid_id_prefixes`` its validation split. If the same people speak
    in both splits, ``test_speakers`` names the test personas, or ``num_test_personas`` takes that many, the rarest.
    ``num_valid_personas``, if not 0, replaces the share ``valid``.

    ``user_subset`` keeps the ``num_users`` training and test personas with the most, or least, similar facts.

    With ``memory_tokens`` a share ``memory_share`` of the training dialogues is read with so many tokens of the
    persona's other dialogues before it, recalled as a persona with a memory recalls them.
    """

    corpus: str = "chitchat"
    format: str = ""  # empty = detected
    task_by: Literal["speaker", "facts", "dialogue"] = "speaker"
    with_facts: bool = True
    dedup: bool = False
    test_id_prefixes: str = ""
    valid_id_prefixes: str = ""
    test_speakers: str = ""  # comma-separated
    num_test_personas: int = 0
    num_valid_personas: int = 0
    user_subset: Literal["all", "similar", "dissimilar"] = "all"
    num_users: int = 100
    min_train_dialogues: int = 2
    max_turns: int = 16
    max_dialogues: int = 30
    max_test_dialogues: int = 0
    select_dialogues: Literal["first", "draw"] = "first"
    select_seed: int = 999
    max_utterances: int = 0
    min_heldout_dialogues: int = 7
    train: float = 0.65
    valid: float = 0.1
    test: float = 0.25
    seed: int = 0
    max_heldout_tasks: int = 0
    total_train_dialogues: int = 0
    memory_tokens: int = 0  # of recalled exchanges before a training dialogue; 0 is none
    memory_share: float = 0.75

    def __post_init__(self) -> None:
        """Refuse negative numbers, and settings that exclude each other."""
        bounds = (
            "max_turns",
            "min_heldout_dialogues",
            "min_train_dialogues",
            "max_test_dialogues",
            "num_test_personas",
            "num_valid_personas",
            "max_utterances",
            "max_heldout_tasks",
            "total_train_dialogues",
            "memory_tokens",
        )
        for name in bounds:
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name}: {getattr(self, name)}, must not be negative")
        for name, least in (
            ("max_dialogues", 1),
            ("num_users", 2),
            *((("max_utterances", 2),) if self.max_utterances else ()),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"data.{name}: {getattr(self, name)}, must be at least {least}")
        if not 0 <= self.memory_share <= 1:
            raise ConfigError(f"data.memory_share: {self.memory_share}, must be between 0 and 1")
        given = [
            name
            for name in ("test_speakers", "num_test_personas", "max_test_dialogues", "valid_id_prefixes")
            if getattr(self, name)
        ]
        if given and not self.test_id_prefixes:
            hint = "set data.test_id_prefixes to how the ids of the test split begin"
            raise ConfigError(f"data.{given[0]}: the corpus must set a test split apart", hint=hint)
        if self.test_speakers and self.num_test_personas:
            raise ConfigError(
                "data.test_speakers and data.num_test_personas: one of them chooses", hint="leave one of them out"
            )
        chosen = [name for name in ("test_speakers", "num_test_personas", "num_valid_personas") if getattr(self, name)]
        if self.valid_id_prefixes and chosen:
            raise ConfigError(f"data.valid_id_prefixes and data.{chosen[0]}: one of them", hint="leave one of them out")

    @property
    def shares(self) -> Mapping[str, float]:
        """Shares of personas by split; a dialogue of two splits goes to the later one."""
        if self.valid_id_prefixes:
            return {"train": 1.0, "valid": 0.0, "test": 0.0}
        if self.test_id_prefixes:
            return {"train": 1 - self.valid, "valid": self.valid, "test": 0.0}
        return {"train": self.train, "valid": self.valid, "test": self.test}


def tasks_of(config: DataConfig) -> list[Task]:
    """Read a corpus and group it by persona; a test split that it sets apart shares no persona with the others."""
    training, valid, test = (_grouped(config, held) for held in _own_splits(config, _dialogues(config)))
    if config.test_speakers or config.num_test_personas:
        training, test = hold_out_speakers(training, test, _test_people(config, training, test))
    for one, other in ((training, test), (training, valid), (valid, test)):
        _nobody_on_both(one, other)
    capped = [task for split in (training, valid) for task in _bounded(config, split, config.max_dialogues)]
    return [*capped, *_bounded(config, test, config.max_test_dialogues or config.max_dialogues)]


def split_of(config: DataConfig, tasks: Sequence[Task]) -> Splits:
    """Split by persona; no persona and no dialogue in two splits."""
    made = _dealt(config, tasks)
    if config.dedup:
        made = deduplicated(made)
    if config.max_heldout_tasks:
        made = _drawn(made, config.max_heldout_tasks, config.seed)
    if config.total_train_dialogues:
        fewer = fewer_dialogues(made.splits["train"], config.total_train_dialogues, config.seed)
        made = replace(made, splits={**made.splits, "train": tuple(fewer)})
    return made if config.user_subset == "all" else choose_users(made, config.user_subset, config.num_users)


def _dealt(config: DataConfig, tasks: Sequence[Task]) -> Splits:
    needed = {"valid": config.min_heldout_dialogues, "test": config.min_heldout_dialogues}
    at_least = _fewest(config)
    if config.min_train_dialogues > at_least:
        needed["train"] = config.min_train_dialogues
    splits = {split: [task for task in tasks if _own_split_of(config, task) == split] for split in config.shares}
    shares = _shares(config, splits["train"])
    made = split_tasks(splits["train"], shares, seed=config.seed, at_least=at_least, min_dialogues=needed)
    for split in (["valid"] if config.valid_id_prefixes else []) + (["test"] if config.test_id_prefixes else []):
        made = with_split(made, split, splits[split])
    return made


def _own_split_of(config: DataConfig, task: Task) -> str:
    """Return the split that the corpus itself gives a task, ``train`` for those that are still to be dealt out."""
    name = task.dialogues[0].dialogue.dialogue_id
    return (
        "test"
        if _begins(name, config.test_id_prefixes)
        else "valid"
        if _begins(name, config.valid_id_prefixes)
        else "train"
    )


def _begins(name: str, beginnings: str) -> bool:
    """Whether an id begins with one of several prefixes, comma-separated; False if there are none."""
    return name.startswith(tuple(one.strip() for one in beginnings.split(",") if one.strip()))


def _fewest(config: DataConfig) -> int:
    """Return how many dialogues every persona must have: two, for support and query, unless a setting allows one."""
    return max(1, min(2, config.min_train_dialogues, config.min_heldout_dialogues))


def _drawn(made: Splits, most: int, seed: int) -> Splits:
    """Return splits with at most ``most`` tasks in each held-out split, drawn by seed, in order."""
    splits = dict(made.splits)
    for split in ("valid", "test"):
        rng, count = random.Random(f"{seed}:held:{split}"), min(most, len(splits[split]))
        splits[split] = tuple(splits[split][index] for index in sorted(rng.sample(range(len(splits[split])), count)))
    return replace(made, splits=splits)


def _shares(config: DataConfig, tasks: Sequence[Task]) -> Mapping[str, float]:
    """Return the shares; that of the validation split yields ``num_valid_personas``, if set."""
    if not config.num_valid_personas:
        return config.shares
    able = sum(len(task.dialogues) >= max(_fewest(config), config.min_heldout_dialogues) for task in tasks)
    if able < config.num_valid_personas:
        found = (
            f"data.num_valid_personas: {config.num_valid_personas}, but "
            f"{number_of(able, 'persona has', 'personas have')} "
            f"{number_of(config.min_heldout_dialogues, 'dialogue')} or more"
        )
        raise ConfigError(found, hint="ask for fewer, or lower data.min_heldout_dialogues")
    valid = config.num_valid_personas / able
    return {"train": 1 - valid - config.shares["test"], "valid": valid, "test": config.shares["test"]}


def _test_people(config: DataConfig, training: Sequence[Task], test: Sequence[Task]) -> list[str]:
    if config.num_test_personas:
        return rarest(training, test, config.num_test_personas, config.min_heldout_dialogues)
    named = [name.strip() for name in config.test_speakers.split(",")]
    return known_only([name for name in named if name], test, config.min_heldout_dialogues)


def _dialogues(config: DataConfig) -> list[Dialogue]:
    return inputs.read(files_of(config.corpus), config.format or None)


def _own_splits(config: DataConfig, dialogues: list[Dialogue]) -> tuple[list[Dialogue], list[Dialogue], list[Dialogue]]:
    """Return training, validation and test dialogues by the corpus's own splits; without any, all are training."""
    test, rest = _parted(config, dialogues, "test") if config.test_id_prefixes else ([], dialogues)
    valid, training = _parted(config, rest, "valid") if config.valid_id_prefixes else ([], rest)
    return training, valid, test


def _parted(config: DataConfig, dialogues: list[Dialogue], split: str) -> tuple[list[Dialogue], list[Dialogue]]:
    """Return the dialogues of a split and all others; DataError where either are none."""
    beginnings: str = getattr(config, f"{split}_id_prefixes")
    held = [dialogue for dialogue in dialogues if _begins(dialogue.dialogue_id, beginnings)]
    if not held or len(held) == len(dialogues):
        share = "all" if held else "none"
        first = dialogues[0].dialogue_id if dialogues else "none"
        raise DataError(
            f"{share} of the {len(dialogues)} dialogues have an id that begins with {beginnings!r}, "
            f"so there is no {split} split (the first id is {first!r})",
            place=config.corpus,
            hint=f"set data.{split}_id_prefixes to how the {split} split's ids begin, or to nothing to draw one",
        )
    return held, [dialogue for dialogue in dialogues if not _begins(dialogue.dialogue_id, beginnings)]


def _nobody_on_both(training: Sequence[Task], test: Sequence[Task]) -> None:
    both = {task.persona_id for task in training} & {task.persona_id for task in test}
    if both:
        raise DataError(
            f"{number_of(len(both), 'persona speaks', 'personas speak')} in both splits that the corpus sets apart, "
            f"{shown(min(both))} is one",
            hint="choose who is tested: --set data.num_test_personas=NUMBER, or --set data.test_speakers=NAME,NAME",
            code="leak",
        )


def _grouped(config: DataConfig, dialogues: Sequence[Dialogue]) -> Sequence[Task]:
    if not dialogues:
        return []
    if config.task_by == "dialogue":
        return by_dialogue(dialogues)
    return by_facts(dialogues) if config.task_by == "facts" else by_speaker(dialogues)


def _bounded(config: DataConfig, tasks: Sequence[Task], cap: int) -> Iterator[Task]:
    """Yield the tasks, bounded by the settings; tasks without any dialogue left are dropped."""
    drawn = config.select_dialogues == "draw"
    capped = cap_dialogues(tasks, cap, config.select_seed) if drawn else [first_dialogues(task, cap) for task in tasks]
    for task in capped:
        told = shortened(task if config.with_facts else without_facts(task), config.max_turns)
        if config.max_utterances:
            told = cap_utterances(told, config.max_utterances, config.select_seed if drawn else None)
        if told.dialogues:
            yield told


def without_facts(task: Task) -> Task:
    """Return a task without facts in the model's input; they stay for scoring."""
    bare = [DialogueView(replace(part.dialogue, facts={}), part.speaker, unread=part.facts) for part in task.dialogues]
    return replace(task, dialogues=tuple(bare))


def shortened(task: Task, turns: int) -> Task:
    """Keep each dialogue's first ``turns`` turns (0 = all)."""
    if not turns:
        return task
    cut = [replace(p, dialogue=replace(p.dialogue, turns=p.dialogue.turns[:turns])) for p in task.dialogues]
    return replace(task, dialogues=tuple(part for part in cut if next(part.exchanges(), None)))


@dataclass(frozen=True)
class EncodedTask:
    """A task as token ids, one entry per dialogue."""

    persona_id: str
    dialogues: tuple[EncodedDialogue, ...] = field(repr=False)


def encoded(tasks: Sequence[Task], encoder: Encoder) -> list[EncodedTask]:
    """Encode tasks; those without any reply are left out."""
    made = (EncodedTask(t.persona_id, encoder.dialogues(t.dialogues, t.persona_id)) for t in tasks)
    return [task for task in made if task.dialogues]
