"""An exchange becomes token ids: facts, context, reply. Truncation lives here and nowhere else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from types import MappingProxyType
from typing import Any

from menura.batches.chat_format import ChatFormat, Place, turn_ids
from menura.batches.speaker_profile import Lent, ProfileTokens, Slots
from menura.batches.tokenizer import Tokenizer
from menura.corpus.dialogue import Profile, Turn
from menura.errors import DataError
from menura.tasks.episode import Episode
from menura.tasks.task import DialogueView, Exchange

Ids = tuple[int, ...]
TOO_LONG = "too_long"


@dataclass(frozen=True)
class EncodedExchange:
    """One exchange as ids; the model reads facts, then context, then predicts the reply (end token included).

    ``turns`` are the context's turns as (the persona's own, number of tokens); the tokens that open the reply are the
    persona's own, too. ``negatives`` are exchanges of other personas whose replies (or facts) are wrong here.

    For models that read profiles, ``profiles`` are those of the persona and then of the others, in order of appearance,
    and ``turn_profiles`` the profile of each turn; ``expresses_profile`` tells whether the reply expresses a value of
    the persona's profile. ``lent_profiles`` are profiles of other people with a value that the reply expresses, grouped
    by value.

    ``source`` is the exchange as text, which no model reads; None where there is none.
    """

    persona_id: str
    dialogue_id: str
    facts: Ids
    context: Ids
    reply: Ids
    turns: tuple[tuple[bool, int], ...] = ()
    negatives: tuple["EncodedExchange", ...] = ()
    profiles: tuple[Slots, ...] = ()
    turn_profiles: tuple[int, ...] = ()
    expresses_profile: bool = False
    lent_profiles: tuple[tuple[Lent, ...], ...] = ()
    source: Exchange | None = field(default=None, compare=False, repr=False)

    @property
    def prefix(self) -> Ids:
        """All tokens before the reply."""
        return self.facts + self.context

    @property
    def ids(self) -> Ids:
        """The whole sequence."""
        return self.facts + self.context + self.reply


EncodedDialogue = tuple[EncodedExchange, ...]


@dataclass(frozen=True)
class EncodedEpisode:
    """An episode as ids, by whole dialogues."""

    persona_id: str
    support: tuple[EncodedDialogue, ...]
    query: tuple[EncodedDialogue, ...]


@dataclass(frozen=True)
class TokenLimits:
    """The most tokens of each piece (0 = no bound): an utterance keeps its last ones, a reply or fact its first.

    ``through`` truncates the oldest turn that fits in part; otherwise turns are dropped whole.
    """

    utterance: int = 0
    reply: int = 0
    turns: int = 0
    facts: int = 0
    fact: int = 0
    through: bool = False


@dataclass(frozen=True)
class Encoder:
    """Turns dialogues into token ids (no network), with one chat format and one limit (``max_length``, reply included).

    Too long a sequence loses its oldest turns whole; the last turn is truncated on the left if it alone is too long.
    Facts and reply are never truncated: if they alone exceed the limit a DataError is raised. ``cut`` counts what was
    left out.
    """

    tokenizer: Tokenizer
    chat_format: ChatFormat
    max_length: int = 512
    cut: Counter[str] = field(default_factory=Counter, compare=False)
    read: Counter[str] = field(default_factory=Counter, compare=False)  # numbers of tokens, and of unknown ones
    caps: TokenLimits = TokenLimits()
    profile: ProfileTokens | None = None  # of a model that reads profiles

    def exchange(self, exchange: Exchange, persona_id: str = "") -> EncodedExchange:
        """Encode one exchange with its reply and the end token."""
        said = self.chat_format.reply(self.tokenizer, self.chat_format.cleaned(exchange.reply.text))
        self._count(said)
        reply = (*self._kept("reply tokens", said, self.caps.reply), self.chat_format.end)
        facts = self._facts(exchange.facts)
        room = self.max_length - len(facts) - len(reply) - len(self.chat_format.reply_open)
        if room < 0:
            raise DataError(
                f"facts and reply of {exchange.dialogue_id!r} take {self.max_length - room} tokens, "
                f"limit {self.max_length}",
                code=TOO_LONG,
                hint="raise it with --set model.max_length=…, or shorten the reply",
            )
        speaker = exchange.reply.speaker
        context, turns = self._context(exchange.context, speaker, room, has_facts=bool(exchange.facts))
        facts = self._before(turns, facts, exchange.facts)
        encoded = EncodedExchange(persona_id, exchange.dialogue_id, facts, context, reply, turns, source=exchange)
        if self.profile is None:
            return encoded
        told = self._profiled(encoded, exchange.context, speaker, exchange.profiles)
        text = exchange.reply.text
        own = self.profile.expressed(exchange.profiles.get(speaker, {}), text)
        return replace(told, expresses_profile=own, lent_profiles=self.profile.lent_for(text))

    def prompt(
        self,
        context: Sequence[Turn],
        speaker: str,
        facts: Sequence[str] = (),
        profiles: Mapping[str, Profile] = MappingProxyType({}),
        *,
        room: int,
    ) -> EncodedExchange:
        """Encode a context with an empty reply, leaving ``room`` tokens for the reply."""
        head = self._facts(tuple(facts))
        left = self.max_length - len(head) - room - len(self.chat_format.reply_open)
        if left < 0:
            raise DataError(f"facts take {len(head)} tokens, which leaves no room for a reply", code=TOO_LONG)
        read, turns = self._context(tuple(context), speaker, left, has_facts=bool(facts))
        head = self._before(turns, head, tuple(facts))
        return self._profiled(EncodedExchange("", "", head, read, (), turns), context, speaker, profiles)

    def reply_ids(self, text: str) -> Ids:
        """Return a reply's ids, the end token included; nothing is counted."""
        said = self.chat_format.reply(self.tokenizer, self.chat_format.cleaned(text))
        return (*said[: self.caps.reply or None], self.chat_format.end)

    def dialogue(self, part: DialogueView, persona_id: str) -> EncodedDialogue:
        """Encode every exchange of one dialogue; those whose reply alone is too long are left out and counted."""
        made = []
        for exchange in part.exchanges():
            try:
                made.append(self.exchange(exchange, persona_id))
            except DataError as error:
                if any(problem.code != TOO_LONG for problem in error.problems):
                    raise
                self.cut["exchanges"] += 1
        return tuple(made)

    def dialogues(self, parts: Sequence[DialogueView], persona_id: str) -> tuple[EncodedDialogue, ...]:
        """Encode dialogues, leaving out those in which the persona never replies."""
        encoded = (self.dialogue(part, persona_id) for part in parts)
        return tuple(exchanges for exchanges in encoded if exchanges)

    def episode(self, episode: Episode) -> EncodedEpisode:
        """Encode support and query."""
        name = episode.persona_id
        return EncodedEpisode(name, self.dialogues(episode.support, name), self.dialogues(episode.query, name))

    def after(self, exchange: EncodedExchange, before: Sequence[EncodedDialogue], limit: int) -> EncodedExchange:
        """Prepend whole dialogues to an exchange's context, the first ones first, within ``limit`` tokens."""
        opened = self._opened(exchange)
        room, kept = limit - len(opened.facts) - len(opened.context) - len(opened.reply), [exchange]
        for dialogue in reversed(before):
            room -= self.length_before(dialogue)
            if room < 0:
                self.cut["dialogues before a prompt"] += len(before) - len(kept) + 1
                break
            kept.insert(0, dialogue[-1])
        first = kept[0]
        rest = [first, *map(self._opened, kept[1:])]
        whole = [self._whole(each) for each in rest[:-1]]
        context = (*chain.from_iterable(ids for ids, _ in whole), *rest[-1].context)
        turns = (*chain.from_iterable(counts for _, counts in whole), *rest[-1].turns)
        facts = first.facts if self.chat_format.facts_in_turn else exchange.facts
        long = replace(exchange, facts=facts, context=context, turns=turns)
        return long if self.profile is None else _told_by_all(long, kept)

    def length_before(self, dialogue: EncodedDialogue) -> int:
        """Return the number of tokens that a dialogue takes before another one's context."""
        return len(self._whole(self._opened(dialogue[-1]))[0])

    def _opened(self, exchange: EncodedExchange) -> EncodedExchange:
        """Return an exchange whose first turn has its beginning, where that was with the facts."""
        opens = self.chat_format.turn_open
        in_turn = self.chat_format.facts_in_turn and exchange.facts != self.chat_format.preamble
        if not in_turn or not exchange.turns or exchange.turns[0][0]:
            return exchange
        turns = ((False, len(opens) + exchange.turns[0][1]), *exchange.turns[1:])
        return replace(exchange, context=(*opens, *exchange.context), turns=turns)

    def _whole(self, last: EncodedExchange) -> tuple[Ids, tuple[tuple[bool, int], ...]]:
        """Return a whole dialogue, from its last exchange, and its turns."""
        ids = (*last.context, *last.reply, *self.chat_format.after_end)
        return ids, (*last.turns, (True, len(ids) - sum(count for _, count in last.turns)))

    def reply_text(self, ids: Sequence[int]) -> str:
        """Return the text of generated ids, up to the end token."""
        return self.tokenizer.decode(list(takewhile(lambda id: id not in self.chat_format.ends, ids))).strip()

    @property
    def cut_text(self) -> str:
        """A text about what was left out so far, empty if nothing was."""
        return ", ".join(f"{count} {what}" for what, count in sorted(self.cut.items()))

    @property
    def unknown_text(self) -> str:
        """A text about unknown tokens and profile keys so far, empty if there were none."""
        share = self.read["unknown"] / max(self.read["tokens"], 1)
        said = [f"{share:.2%} of what is said is not in the vocabulary"] if share else []
        missing = self.profile.missing if self.profile else {}
        return ", ".join(said + [f"{count} profiles do not tell {key}" for key, count in sorted(missing.items())])

    def _profiled(
        self, encoded: EncodedExchange, context: Sequence[Turn], speaker: str, profiles: Mapping[str, Profile]
    ) -> EncodedExchange:
        """Return an exchange with the profiles of the speakers in its (truncated) context."""
        if self.profile is None:
            return encoded
        said = [turn.speaker for turn in context[len(context) - len(encoded.turns) :]]
        people = tuple(dict.fromkeys((speaker, *said)))
        read = tuple(self.profile.slots(profiles.get(person, {})) for person in people)
        return replace(encoded, profiles=read, turn_profiles=tuple(people.index(person) for person in said))

    def _before(self, turns: Sequence[tuple[bool, int]], head: Ids, facts: tuple[str, ...]) -> Ids:
        """Return what stands before a context's turns: ``head``, but for facts that open the first user turn."""
        if not self.chat_format.facts_in_turn or not facts or not turns or turns[0][0]:
            return head
        return self._facts(facts, user_first=True)

    def _facts(self, facts: tuple[str, ...], *, user_first: bool = False) -> Ids:
        if self.profile is not None:  # a model that reads profiles reads no facts
            return ()
        if not self.chat_format.fact_close:
            text = self.chat_format.cleaned("\n".join(facts)) if facts else ""
            return self.chat_format.facts(self.tokenizer, text, user_first=user_first)
        if not facts:
            return ()
        read = self._kept("facts", tuple(facts), self.caps.facts)
        pieces = [
            (*self._kept("fact tokens", self.tokenizer.encode(fact), self.caps.fact), *self.chat_format.fact_close)
            for fact in read
        ]
        room = self.max_length // 2  # the rest is the dialogue's
        while len(pieces) > 1 and sum(map(len, pieces)) > room:
            pieces.pop()
            self.cut["facts"] += 1
        return (*self.chat_format.facts_open, *chain.from_iterable(pieces), *self.chat_format.facts_close)

    def _count(self, ids: Ids) -> None:
        """Count tokens and unknown ones."""
        if self.tokenizer.unknown is not None:
            self.read.update(tokens=len(ids), unknown=ids.count(self.tokenizer.unknown))

    def _kept(self, what: str, pieces: tuple[Any, ...], most: int) -> tuple[Any, ...]:
        """Return the first ``most`` pieces (0 = all), the others counted as left out."""
        if most and len(pieces) > most:
            self.cut[what] += len(pieces) - most
            return pieces[:most]
        return pieces

    def _context(
        self, turns: Sequence[Turn], speaker: str, room: int, *, has_facts: bool
    ) -> tuple[Ids, tuple[tuple[bool, int], ...]]:
        """Return a context's ids within ``room`` tokens, and its turns.

        Where facts stand at the beginning of a user turn, a first turn that is not the persona's own has none.
        """
        said = _joined(turns, speaker) if self.chat_format.alternate else turns
        pieces: list[Ids] = []
        last = said[-self.caps.turns :]
        first: Place = "facts" if has_facts else "preamble"
        for number, turn in enumerate(reversed(last), start=1):
            piece = self._turn(turn, speaker, after="turn" if number < len(said) else first)
            if len(piece) > room:
                # The last turn alone is too long: its end is better than nothing.
                if room > 0 and (self.caps.through or not pieces):
                    self.cut["tokens"] += len(piece) - room
                    pieces.append(piece[len(piece) - room :])
                break
            pieces.append(piece)
            room -= len(piece)
        left_out = len(said) - len(pieces)
        if left_out:
            self.cut["turns"] += left_out
        if self.chat_format.facts_in_turn and has_facts and pieces and said[left_out].speaker != speaker:
            begun = self.chat_format.first_turn(self.tokenizer, self.chat_format.cleaned(said[left_out].text))
            pieces[-1] = begun if len(begun) <= len(pieces[-1]) else pieces[-1]  # else it was truncated
        whose = [(turn.speaker == speaker, len(piece)) for turn, piece in zip(reversed(said), pieces, strict=False)]
        ids = (*(i for piece in reversed(pieces) for i in piece), *self.chat_format.reply_open)
        return ids, tuple(reversed(whose))

    def _turn(self, turn: Turn, speaker: str, *, after: Place) -> Ids:
        own, most = turn.speaker == speaker, self.caps.utterance
        text = self.chat_format.cleaned(turn.text)
        if not most:
            if self.tokenizer.unknown is not None:
                self._count(self.tokenizer.encode(text))
            return self.chat_format.turn(self.tokenizer, text, own=own, after=after)
        content = self.tokenizer.encode(text)
        self._count(content)
        if len(content) > most:
            self.cut["utterance tokens"] += len(content) - most
            content = content[len(content) - most :]
        return turn_ids(self.chat_format, content, own=own)


def _joined(turns: Sequence[Turn], speaker: str) -> tuple[Turn, ...]:
    """Return turns in which neighbours by one side, the persona or the others, are one, their texts by line."""
    made: list[Turn] = []
    for turn in turns:
        if made and (made[-1].speaker == speaker) == (turn.speaker == speaker):
            made[-1] = Turn(made[-1].speaker, f"{made[-1].text}\n{turn.text}")
        else:
            made.append(turn)
    return tuple(made)


def _told_by_all(long: EncodedExchange, kept: Sequence[EncodedExchange]) -> EncodedExchange:
    """Return an exchange after others were prepended, with the profiles of all speakers; the replying persona is 0."""
    profiles = list(long.profiles[:1])
    turn_profiles: list[int] = []
    for each in kept:
        first = len(profiles) - 1
        profiles += each.profiles[1:]
        turn_profiles += [first + speaker if speaker else 0 for speaker in each.turn_profiles]
        if each is not kept[-1]:
            turn_profiles.append(0)
    return replace(long, profiles=tuple(profiles), turn_profiles=tuple(turn_profiles))
