"""An exchange becomes token ids: facts, context, reply. Truncation lives here and nowhere else."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from menura.batches.layout import Layout
from menura.batches.tokenizer import Tokens
from menura.corpus.dialogue import Turn
from menura.episodes.episode import Episode
from menura.errors import DataError
from menura.tasks.task import Exchange, Part

Ids = tuple[int, ...]


@dataclass(frozen=True)
class EncodedExchange:
    """One exchange as ids; the model reads facts, then context, then predicts the reply (end token included).

    ``turns`` says whose the context's tokens are, as (the persona's own, tokens) by turns; what opens the reply is the
    persona's own too. ``rivals`` are exchanges of other personas whose replies (or facts) are wrong here.
    """

    persona_id: str
    dialogue_id: str
    facts: Ids
    context: Ids
    reply: Ids
    turns: tuple[tuple[bool, int], ...] = ()
    rivals: tuple["EncodedExchange", ...] = ()

    @property
    def prefix(self) -> Ids:
        """All that is read before the reply."""
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
class Caps:
    """The most that is read of each piece (0 = no bound): an utterance's last tokens, a reply's or fact's first.

    ``through`` cuts through the oldest turn that still has room for its end; otherwise turns are left out whole.
    """

    utterance: int = 0
    reply: int = 0
    turns: int = 0
    facts: int = 0
    fact: int = 0
    through: bool = False


@dataclass(frozen=True)
class Encoder:
    """Text in, ids out, with one layout and one length limit (``limit`` tokens a sequence, the reply included).

    Too long a sequence loses its oldest turns whole; the last turn is cut from the left if it alone is too long. Facts
    and reply are never cut: if they alone exceed the limit a DataError says so. ``cut`` counts what was left out.
    """

    tokens: Tokens
    layout: Layout
    limit: int = 512
    cut: Counter[str] = field(default_factory=Counter, compare=False)
    caps: Caps = Caps()

    def exchange(self, exchange: Exchange, persona_id: str = "") -> EncodedExchange:
        """Encode one exchange with its reply and the end token."""
        said = self._kept("reply tokens", self.tokens.encode(exchange.reply.text), self.caps.reply)
        reply = (*said, self.layout.end)
        facts = self._facts(exchange.facts)
        room = self.limit - len(facts) - len(reply) - len(self.layout.reply_open)
        if room < 0:
            raise DataError(
                f"facts and reply of {exchange.dialogue_id!r} take {self.limit - room} tokens, limit {self.limit}",
                code="too_long",
                hint="raise it with --set model.limit=…, or shorten the reply",
            )
        context, turns = self._context(exchange.context, exchange.reply.speaker, room)
        return EncodedExchange(persona_id, exchange.dialogue_id, facts, context, reply, turns)

    def prompt(self, context: Sequence[Turn], speaker: str, facts: Sequence[str] = (), *, room: int) -> EncodedExchange:
        """Encode a context to reply to, leaving ``room`` tokens for the reply, which is empty here."""
        head = self._facts(tuple(facts))
        left = self.limit - len(head) - room - len(self.layout.reply_open)
        if left < 0:
            raise DataError(f"facts take {len(head)} tokens, which leaves no room for a reply", code="too_long")
        read, turns = self._context(tuple(context), speaker, left)
        return EncodedExchange("", "", head, read, (), turns)

    def dialogue(self, part: Part, persona_id: str) -> EncodedDialogue:
        """Encode every exchange of one dialogue; those whose reply alone is too long are left out and counted."""
        made = []
        for exchange in part.exchanges():
            try:
                made.append(self.exchange(exchange, persona_id))
            except DataError:
                self.cut["exchanges"] += 1
        return tuple(made)

    def dialogues(self, parts: Sequence[Part], persona_id: str) -> tuple[EncodedDialogue, ...]:
        """Encode dialogues, leaving out those in which the persona never replies."""
        encoded = (self.dialogue(part, persona_id) for part in parts)
        return tuple(exchanges for exchanges in encoded if exchanges)

    def episode(self, episode: Episode) -> EncodedEpisode:
        """Encode support and query."""
        name = episode.persona.persona_id
        return EncodedEpisode(name, self.dialogues(episode.support, name), self.dialogues(episode.query, name))

    def after(self, exchange: EncodedExchange, before: Sequence[EncodedDialogue], limit: int) -> EncodedExchange:
        """Put whole dialogues before an exchange's own context, within ``limit`` tokens; the first ones go first."""
        room = limit - len(exchange.ids)
        pieces: list[Ids] = []
        turns = exchange.turns
        for dialogue in reversed(before):
            last = dialogue[-1]
            piece = (*last.context, *last.reply, *self.layout.after_end)
            if len(piece) > room:
                self.cut["dialogues before a prompt"] += len(before) - len(pieces)
                break
            pieces.append(piece)
            room -= len(piece)
            said = sum(count for _, count in last.turns)
            turns = (*last.turns, (True, len(piece) - said), *turns)
        context = (*(i for piece in reversed(pieces) for i in piece), *exchange.context)
        return replace(exchange, context=context, turns=turns)

    def reply_text(self, ids: Sequence[int]) -> str:
        """Return the text of generated ids, up to the end token."""
        kept = list(ids)
        if self.layout.end in kept:
            kept = kept[: kept.index(self.layout.end)]
        return self.tokens.decode(kept).strip()

    @property
    def cut_text(self) -> str:
        """Say what was left out so far, empty if nothing was."""
        return ", ".join(f"{count} {what}" for what, count in sorted(self.cut.items()))

    def _facts(self, facts: Sequence[str]) -> Ids:
        if not facts:
            return ()
        if not self.layout.fact_close:
            return (*self.layout.facts_open, *self.tokens.encode("\n".join(facts)), *self.layout.facts_close)
        read = self._kept("facts", tuple(facts), self.caps.facts)
        pieces = [
            (*self._kept("fact tokens", self.tokens.encode(fact), self.caps.fact), *self.layout.fact_close)
            for fact in read
        ]
        room = self.limit // 2  # the rest is the dialogue's
        while len(pieces) > 1 and sum(map(len, pieces)) > room:
            pieces.pop()
            self.cut["facts"] += 1
        return (*self.layout.facts_open, *chain.from_iterable(pieces), *self.layout.facts_close)

    def _kept(self, what: str, pieces: tuple[Any, ...], most: int) -> tuple[Any, ...]:
        """Return the first ``most`` pieces (0 = all), the others counted as left out."""
        if most and len(pieces) > most:
            self.cut[what] += len(pieces) - most
            return pieces[:most]
        return pieces

    def _context(self, turns: Sequence[Turn], speaker: str, room: int) -> tuple[Ids, tuple[tuple[bool, int], ...]]:
        pieces: list[Ids] = []
        last = turns[-self.caps.turns :]
        for turn in reversed(last):
            piece = self._turn(turn, speaker)
            if len(piece) > room:
                # The last turn alone is too long: its end says more than nothing.
                if room > 0 and (self.caps.through or not pieces):
                    self.cut["tokens"] += len(piece) - room
                    pieces.append(piece[len(piece) - room :])
                break
            pieces.append(piece)
            room -= len(piece)
        left_out = len(turns) - len(pieces)
        if left_out:
            self.cut["turns"] += left_out
        whose = [(turn.speaker == speaker, len(piece)) for turn, piece in zip(reversed(turns), pieces, strict=False)]
        ids = (*(i for piece in reversed(pieces) for i in piece), *self.layout.reply_open)
        return ids, tuple(reversed(whose))

    def _turn(self, turn: Turn, speaker: str) -> Ids:
        content = self.tokens.encode(turn.text)
        most = self.caps.utterance
        if most and len(content) > most:
            self.cut["utterance tokens"] += len(content) - most
            content = content[len(content) - most :]
        return self.layout.turn(content, own=turn.speaker == speaker)
