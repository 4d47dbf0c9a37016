"""Token ids become text piece by piece: whole characters, and never a part of a stop string."""

from collections.abc import Sequence

from menura.batches.tokenizer import Tokenizer

HALF = "\N{REPLACEMENT CHARACTER}"  # what a tokenizer gives for bytes that are no whole character yet


class ReplyText:
    """The text of one reply as its tokens come; with ``strip`` without outer white space, as a reply has it."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), *, strip: bool = True) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._strip = strip
        self._ids: list[int] = []
        self._given = ""

    def add(self, token: int) -> str:
        """Take one more token; return the text that is certain now. ``stopped`` turns True at a stop string."""
        self._ids.append(token)
        text = self._text()
        at = min((place for place in map(text.find, self._stop) if place >= 0), default=-1)
        if at >= 0:
            self.stopped = True
            return self._further(self._stripped(text[:at]))
        whole = text.rstrip(HALF)
        certain = whole[: len(whole) - self._undecided(whole)]
        return self._further(self._stripped(certain))

    def rest(self) -> str:
        """Return what was held back, once no more tokens come."""
        return "" if self.stopped else self._further(self._stripped(self._text()))

    def _text(self) -> str:
        text = self._tokenizer.decode(self._ids)
        return text.lstrip() if self._strip else text

    def _stripped(self, text: str) -> str:
        return text.rstrip() if self._strip else text

    def _undecided(self, text: str) -> int:
        """Return how many characters at the end may be the beginning of a stop string."""
        longest = min(max(map(len, self._stop), default=1) - 1, len(text))
        lengths = range(longest, 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stop)), 0)

    def _further(self, text: str) -> str:
        further = text[len(self._given) :]
        self._given += further
        return further
