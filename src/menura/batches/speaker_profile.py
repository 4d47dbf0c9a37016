"""A profile becomes slots: the id of a key, and the token ids of one of its values."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from menura.corpus.dialogue import Profile
from menura.corpus.segmentation import content_pieces, pieces, says_any
from menura.errors import DataError, Problem, shown

Slot = tuple[int, tuple[int, ...]]  # the id of a key, and the token ids of a value
Slots = tuple[Slot, ...]
Held = tuple[tuple[str, tuple[str, ...]], ...]  # a profile's keys and values
Lent = tuple[Slot, Slots]  # an expressed slot, and its profile

PADDING, UNKNOWN = 0, 1


@dataclass(frozen=True)
class ProfileTokens:
    """A model's vocabulary of profiles: keys, and token ids of values.

    ``keys`` are in reading order, each with its id; ``chosen``: they were set by the user, and others are ignored.
    ``split`` tokenises a value.
    ``common`` are pieces of so many profiles that a reply with one says nothing about its persona. ``missing`` counts
    profiles without a value of a key. ``lenders`` are profiles of other people, by their content pieces.
    """

    keys: Mapping[str, int]
    split: Callable[[str], tuple[int, ...]]
    common: frozenset[str] = frozenset()
    chosen: bool = False
    lenders: Mapping[str, tuple[Lent, ...]] = field(default_factory=dict, repr=False, compare=False)
    missing: Counter[str] = field(default_factory=Counter, compare=False)
    _made: dict[Held, Slots] = field(default_factory=dict, repr=False, compare=False)
    _telling: dict[Held, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)

    def slots(self, profile: Profile) -> Slots:
        """Return a slot for each value of each known key; a key without a value gets an unknown one, and is counted.

        Raises DataError that lists every key that is not known, unless the known ones were chosen.
        """
        held = tuple(profile.items())
        if held not in self._made:
            self._made[held] = self._slots(profile)
        return self._made[held]

    def _slots(self, profile: Profile) -> Slots:
        self._check_known(profile)
        made: list[Slot] = []
        for key, number in self.keys.items():
            values = profile.get(key, ())
            if not values:
                self.missing[key] += 1
            made += [self._slot(key, value) for value in values] or [(number, (UNKNOWN,))]
        return tuple(made)

    def expressed(self, profile: Profile, reply: str) -> bool:
        """Tell whether a reply contains a piece of the profile's values that is not common."""
        return says_any(reply, self._told(profile))

    def lending(self, profiles: Iterable[Profile]) -> "ProfileTokens":
        """Return a copy with profiles that may be lent to other people's replies in training."""
        lenders: dict[str, dict[Lent, None]] = {}
        for profile in profiles:
            slots = self.slots(profile)
            told = [(key, value) for key in self.keys for value in profile.get(key, ())]
            for key, value in told:
                for piece in sorted(content_pieces(value) - self.common):
                    lenders.setdefault(piece, {})[self._slot(key, value), slots] = None
        return replace(self, lenders={piece: tuple(lent_profiles) for piece, lent_profiles in lenders.items()})

    def lent_for(self, reply: str) -> tuple[tuple[Lent, ...], ...]:
        """Return, for each content piece of a reply, the lenders' profiles that have it, and the slot."""
        if not self.lenders:
            return ()
        return tuple(self.lenders[piece] for piece in sorted(content_pieces(reply)) if piece in self.lenders)

    def _told(self, profile: Profile) -> frozenset[str]:
        """Return the content pieces of a profile's values that are not common."""
        held = tuple(profile.items())
        if held not in self._telling:
            values = (value for key in self.keys for value in profile.get(key, ()))
            self._telling[held] = frozenset().union(*map(content_pieces, values)) - self.common
        return self._telling[held]

    def _slot(self, key: str, value: str) -> Slot:
        return self.keys[key], self.split(value) or (UNKNOWN,)

    def _check_known(self, profile: Profile) -> None:
        known = ", ".join(self.keys) or "none"
        hint = f"the model was trained with {known}; leave the others out of the data, or train with them"
        strange = [] if self.chosen else [key for key in profile if key not in self.keys]
        if strange:
            message = "profile key {} is unknown to the model"
            raise DataError.of([Problem("unknown_attribute", message.format(shown(key)), hint=hint) for key in strange])


def word_numbers(words: Sequence[str], first: int) -> Callable[[str], tuple[int, ...]]:
    """Return a function from a value to the ids of its pieces; the first word has id ``first``."""
    numbers = {word: number for number, word in enumerate(words, start=first)}
    return lambda value: tuple(numbers.get(piece, UNKNOWN) for piece in pieces(value))


def words_of_profiles(profiles: Iterable[Profile], *, min_count: int = 1) -> list[str]:
    """Return the pieces in at least ``min_count`` profiles, each once, in order of first appearance."""
    held: Counter[str] = Counter()
    for profile in profiles:
        told = (piece for values in profile.values() for value in values for piece in pieces(value))
        held.update(list(dict.fromkeys(told)))
    return [piece for piece, times in held.items() if times >= min_count]


def common_pieces(profiles: Sequence[Profile], share: float) -> frozenset[str]:
    """Return the content pieces that are in more than a share of the profiles."""
    held: Counter[str] = Counter()
    for profile in profiles:
        held.update(frozenset().union(*(content_pieces(value) for values in profile.values() for value in values)))
    return frozenset(piece for piece, times in held.items() if times > share * len(profiles))
