"""What was read of a conversation is kept for its next turn; the key is the persona's content, so none meets another's.

An entry is found by the base, the hash of the persona's file and the tokens themselves. A persona that is made anew has
another hash, so nothing of the old one is ever read on.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import takewhile

from menura.models.causal_lm.slot_cache import CachedPrefix

SHORTEST = 8  # tokens in common that are worth a copy


class PrefixCache:
    """Key-value caches of whole prefixes, the least recently used given up first beyond ``most_bytes``."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], CachedPrefix] = OrderedDict()
        self.bytes = 0

    def longest(self, key: str, ids: Sequence[int]) -> CachedPrefix | None:
        """Return what is known of the longest beginning of ``ids``, but never of all: the last token is to be read."""
        best, common = None, SHORTEST - 1
        for entry, prefix in self._kept.items():
            if entry[0] == key:
                pairs = zip(prefix.ids, ids[:-1], strict=False)
                alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
                if alike > common:
                    best, common = entry, alike
        if best is None:
            return None
        self._kept.move_to_end(best)
        return self._kept[best].shortened(common)

    def keep(self, key: str, prefix: CachedPrefix) -> None:
        """Keep a prefix; what it goes on from is given up for it."""
        if prefix.bytes > self._most_bytes:
            return
        self._drop(lambda entry: entry[0] == key and entry[1] == prefix.ids[: len(entry[1])])
        self._kept[key, prefix.ids] = prefix
        self.bytes += prefix.bytes
        while self.bytes > self._most_bytes:
            self.bytes -= self._kept.popitem(last=False)[1].bytes

    def forget(self, keys: Sequence[str]) -> None:
        """Give up all of some personas."""
        self._drop(lambda entry: entry[0] in keys)

    def _drop(self, of: Callable[[tuple[str, tuple[int, ...]]], bool]) -> None:
        for entry in [entry for entry in self._kept if of(entry)]:
            self.bytes -= self._kept.pop(entry).bytes
