"""The replies of one loaded model that run at once: each step gives every row its next token."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from menura.api.agent import Agent
from menura.artefacts.loading import LoadedModel
from menura.errors import ConfigError, EngineError, MenuraError
from menura.models.causal_lm.slot_cache import CachedPrefix
from menura.models.causal_lm.slots import CausalSlots, PendingPrompt, slots_of
from menura.serve.engine.prefix_cache import PrefixCache
from menura.serve.engine.prompts import Prompt
from menura.serve.engine.reply_text import ReplyText
from menura.serve.engine.scoring import echoed, ranked
from menura.serve.engine.ticket import Ticket, prepared
from menura.serve.engine.token_choice import TokenChoice, chosen, token_choices, with_logprob
from menura.serve.generation import Begun, Delta, Finished, FinishReason, TokenLogprob


@dataclass(eq=False)
class RunningReply:
    """One reply that runs: choice ``index`` of a ticket."""

    ticket: Ticket
    index: int
    choice: TokenChoice
    text: ReplyText
    logprobs: list[TokenLogprob] = field(default_factory=list)  # of tokens whose text is held back


@dataclass(eq=False)
class ReplyGroup:
    """The replies of one ticket: those that run, and the tokens of those that have ended."""

    running: int
    replies: dict[int, tuple[int, ...]] = field(default_factory=dict)


class RunningModel:
    """A loaded model and the rows of its batch; used from one thread."""

    def __init__(self, loaded: LoadedModel, slots: CausalSlots, prefixes: PrefixCache) -> None:
        self.loaded = loaded
        self.rows: list[RunningReply] = []  # row i stands in slot i
        self.tokens = 0
        self._slots = slots
        self._prefixes = prefixes
        self._groups: dict[Ticket, ReplyGroup] = {}

    def fits(self, agent: Agent) -> bool:
        """Return whether an agent can have a row: its weights are adapters, and its strength is the model's own."""
        return agent.strength is None and self._slots.fits(agent.weights)

    def admit(self, tickets: Sequence[Ticket]) -> None:
        """Read the prompts of tickets in one pass, and give each of their replies a row and its first token."""
        cached = [self._prefixes.longest(one.resident.key, one.prompt.ids) for one in map(prepared, tickets)]
        pending = [
            PendingPrompt(one.prompt.ids, one.prompt.agent.weights, one.prompt.agent.cache, before)
            for one, before in zip(map(prepared, tickets), cached, strict=True)
        ]
        for ticket, asked, (logits, prefix) in zip(tickets, pending, self._slots.read(pending), strict=True):
            try:
                self._begin(ticket, asked, logits, prefix)
            except MenuraError as error:
                self.fail(ticket, error)

    def _begin(self, ticket: Ticket, asked: PendingPrompt, logits: Tensor, prefix: CachedPrefix) -> None:
        request, (resident, prompt) = ticket.request, prepared(ticket)
        cached = len(asked.prefix.ids) if asked.prefix else 0
        ticket.give(Begun(request.model, resident.version, len(prompt.ids), cached, prompt.recalled, prompt.notes))
        self._groups[ticket] = ReplyGroup(request.count)
        rows = [self._row(ticket, index, choice, prompt) for index, choice in enumerate(self._choices(ticket, prompt))]
        if request.prompt is not None and request.echo:
            for row in rows:
                ticket.give(echoed(self.loaded, prompt.agent, prompt.ids, row.index, request.top_logprobs))
        if prompt.max_new_tokens == 0:
            for row in rows:
                self._end(row, "length", None)
            return
        for row in rows:
            self._slots.put(prefix, asked.weights, asked.cache)
            self.rows.append(row)
        if request.count > 1:
            self._prefixes.keep(resident.key, prefix)
        first = len(self.rows) - len(rows)
        self._take(logits.expand(len(rows), -1), range(first, len(self.rows)))

    def _choices(self, ticket: Ticket, prompt: Prompt) -> list[TokenChoice]:
        request, ends = ticket.request, self.loaded.encoder.chat_format.ends
        return token_choices(
            request.sampling,
            request.count,
            ends,
            max_new_tokens=prompt.max_new_tokens,
            min_new_tokens=request.min_new_tokens,
        )

    def _row(self, ticket: Ticket, index: int, choice: TokenChoice, prompt: Prompt) -> RunningReply:
        text = ReplyText(self.loaded.encoder.tokenizer, ticket.request.stop, strip=prompt.exchange is not None)
        return RunningReply(ticket, index, choice, text)

    def step(self) -> None:
        """Give each row its next token."""
        if self.rows:
            last = torch.tensor([row.choice.written[-1] for row in self.rows], device=self.loaded.model.device)
            self._take(self._slots.step(last), range(len(self.rows)))

    def _take(self, logits: Tensor, places: Sequence[int]) -> None:
        """Choose the next token of some rows by their logits (B, V); those that have ended leave."""
        rows = [self.rows[place] for place in places]
        whole = logits.amax(-1).isfinite().tolist()  # the largest of a row is NaN if any is
        tokens = chosen(
            logits.nan_to_num(0.0, neginf=-torch.inf) if not all(whole) else logits, [row.choice for row in rows]
        )
        ended: list[int] = []
        for row, place, token, own, finite in zip(rows, places, tokens, logits, whole, strict=True):
            if not finite:
                self.fail(row.ticket, EngineError("a reply's scores are not finite", hint="adapt the persona again"))
            elif not row.ticket.ended:
                reason = self._taken(row, token, own)
                if reason is not None:
                    self._end(row, reason, place)
                    ended.append(place)
        self.tokens += len(rows)
        failed = [place for place, row in enumerate(self.rows) if row.ticket.ended and place not in ended]
        self._remove([*ended, *failed])

    def _taken(self, row: RunningReply, token: int, logits: Tensor) -> FinishReason | None:
        """Add a token to a row; return why it has ended, if it has."""
        if token in row.choice.ends:
            return "stop"
        row.choice.written.append(token)
        top = row.ticket.request.top_logprobs
        if top is not None:
            row.logprobs.append(with_logprob(logits, token, top, self.loaded.encoder.tokenizer))
        self._give(row, row.text.add(token))
        if row.text.stopped:
            return "stop"
        return "length" if len(row.choice.written) == len(row.choice.uniforms) else None

    def _give(self, row: RunningReply, text: str) -> None:
        if text:
            row.ticket.give(Delta(row.index, text, tuple(row.logprobs)))
            row.logprobs.clear()

    def _end(self, row: RunningReply, reason: FinishReason, place: int | None) -> None:
        """Give a row's rest and its end, and that of its ticket with the last of its rows."""
        ticket, written = row.ticket, row.choice.written
        rest = row.text.rest()
        if rest or row.logprobs:
            ticket.give(Delta(row.index, rest, tuple(row.logprobs)))
        ticket.give(Finished(row.index, reason, len(written)))
        group, (resident, prompt) = self._groups[ticket], prepared(ticket)
        if place is not None and ticket.request.count == 1:
            self._prefixes.keep(resident.key, self._slots.prefix(place, (*prompt.ids, *written)))
        group.running -= 1
        group.replies[row.index] = tuple(written)
        if group.running == 0:
            del self._groups[ticket]
            if ticket.request.ranked:
                ticket.give(ranked(self.loaded.model, prompt, [group.replies[i] for i in sorted(group.replies)]))
            ticket.end()

    def fail(self, ticket: Ticket, error: Exception | None) -> None:
        """End a ticket that runs; its rows leave with the next ``sweep`` or step."""
        self._groups.pop(ticket, None)
        ticket.end(error)

    def sweep(self) -> None:
        """Take out the rows of tickets that have ended or that nobody waits for."""
        gone = [place for place, row in enumerate(self.rows) if row.ticket.cancelled or row.ticket.ended]
        for place in gone:
            self.fail(self.rows[place].ticket, None)
        self._remove(gone)

    def _remove(self, places: Sequence[int]) -> None:
        for place in sorted(places, reverse=True):
            last = self._slots.remove(place)
            self.rows[place] = self.rows[last]
            self.rows.pop()


def running_model(loaded: LoadedModel, prefixes: PrefixCache) -> RunningModel | None:
    """Return a model without rows; None for one whose replies cannot be continued in one batch."""
    slots = slots_of(loaded.model)
    return None if slots is None else RunningModel(loaded, slots, prefixes)


def check_batchable(ticket: Ticket) -> None:
    """Raise ConfigError for what only a batch can do, of a model without a batch."""
    request, asked = ticket.request, ticket.request.sampling
    penalised = asked.presence_penalty or asked.frequency_penalty or asked.repetition_penalty != 1
    scored = request.prompt is not None or request.top_logprobs is not None
    if scored or penalised or asked.logit_bias or request.min_new_tokens:
        message = (
            f"{request.model}: this kind of model takes no raw prompt, logprobs, logit_bias, min_tokens or penalties"
        )
        raise ConfigError(message, hint="leave them out", code="unsupported_parameter")
