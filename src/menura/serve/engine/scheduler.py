"""The engine: one thread that reads what waits and steps what runs, of all bases, and threads that prepare requests.

Only the engine's thread touches a model. Requests wait in the order in which they came; a prompt is read between two
steps, so that what runs goes on.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Condition, Thread
from typing import cast

import torch

from menura.artefacts.bases.dtype import Dtype
from menura.errors import (
    ConfigError,
    EngineError,
    MenuraError,
    OverloadedError,
    PersonaChangedError,
    UnavailableError,
)
from menura.serve.engine.prefix_cache import PrefixCache
from menura.serve.engine.prompts import prompt_of
from menura.serve.engine.residents import Residents
from menura.serve.engine.running import RunningModel, running_model
from menura.serve.engine.ticket import Ticket, prepared
from menura.serve.engine.token_choice import check_sampling
from menura.serve.engine.unbatched import reply_unbatched
from menura.serve.generation import EngineState, Event, GenerationRequest, ServedModel
from menura.serve.settings import ServerSettings

PREPARING = 2  # threads that read personas and encode prompts
TOKENS_BETWEEN_STEPS = 1024  # of prompts read before the next step of what runs
SECONDS_BETWEEN_CHECKS = 0.5
logger = logging.getLogger(__name__)


class BatchingEngine:
    """Continuous batching over personas; ``serve.generation.Engine`` has what it promises."""

    def __init__(self, settings: ServerSettings) -> None:
        own = settings.engine
        self._settings = own
        self._residents = Residents(
            own.resident_bytes,
            device=settings.device,
            dtype=cast(Dtype, settings.dtype),
            offline=settings.offline,
            store=settings.store,
        )
        self._prefixes = PrefixCache(own.prefix_bytes)
        self._models: dict[int, RunningModel | None] = {}  # by the identity of a loaded model
        self._waiting: deque[Ticket] = deque()
        self._preparing = 0
        self._wake = Condition()
        self._closing = False
        self._alive = True
        self._counts: Counter[str] = Counter()
        self._unbatched_runs = False
        self._pool = ThreadPoolExecutor(PREPARING, "prepare")
        self._checked = 0.0
        self._thread = Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of one request; closing the generator frees what it holds."""
        ticket = Ticket(request, asyncio.get_running_loop())
        self._enter(ticket)
        try:
            while (event := await ticket.next()) is not None:
                yield event
            self._counts["finished"] += 1
        except MenuraError as error:
            self._counts[error.problems[0].code] += 1
            raise
        finally:
            if not ticket.ended:
                self._counts["cancelled"] += 1
            ticket.cancelled = True
            with self._wake:
                self._wake.notify()

    def served(self) -> Sequence[ServedModel]:
        """Return the bases and personas, by name."""
        return self._residents.served()

    def find(self, name: str) -> ServedModel:
        """Return a base, a persona or a version of one; ConfigError ``model_not_found`` with the nearest."""
        return self._residents.find(name)

    def state(self) -> EngineState:
        """Return what it is doing."""
        models = [model for model in list(self._models.values()) if model is not None]
        return EngineState(
            running=sum(len(model.rows) for model in models) + self._unbatched_runs,
            waiting=len(self._waiting) + self._preparing,
            slots=self._settings.slots,
            resident_personas=len(self._residents),
            resident_bytes=self._residents.bytes,
            tokens=sum(model.tokens for model in models),
            models=self._residents.bases,
            alive=self._alive and self._thread.is_alive(),
            counts=dict(self._counts),
        )

    def close(self) -> None:
        """Stop at once; what runs raises UnavailableError."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _enter(self, ticket: Ticket) -> None:
        """Let a request wait; OverloadedError if too many do, ConfigError for more replies than may run at once."""
        own, count = self._settings, ticket.request.count
        if not 1 <= count <= min(own.max_count, own.slots):
            message = f"n {count}: 1 to {min(own.max_count, own.slots)} wanted"
            raise ConfigError(message, code="invalid_value")
        check_sampling(ticket.request.sampling)
        with self._wake:
            if self._closing or not self._alive:
                raise _stopping()
            if len(self._waiting) + self._preparing >= own.max_waiting:
                raise _overloaded(f"{own.max_waiting} requests wait already")
            self._preparing += 1
        self._pool.submit(self._prepare, ticket)

    def _prepare(self, ticket: Ticket) -> None:
        """Read the persona and encode the prompt, beside the engine's thread."""
        try:
            if not ticket.cancelled:
                ticket.resident = self._residents.get(ticket.request.model)
                ticket.prompt = prompt_of(ticket.resident, ticket.request, self._settings.default_new_tokens)
        except MenuraError as error:
            ticket.end(error)
        except Exception:  # whatever it is, this one request fails and the others go on
            logger.exception("a request could not be prepared")
            ticket.end(EngineError("the request could not be prepared"))
        with self._wake:
            self._preparing -= 1
            if self._closing or not self._alive:  # nobody looks at the queue any more
                ticket.end(_stopping())
            elif not ticket.ended:
                self._queue(ticket)
            self._wake.notify()

    def _queue(self, ticket: Ticket) -> None:
        waiting = sum(len(one.prompt.ids) for one in self._waiting if one.prompt)
        if ticket.prompt and waiting + len(ticket.prompt.ids) > self._settings.max_waiting_tokens and self._waiting:
            ticket.end(_overloaded(f"{waiting:,} tokens wait already"))
        else:
            self._waiting.append(ticket)

    def _run(self) -> None:
        try:
            with torch.no_grad():
                while not self._closing:
                    self._turn()
        except Exception:  # a fault of the engine itself: say so instead of hanging
            logger.exception("the engine stopped")
        finally:
            self._alive = False
            self._end_all(_stopping())

    def _turn(self) -> None:
        """Take in what may run, and give each running reply a token; wait if there is nothing to do."""
        self._check()
        self._admit(self._admissible())
        for key, model in list(self._models.items()):
            if model is not None and model.rows:
                self._step(key, model)
        with self._wake:
            idle = not any(model and model.rows for model in self._models.values())
            if idle and not self._may_run() and not self._closing:
                self._wake.wait(SECONDS_BETWEEN_CHECKS)

    def _step(self, key: int, model: RunningModel) -> None:
        model.sweep()
        tickets = {row.ticket for row in model.rows}
        with self._failing(tickets):
            model.step()
            return
        del self._models[key]  # its batch may be half changed: a new one is begun with the next request

    def _may_run(self) -> bool:
        """Return whether any that waits fits beside what runs."""
        busy = self._busy()
        return any(self._fits(ticket, busy) for ticket in self._waiting)

    def _busy(self) -> Counter[str]:
        """Return the number of rows of each owner."""
        return Counter(row.ticket.request.owner for model in self._models.values() if model for row in model.rows)

    def _admissible(self) -> list[Ticket]:
        """Take out of the queue what fits beside what runs, in its order; those of an owner with enough rows stay."""
        tokens, busy, admissible = 0, self._busy(), []
        while tokens < TOKENS_BETWEEN_STEPS:
            with self._wake:
                ticket = next((one for one in self._waiting if self._fits(one, busy)), None)
                if ticket is None:
                    break
                self._waiting.remove(ticket)
            if ticket.cancelled:
                ticket.end()
                continue
            admissible.append(ticket)
            tokens += len(prepared(ticket).prompt.ids)
            busy[ticket.request.owner] += ticket.request.count
        return admissible

    def _fits(self, ticket: Ticket, busy: Counter[str]) -> bool:
        """Return whether a ticket may run beside so many rows of each owner; what nobody waits for may, to its end."""
        own, count, owner = self._settings, ticket.request.count, ticket.request.owner
        if ticket.cancelled:
            return True
        # Who has nothing running may have one request that is larger than its share.
        if own.slots_per_owner and owner and busy[owner] and busy[owner] + count > own.slots_per_owner:
            return False
        return busy.total() + count <= own.slots

    def _admit(self, tickets: Sequence[Ticket]) -> None:
        """Let tickets run: those of one model are read in one pass, of models without a batch each runs to its end."""
        together: dict[int, list[Ticket]] = {}
        for ticket in tickets:
            resident, _ = prepared(ticket)
            loaded = resident.agent.loaded
            key = id(loaded.model)
            if key not in self._models:
                self._models[key] = running_model(loaded, self._prefixes)
            model = self._models[key]
            if model is not None and model.fits(resident.agent):
                together.setdefault(key, []).append(ticket)
            else:
                with self._failing([ticket]):
                    self._reply_unbatched(ticket)
        for key, some in together.items():
            model = self._models[key]
            assert model is not None, "those without a batch have replied"
            with self._failing(some):
                model.admit(some)

    @contextmanager
    def _failing(self, tickets: Iterable[Ticket]) -> Iterator[None]:
        """End tickets with the error of what is done for them, whatever it is: the others and the server go on."""
        try:
            yield
        except MenuraError as error:
            for ticket in tickets:
                ticket.end(error)
        except Exception:  # as said above
            logger.exception("a request failed")
            for ticket in tickets:
                ticket.end(EngineError("the engine failed at this reply", hint="send it again"))

    def _reply_unbatched(self, ticket: Ticket) -> None:
        self._unbatched_runs = True
        try:
            with closing(reply_unbatched(ticket)) as pieces:  # closed, the model has its own weights again
                for _ in pieces:
                    if ticket.cancelled or self._closing:
                        ticket.end(_stopping() if self._closing else None)
                        break
        finally:
            self._unbatched_runs = False

    def _check(self) -> None:
        """Now and then: end what waited too long, and what is of a persona that was deleted; forget both."""
        now = time.monotonic()
        if now < self._checked + SECONDS_BETWEEN_CHECKS:
            return
        self._checked = now
        with self._wake:
            late = [one for one in self._waiting if now - one.entered > self._settings.max_wait or one.cancelled]
            for ticket in late:
                self._waiting.remove(ticket)
                ticket.end(_overloaded(f"it waited for {self._settings.max_wait:g} s"))
        self._prefixes.forget(self._residents.forget_deleted())
        for model in self._models.values():
            for ticket in {row.ticket for row in model.rows} if model else ():
                if ticket.resident and not self._residents.is_there(ticket.resident):
                    ticket.end(PersonaChangedError(f"persona {ticket.resident.name!r} was deleted"))
            if model:
                model.sweep()

    def _end_all(self, error: MenuraError) -> None:
        with self._wake:
            waiting = list(self._waiting)
            self._waiting.clear()
        running = [row.ticket for model in self._models.values() if model for row in model.rows]
        for ticket in (*waiting, *running):
            ticket.end(error)


def _stopping() -> UnavailableError:
    return UnavailableError("the server is stopping", hint="send it again in a moment")


def _overloaded(message: str) -> OverloadedError:
    return OverloadedError(message, retry_after=1, hint="send it again after a second")
