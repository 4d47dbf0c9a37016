"""Tasks become splits (train, valid, test, …) that share no persona and no dialogue, and a record to get them again."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from menura.corpus.dialogue import Dialogue
from menura.errors import ConfigError, DataError, Problem, number_of, shown
from menura.tasks.task import DialogueView, Task

Record = Mapping[str, Any]  # as read from JSON


@dataclass(frozen=True)
class SplitPlan:
    """The parameters of a split.

    ``shares`` (0 to 1, of the eligible personas) are in order of precedence: the first split takes the remaining
    personas, and a dialogue of personas in two splits goes to the later split. ``min_dialogues`` is how many dialogues
    a persona needs in each split.
    """

    shares: Mapping[str, float]
    seed: int
    at_least: int = 2
    min_dialogues: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse shares that make no split."""
        if not self.shares or any(not 0 <= share <= 1 for share in self.shares.values()):
            raise ConfigError(f"shares must be from 0 to 1, are {dict(self.shares)}")
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ConfigError(f"shares sum to {sum(self.shares.values()):g}, must sum to 1")
        for split in self.min_dialogues.keys() - self.shares.keys():
            near = get_close_matches(split, self.shares, n=1)
            hint = f"did you mean {near[0]}?" if near else f"splits: {', '.join(self.shares)}"
            raise ConfigError(f"needed names an unknown split {shown(split)}", hint=hint)

    def asked(self, split: str) -> int:
        """Return how many dialogues a persona must have in a split."""
        return max(self.at_least, self.min_dialogues.get(split, 0))


@dataclass(frozen=True)
class Splits:
    """Tasks by split; ``dropped`` counts the personas that had too few dialogues left in their split.

    ``likeness`` is the mean similarity of two personas by split, if they were chosen by it; ``repeated`` counts the
    dialogues of a split that were left out as repeated.
    """

    splits: Mapping[str, tuple[Task, ...]]
    plan: SplitPlan
    dropped: Mapping[str, int]
    likeness: Mapping[str, float] = field(default_factory=dict)
    repeated: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, split: str) -> tuple[Task, ...]:
        """Return the tasks of one split."""
        return self.splits[split]

    def verify(self) -> None:
        """Raise DataError for each persona or dialogue in two splits, and for held-out partners in earlier splits."""
        splits_of: dict[str, list[str]] = defaultdict(list)
        for split, tasks in self.splits.items():
            for name in [f"persona {shown(task.persona_id)}" for task in tasks]:
                splits_of[name].append(split)
            for name in {f"dialogue {shown(dialogue_id)}" for task in tasks for dialogue_id in task.dialogue_ids}:
                splits_of[name].append(split)
        twice = [f"{name} is in {' and '.join(splits)}" for name, splits in splits_of.items() if len(splits) > 1]
        problems = [Problem("leak", message) for message in (*twice, *self._overheard())]
        if problems:
            raise DataError.of(problems)

    def _overheard(self) -> Iterator[str]:
        """Yield where a persona of a later split is a partner in an earlier one: its words would be seen too early."""
        order = list(self.splits)
        split_of = {task.persona_id: split for split, tasks in self.splits.items() for task in tasks}
        involved = _involved([task for tasks in self.splits.values() for task in tasks])
        for split, tasks in self.splits.items():
            for dialogue_id in sorted({dialogue_id for task in tasks for dialogue_id in task.dialogue_ids}):
                for name in sorted(involved[dialogue_id]):
                    if order.index(split_of[name]) > order.index(split):
                        where = f"dialogue {shown(dialogue_id)} of {split}"
                        yield f"persona {shown(name)} of {split_of[name]} speaks in {where}"

    def record(self) -> dict[str, object]:
        """Return what identifies the split, for a JSON file: plan, personas, dialogues, and checksums of the texts.

        ``counts`` says for each split how many dialogues each persona has.
        """
        splits = {split: _split_record(tasks) for split, tasks in self.splits.items()}
        return {
            "seed": self.plan.seed,
            "shares": dict(self.plan.shares),
            "at_least": self.plan.at_least,
            "needed": dict(self.plan.min_dialogues),
            "dropped": dict(self.dropped),
            "likeness": dict(self.likeness),
            "repeated": dict(self.repeated),
            "counts": {split: _counts(tasks) for split, tasks in self.splits.items()},
            "sides": splits,  # as files of earlier versions have it
            "sha256": _sha256(splits),
        }


def split_tasks(
    tasks: Sequence[Task],
    shares: Mapping[str, float],
    *,
    seed: int,
    at_least: int = 2,
    min_dialogues: Mapping[str, int] | None = None,
) -> Splits:
    """Assign personas to splits; the same tasks in any order give the same splits.

    Only personas with enough dialogues are held out. A dialogue of personas in two splits stays in the later one only,
    and personas with too few left are dropped; the arguments are SplitPlan's. Raises DataError if a split gets no
    persona or a persona id occurs twice, ConfigError for an invalid plan.
    """
    plan = SplitPlan(shares, seed, at_least, min_dialogues or {})
    _distinct(tasks)
    split_of = _dealt(tasks, plan)
    involved = _involved(tasks)
    order = list(plan.shares)
    homes = {
        dialogue_id: max((split_of[persona_id] for persona_id in personas), key=order.index)
        for dialogue_id, personas in involved.items()
    }
    splits: dict[str, list[Task]] = {split: [] for split in order}
    dropped = dict.fromkeys(order, 0)
    for task in sorted(tasks, key=lambda task: task.persona_id):
        split = split_of[task.persona_id]
        left = replace(task, dialogues=tuple(p for p in task.dialogues if homes[p.dialogue.dialogue_id] == split))
        if len(left.dialogues) < plan.asked(split):
            dropped[split] += 1
        else:
            splits[split].append(left)
    _none_empty(splits, plan)
    made = Splits({split: tuple(held) for split, held in splits.items()}, plan, dropped)
    made.verify()
    return made


def with_split(made: Splits, split: str, tasks: Sequence[Task]) -> Splits:
    """Return splits of which one is given and not drawn: the personas of the corpus's own split.

    In ``made`` that split is empty. Who has too few dialogues is dropped; DataError if nobody is left.
    """
    asked = made.plan.asked(split)
    kept = sorted((task for task in tasks if len(task.dialogues) >= asked), key=lambda task: task.persona_id)
    if not kept:
        raise DataError(f"no {split} persona has {number_of(asked, 'dialogue')}", code="too_few_personas")
    dropped = {**made.dropped, split: len(tasks) - len(kept)}
    whole = replace(made, splits={**made.splits, split: tuple(kept)}, dropped=dropped)
    whole.verify()
    return whole


def from_record(record: Record, tasks: Sequence[Task]) -> Splits:
    """Rebuild splits from a record and these tasks; DataError that says what differs."""
    by_id = {task.persona_id: task for task in tasks}
    try:
        plan = SplitPlan(record["shares"], record["seed"], record["at_least"], record["needed"])
        held = {split: dict(entry["personas"]) for split, entry in record["sides"].items()}
        dropped = dict(record["dropped"])
        likeness, repeated = (dict(record.get(name, {})) for name in ("likeness", "repeated"))  # older ones have none
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"not the record of a split ({type(error).__name__}: {error})", code="schema") from error
    problems = [p for personas in held.values() for item in personas.items() for p in _absent(*item, by_id)]
    if problems:
        raise DataError.of(problems)
    splits = {
        split: tuple(_kept(by_id[name], ids) for name, ids in personas.items()) for split, personas in held.items()
    }
    made = Splits(splits, plan, dropped, likeness, repeated)
    made.verify()
    _same(made.record(), record)
    return made


def strangers(tasks: Sequence[Task]) -> dict[str, str]:
    """Return for each persona another one it never talked with, for the wrong-persona control.

    The next one in order of ids, so nobody is everybody's stranger. Raises DataError if a persona has talked with all.
    """
    names = sorted(task.persona_id for task in tasks)
    met: dict[str, set[str]] = defaultdict(set)
    for personas in _involved(tasks).values():
        for name in personas:
            met[name] |= personas
    found: dict[str, str] = {}
    for index, name in enumerate(names):
        rotation = names[index + 1 :] + names[:index]
        stranger = next((other for other in rotation if other not in met[name]), None)
        if stranger is None:
            raise DataError(f"persona {shown(name)} shares dialogues with every other persona", code="no_stranger")
        found[name] = stranger
    return found


def _involved(tasks: Iterable[Task]) -> dict[str, set[str]]:
    """Return the personas that speak in each dialogue, including those whose bounded task lacks it."""
    tasks = list(tasks)
    # Where the persona's id is the speaker's name, a partner is known by name.
    named = {task.persona_id for task in tasks if all(p.speaker == task.persona_id for p in task.dialogues)}
    involved: dict[str, set[str]] = defaultdict(set)
    for task in tasks:
        for part in task.dialogues:
            speakers = named.intersection(part.dialogue.speakers)
            involved[part.dialogue.dialogue_id] |= {task.persona_id} | speakers
    return involved


def _distinct(tasks: Sequence[Task]) -> None:
    names = sorted(task.persona_id for task in tasks)
    twice = sorted({name for name, following in pairwise(names) if name == following})
    if twice:
        raise DataError.of([Problem("schema", f"persona id {shown(name)} stands twice") for name in twice])


def _dealt(tasks: Sequence[Task], plan: SplitPlan) -> dict[str, str]:
    """Return each persona's split; the last split chooses first, as it needs the most dialogues."""
    first, *held_out = plan.shares
    # Sorting by a hash of seed and id makes the split independent of the order of the tasks.
    waiting = sorted(tasks, key=lambda task: _digest(f"{plan.seed}:{task.persona_id}"))
    split_of = dict.fromkeys((task.persona_id for task in waiting), first)
    for split in reversed(held_out):
        eligible = [task for task in waiting if len(task.dialogue_ids) >= plan.asked(split)]
        share = plan.shares[split]
        quota = max(1, round(share * len(eligible))) if share else 0
        free = [task for task in eligible if split_of[task.persona_id] == first]
        split_of.update({task.persona_id: split for task in free[:quota]})
    return split_of


def _none_empty(splits: Mapping[str, Sequence[Task]], plan: SplitPlan) -> None:
    problems = [
        Problem(
            "too_few_personas",
            f"the {split} split gets no persona with {number_of(plan.asked(split), 'dialogue')} or more",
            hint="give more dialogues, ask fewer of a persona, or set the split's share to 0",
        )
        for split, tasks in splits.items()
        if plan.shares[split] and not tasks
    ]
    if problems:
        raise DataError.of(problems)


def _absent(name: str, dialogue_ids: Iterable[str], by_id: Mapping[str, Task]) -> Iterator[Problem]:
    if name not in by_id:
        yield Problem("split_differs", f"persona {shown(name)} of the record is not in the data")
        return
    for dialogue_id in dialogue_ids:
        if dialogue_id not in by_id[name].dialogue_ids:
            yield Problem("split_differs", f"dialogue {shown(dialogue_id)} of persona {shown(name)} is not in the data")


def _kept(task: Task, dialogue_ids: Sequence[str]) -> Task:
    parts: dict[str, list[DialogueView]] = defaultdict(list)  # several where a task has a part for each speaker
    for part in reversed(task.dialogues):
        parts[part.dialogue.dialogue_id].append(part)
    # A record of more parts than there are is found by its checksum.
    return replace(task, dialogues=tuple(parts[name].pop() for name in dialogue_ids if parts[name]))


def _same(made: Record, record: Record) -> None:
    """Compare checksums side by side, so that the message tells where the texts changed."""
    if made["sha256"] == record.get("sha256"):
        return
    ours, theirs = made["sides"], record["sides"]
    changed = [split for split in ours if ours[split]["sha256"] != theirs[split].get("sha256")]
    where = ", ".join(changed) or "the record itself"
    raise DataError(f"texts differ from the recorded ones: {where}", code="split_differs", hint="use the same data")


def _counts(tasks: Iterable[Task]) -> dict[str, int]:
    """Return each persona's number of dialogues, most first."""
    ordered = sorted(tasks, key=lambda task: (-len(task.dialogues), task.persona_id))
    return {task.persona_id: len(task.dialogues) for task in ordered}


def _split_record(tasks: Iterable[Task]) -> dict[str, object]:
    ordered = sorted(tasks, key=lambda task: task.persona_id)
    return {
        "personas": {task.persona_id: [part.dialogue.dialogue_id for part in task.dialogues] for task in ordered},
        "sha256": _sha256([[task.persona_id, [_content(part) for part in task.dialogues]] for task in ordered]),
    }


def _content(part: DialogueView) -> list[object]:
    dialogue: Dialogue = part.dialogue
    turns = [[turn.speaker, turn.text] for turn in dialogue.turns]
    facts = {speaker: list(lines) for speaker, lines in dialogue.facts.items()}
    # Only where there are some: the checksums of splits made before profiles were read stay as they are.
    profiles = {speaker: {k: list(v) for k, v in known.items()} for speaker, known in dialogue.profiles.items()}
    return [dialogue.dialogue_id, part.speaker, turns, facts, *([profiles] if profiles else ())]


def _sha256(value: object) -> str:
    return _digest(json.dumps(value, sort_keys=True, ensure_ascii=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
