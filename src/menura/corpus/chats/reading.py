"""A chat's messages become dialogues: normalised, without what nobody said, cut by silence, joined, looked at.

The order matters (see ``docs/guide/chats.md``): wrong letters are mended first, messages that are no text are dropped
before dialogues are cut, and what one person says in a row is joined last.
"""

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice

from menura.corpus.chats import plausibility, times
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.cleaning import placeholders, privacy
from menura.corpus.chats.cleaning.normalise import clean, clean_name, mended
from menura.corpus.chats.message import Event, Message, Notes, Start
from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.findings import NAME_LIMIT
from menura.errors import ConfigError, DataError, Problem, shown

SURVEYED = 200_000  # messages that are kept in memory to find out names, the order of dates and the gap
MESSAGES_AT_MOST = 20_000  # of a dialogue, whatever the silences: more would fill the memory
SESSION_TURNS = 8  # of a chat without times or blank lines
LEFT_TO_RIGHT = "\u200e"  # in front of what WhatsApp writes itself
MENTION = re.compile(r"<@[!&]?\w{1,40}>")  # of Slack and Discord
NAMES_LIMIT = 10_000  # more different names are no chat
BLANK_SHARE = 0.9  # of the messages that a blank line follows, from which on blank lines end no dialogue


@dataclass(frozen=True)
class ReadOptions:
    """What a person may say about a chat.

    ``gap`` is the silence in seconds that ends a dialogue, ``dates`` the order of dates ("dmy", "mdy", "ymd"),
    ``same`` maps names to the name of the same person, ``encoding`` is that of files without a byte order mark.
    """

    gap: float | None = None
    dates: str = ""
    same: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    redact: bool = False
    drop_links: bool = False


@dataclass(frozen=True)
class ChatReader:
    """How messages are read from one kind of file.

    ``looks_like`` returns why the start of a file is of this kind, empty if it is not. ``starts`` tells that the file
    itself says where dialogues begin, so that nothing is cut. ``guessed`` tells that names are guessed from lines of
    text, so that a list may pass for one. ``timed`` tells that every message should have a time.
    """

    name: str
    title: str
    looks_like: Callable[[str, str], str]  # of the start of the text, and of the file's name
    messages: Callable[[ChatFile, Notes], Iterator[Event]]
    starts: bool = False
    guessed: bool = False
    timed: bool = False


NO_OPTIONS = ReadOptions()


def read_options(
    *,
    gap: str | None = None,
    dates: str = "",
    same: Sequence[str] = (),
    encoding: str = "",
    redact: bool = False,
    drop_links: bool = False,
) -> ReadOptions:
    """Return options as a person types them: ``6h``, ``dmy``, ``Ann=ann``; ConfigError with all that is wrong."""
    problems: list[Problem] = []
    seconds: float | None = None
    try:
        seconds = times.gap_of(gap) if gap else None
    except ValueError:
        problems.append(Problem("config", f"--gap {shown(gap or '')}: a time wanted", hint="--gap 6h, or 90min"))
    if dates and dates not in times.ORDERS:
        said = f"--dates {shown(dates)}: one of {', '.join(times.ORDERS)} wanted"
        problems.append(Problem("config", said, hint="--dates dmy"))
    pairs = [tuple(part.strip() for part in one.split("=")) for one in same]
    for one, pair in zip(same, pairs, strict=True):
        if len(pair) != 2 or not all(pair):
            problems.append(Problem("config", f"--same {shown(one)}: two names wanted", hint='--same "Ann=ann"'))
    try:
        "".encode(encoding or "utf-8")
        codecs.getincrementaldecoder(encoding or "utf-8")
    except (LookupError, ValueError):  # no codec, none of text, a name with a zero byte
        problems.append(Problem("config", f"--encoding {shown(encoding)} is not known", hint="--encoding cp1252"))
    if problems:
        raise ConfigError.of(problems)
    # "Ann=ann" makes one person of the two, called as the first.
    names = {pair[1]: pair[0] for pair in pairs}
    return ReadOptions(seconds, dates, names, encoding, redact, drop_links)


class ChatReading:
    """One chat while it is read: ``dialogues`` may be asked for once, ``notes`` are whole after the last of them.

    What decides how it is read (the order of dates, the gap, names) is found in the first 200,000 messages. A chat
    that is longer is streamed from there on.
    """

    def __init__(self, file: ChatFile, format: ChatReader, options: ReadOptions = NO_OPTIONS) -> None:
        self.file, self.format, self.options = file, format, options
        self.notes = Notes(file.name)
        self.replies: Counter[str] = Counter()  # by speaker
        self.turns: Counter[str] = Counter()  # by speaker, in order of first appearance
        self.speakers: dict[str, int] = {}  # all names met, each with its first line
        self._cut_by_turns = 0
        self._names: dict[str, str] = {}  # as written, to as people see them
        if file.line_ends() == "CR":
            self.notes.changed["line ends (CR)"] = file.head().count("\r")
        events = self._cleaned(format.messages(file, self.notes))
        self._buffer = list(islice(events, SURVEYED))
        self._rest = events
        self._survey()

    def _survey(self) -> None:
        """Decide from the first messages how all are read."""
        said = [event for event in self._buffer if isinstance(event, Message)]
        self._heading = plausibility.heading(self._buffer, self.notes) if self.format.guessed else 0
        order = times.Order(self.options.dates, "as you say")
        if not self.options.dates:
            order = times.found_order(((m.line, m.time) for m in said if m.time), self.file.name)
        self._order = order.name
        if order.name:
            self.notes.order = f"{times.TOLD[order.name]} ({order.reason})"
        kept = [moment for message in said if not message.dropped and (moment := self._moment(message)) is not None]
        self.notes.first_time = kept[0].isoformat() if kept else ""
        starts = self.format.starts or self.notes.starts
        self._timed = len(kept) > 1 and not starts
        self._gap = self.options.gap or times.default_gap(
            [(later - earlier).total_seconds() for earlier, later in zip(kept, kept[1:], strict=False)]
        )
        blanks = sum(isinstance(event, Start) and event.blank for event in self._buffer)
        apart = blanks >= BLANK_SHARE * (len(said) - 1) and len(said) > 2
        self._blanks = bool(blanks) and not apart and not self._timed
        if apart and not self._timed and blanks > 1:
            self.notes.warn("blank_lines", "a blank line after every line ends no dialogue", count=blanks)
        self._by_turns = not (self._timed or self._blanks or starts)
        if self._timed:
            self.notes.cut = f"a silence of {times.gap_text(self._gap)} or more ends a dialogue"
        plausibility.alike({m.speaker for m in said if m.speaker} - self.notes.labels, self.notes)

    def dialogues(self) -> Iterator[Dialogue]:
        """Yield the dialogues in the order of the file; one DataError at the end with all that is wrong in it."""
        seen: set[int] = set()
        number = 0
        longest = 0
        for session in self._sessions():
            if len({turn.speaker for turn in session.turns}) < 2:
                self.notes.dropped["dialogue of one person"] += 1
                continue
            number += 1
            longest = max(longest, len(session.turns))
            if self._timed:
                self.notes.first = self.notes.first or session.first
                self.notes.last = session.last or self.notes.last
            yield self._dialogue(session, number, seen)
        plausibility.look_at_all(self, number, longest)
        if self.notes.errors:
            raise DataError.of(self.notes.errors)

    def _dialogue(self, session: "_Session", number: int, seen: set[int]) -> Dialogue:
        said = tuple(Turn(turn.speaker, "\n".join(turn.texts)) for turn in session.turns)
        for index, turn in enumerate(said):
            self.turns[turn.speaker] += 1
            self.replies[turn.speaker] += bool(index)
        known = hash(said)
        if known in seen:
            self.notes.warn("duplicate", "dialogue stands there more than once")
        elif len(seen) < SURVEYED:
            seen.add(known)
        here = {turn.speaker for turn in said}
        facts = {name: told for name, told in self.notes.facts.items() if name in here}
        for name, told in session.start.facts.items():
            facts[name] = facts.get(name, ()) + told
        unlearnt = frozenset(index for index, turn in enumerate(session.turns) if not turn.learnt)
        name = session.start.dialogue_id or f"{self.file.stem}-{number}"
        return Dialogue(name, said, facts, context_only=unlearnt)

    def _sessions(self) -> "Iterator[_Session]":
        """Yield runs of turns between two starts, two silences, or so many turns."""
        session = _Session()
        last: datetime | None = None
        for event in chain(islice(self._buffer, self._heading, None), self._rest):
            if isinstance(event, Start):
                if not event.blank or self._blanks:
                    if session.turns:
                        yield session
                    session = _Session(event)
                continue
            if event.dropped:
                self.notes.dropped[event.dropped] += 1
                continue
            moment = self._moment(event)
            if self.format.timed and moment is None:
                self.notes.warn("times", "no time that can be read; nothing is cut by silence there", event.line)
            silence = (moment - last).total_seconds() if moment and last else 0.0
            if session.turns and ((self._timed and abs(silence) >= self._gap) or session.messages >= MESSAGES_AT_MOST):
                yield session
                session = _Session()
            last = moment or last
            session.say(event)
            if moment is not None and event.time is not None:
                session.note(times.written(event.time, moment))
            if self._by_turns and len(session.turns) > SESSION_TURNS + 1:
                first, session = session.cut(SESSION_TURNS)
                self._cut_by_turns += 1
                yield first
        if session.turns:
            yield session
        if self._cut_by_turns:
            self.notes.warn(
                "cut_by_turns",
                f"no times, no blank lines: cut after every {SESSION_TURNS} turns",
                hint="put a blank line between dialogues",
                count=self._cut_by_turns + 1,
            )

    def _moment(self, message: Message) -> datetime | None:
        return times.when(message.time, self._order) if message.time is not None else None

    def _cleaned(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield messages with clean names and texts, those that are no text marked as dropped."""
        changed = self.notes.changed
        for event in events:
            if isinstance(event, Message):
                event.speaker = self._name(event.speaker, event.line)
                if not event.speaker:
                    event.dropped = event.dropped or "system"
                if not event.dropped:
                    self._clean_text(event, changed)
            yield event

    def _clean_text(self, message: Message, changed: Counter[str]) -> None:
        text, times_mended, left = mended(message.text)
        changed["mojibake"] += times_mended
        for piece in left:
            self.notes.warn("mojibake_left", f"{shown(piece)} cannot be mended exactly", message.line)
        # In exports of messengers, what no list of words knows is told by its shape.
        by_shape = placeholders.by_shape(text) if self.format.timed else ""
        marked = text.startswith(LEFT_TO_RIGHT)
        text = clean(text, changed)
        if marked and placeholders.is_system(text):
            by_shape = "system"
        text, marks = placeholders.stripped(text)
        if marks:
            changed[marks] += 1
        message.dropped = ("" if text else by_shape or "empty") or placeholders.dropped_as(text) or by_shape
        if not message.dropped and self.options.drop_links and placeholders.is_bare_url(text):
            message.dropped = "link alone"
        if message.dropped:
            return
        if "<@" in text and MENTION.search(text):
            hint = "a name for the id is not in the file; Slack's is in users.json, which belongs beside it"
            self.notes.warn("unnamed_id", "somebody is mentioned by an id without a name", message.line, hint=hint)
        kinds = len(self.notes.private)
        privacy.count_private(text, self.notes.private)
        if len(self.notes.private) > kinds:
            for kind in self.notes.private:
                self.notes.first_private.setdefault(kind, message.line)
        message.text = privacy.redacted(text) if self.options.redact else text

    def _name(self, raw: str, line: int) -> str:
        """Return a speaker's name as people see it; each way to write it is mended and counted once."""
        known = self._names.get(raw)
        if known is None:
            text, times_mended, _ = mended(raw)
            self.notes.changed["mojibake"] += times_mended
            known = clean_name(text, self.notes.changed)
            known = self.options.same.get(known, known)
            if len(known) > NAME_LIMIT:
                self.notes.wrong("bad_name", f"a speaker's name has more than {NAME_LIMIT} characters", line)
                known = known[:NAME_LIMIT]
            if len(self._names) >= NAMES_LIMIT:
                raise DataError(
                    f"more than {NAMES_LIMIT:,} different names: not a chat of people",
                    code="many_speakers",
                    place=self.file.name,
                    hint="menura data check shows how the file is read; --format NAME says another way",
                )
            self._names[raw] = known
            if known:
                self.speakers.setdefault(known, line)
        return known


def found_in(file: ChatFile, format: ChatReader) -> Iterator[Dialogue | Problem]:
    """Yield the dialogues of a file, then everything that was noted."""
    reading = ChatReading(file, format)
    try:
        yield from reading.dialogues()
    except DataError as error:
        yield from error.problems
        return
    yield from reading.notes.problems


@dataclass(slots=True)
class _SpokenTurn:
    """What one person says in a row; only learnt if all of it is."""

    speaker: str
    texts: list[str]
    learnt: bool


class _Session:
    """Turns since the last cut; messages of one person in a row are one turn. ``first`` and ``last`` are times."""

    def __init__(self, start: Start = Start(), turns: Sequence[_SpokenTurn] = ()) -> None:  # noqa: B008  # it is frozen
        self.start, self.turns, self.messages = start, list(turns), len(turns)
        self.first = self.last = ""

    def say(self, message: Message) -> None:
        """Add a message."""
        self.messages += 1
        if self.turns and self.turns[-1].speaker == message.speaker:
            self.turns[-1].texts.append(message.text)
            self.turns[-1].learnt &= message.learnt
        else:
            self.turns.append(_SpokenTurn(message.speaker, [message.text], message.learnt))

    def note(self, time: str) -> None:
        """Note the time of a message."""
        self.first, self.last = self.first or time, time

    def cut(self, turns: int) -> "tuple[_Session, _Session]":
        """Return the first turns and the rest as two sessions."""
        return _Session(self.start, self.turns[:turns]), _Session(turns=self.turns[turns:])
