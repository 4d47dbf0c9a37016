"""Processes that torchrun started become the ranks of one run, which notice when one of them is lost.

There are two channels. Messages (a step's numbers, errors, heartbeats) go through torch's store: waiting there for a
slow rank costs nothing, and a dead one has no heartbeat. Tensors go through gloo or NCCL, with a short time-out, once
messages have shown that every rank is there.
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from menura.artefacts.checkpoint import Checkpoint
from menura.errors import ConfigError, PeerError
from menura.training.distributed import ALONE, Made, Ranks, synchronized

BEAT_SECONDS = 0.5  # between two heartbeats
BEATS_MISSED = 20  # in a row, after which a rank is lost; torchrun gives the others 30 s to end
JOIN_SECONDS = 30  # until all ranks are there
TENSOR_SECONDS = 20  # for a sum or a broadcast when all ranks are there
LEAVE_SECONDS = 5  # that rank 0, which may host the store, waits for the others to read it
POLL_SECONDS = 0.02  # between two looks for another rank's message, at most


@dataclass(frozen=True)
class ProcessRank:
    """The rank of this process among all (``size``), as set by the launcher."""

    rank: int = 0
    size: int = 1
    local: int = 0  # the rank on this machine
    master_addr: str = ""  # MASTER_ADDR: the machine that hosts torch's store

    def device(self, wanted: str) -> str:
        """Return this rank's device: of several GPUs the one with its local rank; ConfigError if it is missing."""
        if self.size == 1 or wanted != "cuda":
            return wanted
        there = torch.cuda.device_count()
        if self.local >= there:
            hint = f"--nproc-per-node at most {there}, or --device cpu"
            raise ConfigError(f"rank {self.rank} wants GPU {self.local} of {there} on this machine", hint=hint)
        torch.cuda.set_device(self.local)
        return f"cuda:{self.local}"


def process_from_environment(environment: Mapping[str, str]) -> ProcessRank:
    """Read the launcher's variables; without them a process is alone. ConfigError if they make no sense."""
    if "WORLD_SIZE" not in environment:
        return ProcessRank()
    found = {name: environment.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    try:
        rank, size = int(found["RANK"]), int(found["WORLD_SIZE"])
        local = int(found["LOCAL_RANK"] or rank)
    except ValueError as error:
        raise _invalid_environment(found) from error
    if not 0 <= rank < size or local < 0:
        raise _invalid_environment(found)
    return ProcessRank(rank, size, local, environment.get("MASTER_ADDR", ""))


def _invalid_environment(found: Mapping[str, str]) -> ConfigError:
    listed = ", ".join(f"{name}={value!r}" for name, value in found.items())
    return ConfigError(f"environment: {listed} name no rank", hint="start ranks by torchrun, or unset WORLD_SIZE")


@contextmanager
def joined_ranks(process: ProcessRank, device: str) -> Iterator[Ranks]:
    """Join the ranks of this run while the block runs; a single process gets ``ALONE``. PeerError if not all join."""
    if process.size == 1:
        yield ALONE
        return
    group = _joined_group(process, device)
    try:
        yield group
    except PeerError as error:
        group.leave(error.problems[0].message)
        raise
    except BaseException as error:
        group.leave(f"rank {process.rank} left: {type(error).__name__}: {str(error)[:200]}")
        raise
    group.leave(f"rank {process.rank} is done")
    dist.destroy_process_group()


def _joined_group(process: ProcessRank, device: str) -> "Group":
    # Makes a missing sum raise an error; NCCL would end the process.
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    try:
        store, rank, size = next(rendezvous("env://", timeout=timedelta(seconds=JOIN_SECONDS)))
        heartbeat = Heartbeat(PrefixStore("pulse", store), process)
        dist.init_process_group(
            backend,
            store=PrefixStore("tensors", store),
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=TENSOR_SECONDS),
        )
    except (RuntimeError, ValueError) as error:
        said = str(error).splitlines()[0][:200]
        raise PeerError(f"the {process.size} ranks did not come together: {said}", hint=resume_hint()) from error
    store.set_timeout(timedelta(seconds=BEAT_SECONDS * BEATS_MISSED))  # its machine may be gone
    heartbeat.start()
    return Group(process, PrefixStore("words", store), heartbeat)


class Heartbeat:
    """Sends heartbeats and watches those of the others, in a thread.

    It counts looks without a change, not time: a process that was itself suspended has not looked.
    """

    def __init__(self, store: Store, process: ProcessRank) -> None:
        self.lost = ""  # the message once a rank is lost
        self._store, self._process = store, process
        self._last = [""] * process.size
        self._missed = [0] * process.size
        self._over = Event()
        self._thread = Thread(target=self._run, name="pulse", daemon=True)
        self._store.set(str(process.rank), "0")

    def start(self) -> None:
        """Start, once all ranks have sent their first heartbeat."""
        self._thread.start()

    def _run(self) -> None:
        count = 0
        while not self._over.wait(BEAT_SECONDS):
            count += 1
            try:
                self._store.set(str(self._process.rank), str(count))
                self.look()
            except RuntimeError:
                self.lost = (
                    self.lost or f"rank 0's machine ({self._process.master_addr}) or its launcher does not answer"
                )
                return

    def look(self) -> None:
        """Check which ranks have sent a heartbeat since the last look."""
        signs = [sign.decode() for sign in self._store.multi_get([str(rank) for rank in range(self._process.size)])]
        for rank, sign in enumerate(signs):
            self._missed[rank] = self._missed[rank] + 1 if sign == self._last[rank] else 0
        self._last = signs
        silent = [rank for rank, missed in enumerate(self._missed) if missed >= BEATS_MISSED]
        left = [sign for sign in signs if not sign.isdigit()]
        if self.lost or not (silent or left):
            return
        seconds = f"{BEAT_SECONDS * BEATS_MISSED:g} s"
        self.lost = left[0] if left else f"rank {', '.join(map(str, silent))} is lost: no sign of life for {seconds}"

    def reason(self) -> str:
        """Return the message about a rank whose loss was noticed elsewhere."""
        until = time.monotonic() + BEAT_SECONDS * (BEATS_MISSED + 3)
        while not self.lost and time.monotonic() < until:
            time.sleep(BEAT_SECONDS / 2)
        return self.lost

    def leave(self, message: str) -> None:
        """Stop with a last message; rank 0 waits a little for the others to leave, too."""
        self._over.set()
        self._thread.join(BEAT_SECONDS * BEATS_MISSED)
        try:
            self._store.set(str(self._process.rank), message)
            until = time.monotonic() + LEAVE_SECONDS
            while self._process.rank == 0 and time.monotonic() < until and not self._all_left():
                time.sleep(POLL_SECONDS)
        except RuntimeError:
            return  # the store is gone already

    def _all_left(self) -> bool:
        self.look()
        return all(
            not sign.isdigit() or missed >= BEATS_MISSED for sign, missed in zip(self._last, self._missed, strict=True)
        )


class Group:
    """The ranks of a run with several processes."""

    def __init__(self, process: ProcessRank, store: Store, heartbeat: Heartbeat) -> None:
        self.rank, self.size = process.rank, process.size
        self._local, self._store, self._heartbeat = process.local, store, heartbeat
        self._meetings = 0

    def all_gather_json(self, mine: Any) -> list[Any]:
        """Return each rank's ``mine``, in order of rank, once all have sent it."""
        number, self._meetings = self._meetings, self._meetings + 1
        keys = [f"{number}/{rank}" for rank in range(self.size)]
        with self._losing():
            self._store.set(keys[self.rank], json.dumps(mine))
            # A rank that sends in this exchange has read all of the previous one, so the one before that is over.
            if number >= 2:
                self._store.delete_key(f"{number - 2}/{self.rank}")
            pause = POLL_SECONDS / 100
            while not self._store.check(keys):
                if self._heartbeat.lost and not self._store.check(
                    keys
                ):  # a rank may have sent its value before it left
                    raise PeerError(self._heartbeat.lost, hint=resume_hint())
                time.sleep(pause)
                pause = min(2 * pause, POLL_SECONDS)
            return [json.loads(message) for message in self._store.multi_get(keys)]

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """All-reduce the gradients in one buffer, with a count of the ranks that have each."""
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        there = [float(each.grad is not None) for each in parameters]
        counts = gradients[0].new_tensor(there)
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), counts])
        with self._losing():
            dist.all_reduce(flat)
        *sums, counts = torch.split(flat, [*(each.numel() for each in parameters), len(parameters)])
        for each, total, count in zip(parameters, sums, counts.tolist(), strict=True):
            each.grad = total.view_as(each).to(each.dtype) if count else None

    def broadcast(self, state: Checkpoint) -> Checkpoint:
        """Return rank 0's state, tensor by tensor."""
        kinds = {"weights": state.weights, "optimizer": state.optimizer}
        shapes = {
            kind: {name: [list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in held.items()}
            for kind, held in kinds.items()
        }
        told = self.all_gather_json({"step": state.step, "state": dict(state.state), "shapes": shapes})[0]
        weights, optimizer = (self._received(kinds[kind], told["shapes"][kind]) for kind in ("weights", "optimizer"))
        return Checkpoint(told["step"], weights, optimizer, told["state"])

    def _received(self, mine: Mapping[str, Tensor], shapes: Mapping[str, Any]) -> dict[str, Tensor]:
        received = {}
        for name, (shape, kind) in shapes.items():
            empty = torch.empty(shape, dtype=getattr(torch, kind))
            value = empty if self.rank else mine[name].detach().cpu().contiguous()
            with self._losing():
                dist.broadcast(value, src=0)
            received[name] = value
        return received

    def make_in_turn(self, make: Callable[[], Made]) -> Made:
        """Return ``make()`` after rank 0 and after this machine's first rank, which may share a disk with this one."""
        turn = 0 if self.rank == 0 else 1 if self._local == 0 else 2
        made: list[Made] = []
        for now in range(3):
            with synchronized(self):
                if now == turn:
                    made.append(make())
        return made[0]

    def leave(self, message: str) -> None:
        """Tell the other ranks that this one leaves."""
        self._heartbeat.leave(message)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Raise an error that names the lost rank in place of torch's own."""
        try:
            yield
        except RuntimeError as error:
            said = self._heartbeat.reason() or f"a rank is lost: {str(error).splitlines()[0][:200]}"
            raise PeerError(said, hint=resume_hint()) from error


def resume_hint() -> str:
    """Return the hint that names the command that resumes this run."""
    words = shlex.join(sys.argv[1:])
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return f"the same command on every rank goes on: menura {words}"
    machines = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    flags = f"--nproc-per-node {os.environ.get('LOCAL_WORLD_SIZE', '1')}" + (
        f" --nnodes {machines}" if machines > 1 else ""
    )
    return f"to go on: torchrun {flags} -m menura {words}"
