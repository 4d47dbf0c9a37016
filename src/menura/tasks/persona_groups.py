"""Dialogues become tasks: by speaker's name, by shared profile sentences, by a given map, or one per dialogue."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from menura.corpus.cped import OTHERS
from menura.corpus.dialogue import Dialogue
from menura.corpus.personaldialog import SOMEBODY
from menura.errors import ConfigError, DataError, Problem, shown
from menura.tasks.size_limits import first_dialogues
from menura.tasks.task import DialogueView, Task

# Generic names that formats give to speakers; the same name in two dialogues need not be the same person.
GENERIC_SPEAKERS = frozenset(
    {"self", "partner", "user", "assistant", "human", "gpt", "asker", OTHERS, *SOMEBODY},
)

Variant = frozenset[str]  # the profile sentences of one speaker in one dialogue


def grouped(dialogues: Sequence[Dialogue], *, cap: int | None = None) -> list[Task]:
    """Return one task per persona: by facts if speakers have only generic names and facts, else by name."""
    generic = all(GENERIC_SPEAKERS.issuperset(dialogue.speakers) for dialogue in dialogues)
    if generic and any(any(dialogue.facts.values()) for dialogue in dialogues):
        return [_capped(task, cap) for task in by_facts(dialogues)]
    return by_speaker(dialogues, cap=cap)


def by_speaker(dialogues: Iterable[Dialogue], *, cap: int | None = None) -> list[Task]:
    """Return one task per speaker's name, in order of first appearance, with the first ``cap`` dialogues of each.

    If any speaker has a proper name, speakers with a generic one are partners only.
    """
    dialogues = list(dialogues)
    names = {speaker for dialogue in dialogues for speaker in dialogue.speakers}
    known = names - GENERIC_SPEAKERS or names
    parts: dict[str, list[DialogueView]] = {}
    for dialogue in dialogues:
        for speaker in dialogue.speakers:
            if speaker in known:
                parts.setdefault(speaker, []).append(DialogueView(dialogue, speaker))
    return [_capped(Task(name, tuple(held), _facts(held)), cap) for name, held in parts.items()]


def by_dialogue(dialogues: Iterable[Dialogue]) -> list[Task]:
    """Return one task per dialogue, named by its id, with a view for each speaker who replies.

    If any speaker has facts, only speakers with facts are taken; a dialogue without a view is left out.
    """
    dialogues = list(dialogues)
    told = any(any(dialogue.facts.values()) for dialogue in dialogues)
    tasks = []
    for dialogue in dialogues:
        parts = [DialogueView(dialogue, speaker) for speaker in dialogue.speakers]
        held = tuple(part for part in parts if (part.facts or not told) and next(part.exchanges(), None))
        if held:
            tasks.append(Task(dialogue.dialogue_id, held, _facts(held)))
    return tasks


def by_facts(dialogues: Sequence[Dialogue], *, min_shared: int = 3) -> list[Task]:
    """Return one task per group of speakers whose profiles overlap, in order of first appearance.

    Profiles that share ``min_shared`` sentences belong to one persona, also through others. Its id is made of all its
    sentences, so it is the same whatever the order of the files. Speakers without facts are left out.
    """
    variants = list(dict.fromkeys(variant for _, variant in _profiled(dialogues)))
    names: dict[Variant, str] = {}
    for group in union_of_variants(variants, min_shared):
        sentences = sorted(frozenset().union(*(variants[index] for index in group)))
        digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()
        names.update({variants[index]: f"persona-{digest[:12]}" for index in group})
    return _by_variant(dialogues, lambda variant: names[variant])


def by_map(dialogues: Sequence[Dialogue], mapping: Mapping[str, Sequence[Sequence[str]]]) -> list[Task]:
    """Return one task per persona of a stored map ``{persona_id: [profile, …]}``, in order of first appearance.

    Profiles match as sets of sentences, a final full stop apart. Raises DataError that lists every profile the map
    lacks (the published code puts those into cluster 0), ConfigError if the map gives one profile to two personas.
    """
    names = _inverted(mapping)
    missing = [
        Problem("unknown_persona", f"profile is not in the persona map: {shown('; '.join(sorted(variant)))}", place)
        for place, variant in _first_places(dialogues)
        if _key(variant) not in names
    ]
    if missing:
        raise DataError.of(missing)
    return _by_variant(dialogues, lambda variant: names[_key(variant)])


def union_of_variants(variants: Sequence[Iterable[str]], min_shared: int = 3) -> list[list[int]]:
    """Return groups of indices: equal variants, and those that share ``min_shared`` sentences, also through others.

    Groups are in order of their first member, members in order.
    """
    if min_shared < 1:
        raise ConfigError(f"min_shared is {min_shared}, must be 1 or more")
    leaders = list(range(len(variants)))
    holders: dict[str, list[int]] = defaultdict(list)  # sentence -> the variants before this one that have it
    first: dict[Variant, int] = {}
    for index, variant in enumerate(map(frozenset, variants)):
        shared = Counter(other for sentence in variant for other in holders[sentence])
        alike = [other for other, count in shared.items() if count >= min_shared]
        for other in (*alike, first.setdefault(variant, index)):
            leaders[_leader(leaders, other)] = _leader(leaders, index)
        for sentence in variant:
            holders[sentence].append(index)
    groups: dict[int, list[int]] = {}
    for index in range(len(variants)):
        groups.setdefault(_leader(leaders, index), []).append(index)
    return list(groups.values())


def _capped(task: Task, cap: int | None) -> Task:
    return task if cap is None else first_dialogues(task, cap)


def _profiled(dialogues: Iterable[Dialogue]) -> Iterator[tuple[DialogueView, Variant]]:
    """Yield every speaker that has facts and says something, with the profile sentences."""
    for dialogue in dialogues:
        for speaker in dialogue.speakers:
            if dialogue.facts.get(speaker):
                yield DialogueView(dialogue, speaker), frozenset(dialogue.facts[speaker])


def _by_variant(dialogues: Sequence[Dialogue], name_of: Callable[[Variant], str]) -> list[Task]:
    parts: dict[str, dict[str, DialogueView]] = {}
    for part, variant in _profiled(dialogues):
        held = parts.setdefault(name_of(variant), {})
        # A persona that talks to itself has one view of that dialogue: two could end up in support and query.
        held.setdefault(part.dialogue.dialogue_id, part)
    if not parts:
        raise DataError("no speaker has facts to group by", code="no_facts", hint="group by speaker")
    return [Task(name, tuple(held.values()), _facts(held.values())) for name, held in parts.items()]


def _facts(parts: Iterable[DialogueView]) -> tuple[str, ...]:
    return tuple(sorted({fact for part in parts for fact in part.dialogue.facts.get(part.speaker, ())}))


def _first_places(dialogues: Iterable[Dialogue]) -> list[tuple[str, Variant]]:
    """Return each profile once, with its first place."""
    first: dict[Variant, str] = {}
    for part, variant in _profiled(dialogues):
        first.setdefault(variant, f"dialogue {part.dialogue.dialogue_id}")
    return [(place, variant) for variant, place in first.items()]


def _key(variant: Iterable[str]) -> Variant:
    return frozenset(sentence.strip().removesuffix(".") for sentence in variant)


def _inverted(mapping: Mapping[str, Sequence[Sequence[str]]]) -> dict[Variant, str]:
    names: dict[Variant, str] = {}
    for name, variants in mapping.items():
        for variant in variants:
            other = names.setdefault(_key(variant), name)
            if other != name:
                profile = shown("; ".join(sorted(variant)))
                raise ConfigError(f"the persona map gives one profile to {shown(other)} and {shown(name)}: {profile}")
    return names


def _leader(leaders: list[int], index: int) -> int:
    """Return the group's representative (union-find with path halving)."""
    while leaders[index] != index:
        leaders[index] = leaders[leaders[index]]
        index = leaders[index]
    return index
