"""Whose persona a chat becomes, and which of its dialogues are learnt from."""

import hashlib
import json
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from menura.corpus.dialogue import Dialogue, Profile, Turn
from menura.corpus.speakers import speaker_hint
from menura.errors import ConfigError, EpisodeError, Problem, number_of, shown
from menura.personas.profiles import profile_of, told_in
from menura.tasks.persona_groups import GENERIC_SPEAKERS
from menura.tasks.task import DialogueView, Exchange, Task

Pick = Literal["recent", "spread"]
HELD_OUT = 2  # dialogues that are checked on
HELD_OUT_EXCHANGES = 2  # that such a dialogue has at least
SPREAD_AT_MOST = 1024  # dialogues that are kept in memory to spread over
REMEMBERED_AT_MOST = 2000  # exchanges of a persona with a memory: the last ones
GROUP = 3  # people from which on a turn says who speaks
WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Selection:
    """The dialogues of one persona: those to learn from, those to check on, and how many there are in all."""

    speaker: str
    support: tuple[DialogueView, ...]
    held_out: tuple[DialogueView, ...]
    total: int
    pick: str = "first"
    facts: tuple[str, ...] = ()
    profile: Profile = field(default_factory=dict)
    remembered: tuple[Exchange, ...] = ()  # of all dialogues that are not held out, where that was asked for

    @classmethod
    def first_of(cls, task: Task, shots: int, held_out: int = 4) -> "Selection":
        """Return the first dialogues of a task to learn from, those after them to check on; EpisodeError if too few."""
        _enough(task.persona_id, len(task.dialogues), shots)
        parts = task.dialogues
        checked = parts[shots : shots + held_out]
        return cls(task.persona_id, parts[:shots], checked, len(parts), "first", task.facts, profile_of(parts))


def find_speaker(
    name: str, replies: Sequence[tuple[str, int]], *, owner: str = "", files: Sequence[str] = ()
) -> str | None:
    """Return whose persona is meant, None where that is not clear.

    ``replies`` are the speakers with their numbers of replies, ``owner`` whose persona the file itself says it is,
    ``files`` the names of the files. A speaker is meant who is called like the persona (as a whole, or by the first
    name), else the owner, else whom a file is named after, else the only one who replies.
    """
    speakers = [speaker for speaker, count in replies if count]
    for same in (_same_name, _same_first_name):
        found = [speaker for speaker in speakers if same(name, speaker)]
        if len(found) == 1:
            return found[0]
    if owner in speakers:
        return owner
    named = [speaker for speaker in speakers if any(_words(speaker) in _words(file) for file in files)]
    if len(named) == 1:
        return named[0]
    return speakers[0] if len(speakers) == 1 else None


def unknown_speaker(speaker: str | None, replies: Sequence[tuple[str, int]]) -> ConfigError:
    """Return the error for a speaker who does not reply, or for one who must be named."""
    said = f"no replies of {shown(speaker)}" if speaker else "whose persona? several people reply"
    return ConfigError(said, hint=speaker_hint(speaker, replies), code="unknown_speaker")


@dataclass
class Collected:
    """The dialogues of each speaker as they come, of which only those that may be selected are kept.

    ``recent`` keeps the last ones; ``spread`` keeps every second one whenever there are too many. Dialogues whose hash
    is in ``learnt`` are left out, and counted. With ``remember`` the last 2,000 exchanges of everybody are kept, too.
    """

    shots: int
    pick: Pick = "recent"
    replies: dict[str, int] = field(default_factory=dict)
    facts: dict[str, set[str]] = field(default_factory=dict)
    at_most: bool = False  # whether fewer dialogues do, even none where there are facts
    learnt: frozenset[str] = frozenset()
    left_out: Counter[str] = field(default_factory=Counter)  # dialogues of ``learnt``, by speaker
    remember: bool = False
    _held: "dict[str, _Kept]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        problems = []
        if self.shots < 1:
            said = f"-k {self.shots}: at least 1 dialogue is needed to learn from"
            problems.append(Problem("config", said, hint="-k 5"))
        if self.pick not in get_args(Pick):
            said = f"--pick {shown(self.pick)}: recent or spread wanted"
            problems.append(Problem("config", said, hint="--pick recent"))
        if problems:
            raise ConfigError.of(problems)

    def add(self, dialogue: Dialogue) -> None:
        """Add a dialogue to those of everybody who replies in it."""
        for speaker, facts in dialogue.facts.items():
            self.facts.setdefault(speaker, set()).update(facts)
        for speaker in dialogue.speakers:
            view = DialogueView(dialogue, speaker)
            if self.learnt and dialogue_sha256(with_names(view)) in self.learnt:
                self.left_out[speaker] += 1
                continue
            count = sum(1 for _ in view.exchanges())
            self.replies[speaker] = self.replies.get(speaker, 0) + count
            if count:
                if speaker not in self._held:
                    self._held[speaker] = _Kept(self.shots, self.pick, remember=self.remember)
                self._held[speaker].add(view, count)

    def add_all(self, dialogues: Iterable[Dialogue]) -> None:
        """Add dialogues one after the other."""
        for dialogue in dialogues:
            self.add(dialogue)

    def meant(self, name: str, speaker: str | None = None, *, asked: str = "") -> str:
        """Return ``speaker``, or who is meant by a persona's ``name``; ConfigError, about ``asked``, for nobody."""
        found = speaker or find_speaker(name, self.repliers())
        if found is None:
            raise unknown_speaker(asked or None, self.repliers())
        return found

    def repliers(self) -> list[tuple[str, int]]:
        """Return who replies and how often; if anybody has a proper name, generic ones are partners only."""
        replies = [(name, count) for name, count in self.replies.items() if count]
        return [pair for pair in replies if pair[0] not in GENERIC_SPEAKERS] or replies

    def speakers(self) -> set[str]:
        """Return who replies, in dialogues that were left out, too."""
        return {*self.left_out, *(name for name, count in self.replies.items() if count)}

    def selection(self, speaker: str) -> Selection:
        """Return what one speaker's persona is made of; EpisodeError where there are too few dialogues."""
        facts = tuple(sorted(self.facts.get(speaker, ())))
        nothing_new = self.left_out[speaker] and not self.replies.get(speaker)
        if not self.replies.get(speaker) and not (self.at_most and facts) and not nothing_new:
            raise unknown_speaker(speaker, self.repliers())
        kept = self._held.get(speaker) or _Kept(self.shots, self.pick)
        if not self.at_most:
            _enough(speaker, kept.total, self.shots)
        support, held_out = (tuple(with_names(view) for view in views) for views in kept.parted())
        return Selection(speaker, support, held_out, kept.total, self.pick, facts, kept.profile(), kept.remembered())


class _Kept:
    """One speaker's dialogues that may still be selected, each with its place among all of theirs."""

    def __init__(self, shots: int, pick: Pick, *, remember: bool = False) -> None:
        self.shots, self.pick, self.total, self.remember = shots, pick, 0, remember
        self._last: deque[tuple[int, DialogueView]] = deque(maxlen=shots + HELD_OUT)
        self._fit: deque[tuple[int, DialogueView]] = deque(maxlen=HELD_OUT)  # to check on
        self._before: deque[deque[tuple[int, DialogueView]]] = deque(maxlen=HELD_OUT)  # the last ones before those
        self._spread: list[tuple[int, DialogueView]] = []
        self._every = 1
        self._told: dict[str, dict[str, None]] = {}  # values of the profile by key
        self._exchanges: deque[tuple[int, Exchange]] = deque(maxlen=REMEMBERED_AT_MOST)

    def profile(self) -> Profile:
        """Return what all dialogues say of the persona: all values of each key, in order of first appearance."""
        return {key: tuple(values) for key, values in self._told.items()}

    def add(self, view: DialogueView, exchanges: int) -> None:
        for key, values in told_in(view).items():
            self._told.setdefault(key, {}).update(dict.fromkeys(values))
        placed = (self.total, view)
        if exchanges >= HELD_OUT_EXCHANGES:
            self._fit.append(placed)
            self._before.append(deque(self._last, maxlen=self.shots))
        self._last.append(placed)
        if self.pick == "spread" and self.total % self._every == 0:
            self._spread.append(placed)
            if len(self._spread) > SPREAD_AT_MOST:
                self._spread = self._spread[::2]
                self._every *= 2
        if self.remember:
            self._exchanges += [(self.total, exchange.as_remembered()) for exchange in with_names(view).exchanges()]
        self.total += 1

    def remembered(self) -> tuple[Exchange, ...]:
        """Return the exchanges of all dialogues but those to check on."""
        held_out = {place for place, _ in self._held_out()}
        return tuple(exchange for place, exchange in self._exchanges if place not in held_out)

    def parted(self) -> tuple[tuple[DialogueView, ...], tuple[DialogueView, ...]]:
        """Return the dialogues to learn from, and those to check on: as many as leave enough to learn from."""
        held_out = self._held_out()
        if not held_out:
            return self._picked(self.total, self._last), ()
        before = self._before[len(self._fit) - len(held_out)]
        return self._picked(held_out[0][0], before), tuple(view for _, view in held_out)

    def _held_out(self) -> list[tuple[int, DialogueView]]:
        return [placed for placed in self._fit if placed[0] >= self.shots]

    def _picked(self, end: int, last: Iterable[tuple[int, DialogueView]]) -> tuple[DialogueView, ...]:
        recent = [view for place, view in last if place < end][-self.shots :]
        if self.pick == "recent" or end <= self.shots:
            return tuple(recent)
        open_to = [view for place, view in self._spread if place < end]
        if len(open_to) < self.shots:
            return tuple(recent)
        step = len(open_to) / self.shots
        return tuple(open_to[int((index + 0.5) * step)] for index in range(self.shots))


def _enough(speaker: str, dialogues: int, shots: int) -> None:
    if dialogues < shots:
        hint = f"use -k {dialogues}, or give more dialogues" if dialogues else "give dialogues in which they reply"
        replies_in = f"{speaker!r} replies in {number_of(dialogues, 'dialogue')}"
        raise EpisodeError(f"{replies_in}, too few for {number_of(shots, 'shot')}", hint=hint)


def with_names(view: DialogueView) -> DialogueView:
    """Return a view of a group's dialogue in which the others' turns say who speaks; one of two people as it is."""
    dialogue = view.dialogue
    if len(dialogue.speakers) < GROUP:
        return view
    turns = (
        turn if turn.speaker == view.speaker else Turn(turn.speaker, f"{turn.speaker}: {turn.text}")
        for turn in dialogue.turns
    )
    told = Dialogue(dialogue.dialogue_id, tuple(turns), dialogue.facts, context_only=dialogue.context_only)
    return DialogueView(told, view.speaker, view.unread)


def dialogue_sha256(view: DialogueView) -> str:
    """Return the hash of who says what in a dialogue, by which a persona's record knows what it learnt from."""
    said: list[Any] = [[turn.speaker, turn.text] for turn in view.dialogue.turns]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _same_name(name: str, speaker: str) -> bool:
    return _words(name) == _words(speaker)


def _same_first_name(name: str, speaker: str) -> bool:
    return _words(name).split()[:1] == _words(speaker).split()[:1]


def _words(text: str) -> str:
    """Return the words of a name in lower case without accents."""
    apart = unicodedata.normalize("NFD", text.casefold())
    letters = "".join(c for c in apart if not unicodedata.combining(c))
    return f" {' '.join(WORD.findall(letters))} "
