"""Replies of models that cannot be continued in one batch: one request after the other, token by token."""

from collections.abc import Generator

from menura.decoding.generate import Decoding
from menura.serve.engine.running import check_batchable
from menura.serve.engine.ticket import Ticket, prepared
from menura.serve.engine.token_choice import seed_of, token_choices
from menura.serve.generation import Begun, Delta, Finished, Ranked


def reply_alone(ticket: Ticket) -> Generator[None, None, None]:
    """Give a ticket its replies, yielding after each piece so that the caller can see whether anybody still waits.

    The model has the persona's weights until the iteration ends or is closed. Raises ConfigError for what only a batch
    can do.
    """
    check_batchable(ticket)
    request, (resident, prompt) = ticket.request, prepared(ticket)
    ticket.give(Begun(request.model, resident.version, len(prompt.ids), 0, prompt.recalled, prompt.notes))
    choice, first = _choice(ticket), seed_of(request.sampling)
    agent, tokenizer, most = prompt.agent, prompt.agent.loaded.encoder.tokenizer, prompt.max_new_tokens
    if request.count > 1:
        found = agent.candidates(request.turns, request.count, decoding=choice, max_new_tokens=most, seed=first)
        for index, one in enumerate(found):
            tokens = len(tokenizer.encode(one.text))
            ticket.give(Delta(index, one.text), Finished(index, "stop", tokens))
        if request.ranked:
            ticket.give(Ranked(tuple(one.score or -one.nll for one in found), 0))
    else:
        whole = ""
        for piece in agent.stream(request.turns, decoding=choice, max_new_tokens=most, seed=first):
            stopped = min((at for at in map((whole + piece).find, request.stop) if at >= 0), default=-1)
            shown = piece if stopped < 0 else (whole + piece)[:stopped][len(whole) :]
            whole += piece
            ticket.give(Delta(0, shown))
            if stopped >= 0:
                break
            yield
        ticket.give(Finished(0, "stop", len(tokenizer.encode(whole))))
    ticket.end()


def _choice(ticket: Ticket) -> Decoding:
    sampling = ticket.request.sampling
    return token_choices(sampling, 1, (), max_new_tokens=0, min_new_tokens=0)[0].choice
