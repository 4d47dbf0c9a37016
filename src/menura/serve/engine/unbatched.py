"""Replies of models that cannot be continued in one batch: one request after the other, token by token."""

from collections.abc import Generator, Iterable

from menura.decoding.generate import Decoding
from menura.serve.engine.reply_text import ReplyText
from menura.serve.engine.running import check_batchable
from menura.serve.engine.ticket import Ticket, prepared
from menura.serve.engine.token_choice import seed_of, token_choices
from menura.serve.generation import Begun, Delta, Finished, Ranked


def reply_unbatched(ticket: Ticket) -> Generator[None, None, None]:
    """Give a ticket its replies, yielding after each token so that the caller can see whether anybody still waits.

    The model has the persona's weights until the iteration ends or is closed. Raises ConfigError for what only a batch
    can do.
    """
    check_batchable(ticket)
    request, (resident, prompt) = ticket.request, prepared(ticket)
    ticket.give(Begun(request.model, resident.version, len(prompt.ids), 0, prompt.recalled, prompt.notes))
    choice, first = _choice(ticket), seed_of(request.sampling)
    agent, most = prompt.agent, prompt.max_new_tokens
    if request.count > 1 or agent.num_latents:
        made = agent.candidates(request.turns, request.count, decoding=choice, max_new_tokens=most, seed=first)
        for index, one in enumerate(made):
            yield from _reply(ticket, index, one.ids)
        if request.ranked:
            ticket.give(Ranked(tuple(one.score or -one.nll for one in made), 0))
    else:
        ids = agent.stream_ids(request.turns, decoding=choice, max_new_tokens=most, seed=first)
        yield from _reply(ticket, 0, ids)
    ticket.end()


def _reply(ticket: Ticket, index: int, ids: Iterable[int]) -> Generator[None, None, None]:
    """Give one reply as its tokens come, up to a stop string."""
    _, prompt = prepared(ticket)
    text, tokens = ReplyText(prompt.agent.loaded.encoder.tokenizer, ticket.request.stop), 0
    for token in ids:
        tokens += 1
        if piece := text.add(token):
            ticket.give(Delta(index, piece))
        if text.stopped:
            break
        yield
    if rest := text.rest():
        ticket.give(Delta(index, rest))
    cut = tokens >= prompt.max_new_tokens and not text.stopped
    ticket.give(Finished(index, "length" if cut else "stop", tokens))


def _choice(ticket: Ticket) -> Decoding:
    sampling = ticket.request.sampling
    return token_choices(sampling, 1, (), max_new_tokens=0, min_new_tokens=0)[0].choice
