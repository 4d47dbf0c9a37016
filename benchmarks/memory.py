"""Row group 5: the peak memory of one exact meta-step of a 124M GPT-2, adapters in all layers, each in its own process.

``python -m benchmarks.memory ours`` is such a process: it prints its peaks in bytes, after loading and at the end.
"""

import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from benchmarks.material import GPT2_124M, Size, exchange, network, ours
from benchmarks.meta_step import RATE, step
from benchmarks.paired import Figures, Ratio, Row
from benchmarks.peers.meta_engines import learn2learn, load_learn2learn
from benchmarks.peers.padded import twin
from menura.batches.encode import EncodedDialogue, EncodedEpisode

SUPPORT, QUERY = (64, 50, 43, 30), (58, 45, 40, 36)  # 366 tokens
AT_LEAST = 1 / 0.75
WHAT = "memory of an exact meta-step, 124M GPT-2, adapters in all layers, 366 tokens"


def rows() -> dict[str, Row]:
    """Return the rows by name."""
    return {"memory": run}


def run(rounds: int) -> Iterator[Ratio | Figures]:
    """Compare what a step adds to the loaded model, and the whole processes, once: memory does not vary."""
    del rounds
    mine, theirs = peaks("ours"), peaks("learn2learn")
    both = (("menura", mine), ("learn2learn", theirs))
    rows = tuple((name, f"{loaded / 1e6:.0f} MB", f"{peak / 1e6:.0f} MB") for name, (loaded, peak) in both)
    yield Figures(("memory of an exact meta-step", "after loading", "peak"), rows)
    added = (theirs[1] - theirs[0]) / max(mine[1] - mine[0], 1)
    yield Ratio(f"{WHAT}: beyond the loaded model", "learn2learn", added, added, added, 1, AT_LEAST, "less")
    whole = theirs[1] / mine[1]
    yield Ratio(f"{WHAT}: the whole process", "learn2learn", whole, whole, whole, 1, None, "less")


def peaks(engine: str) -> tuple[int, int]:
    """Return a fresh process's peaks in bytes, after loading and at the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.memory", engine]
    root = Path(__file__).parents[1]
    printed = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    loaded, peak = json.loads(printed.splitlines()[-1])
    return loaded, peak


def measured(engine: str, size: Size = GPT2_124M) -> tuple[int, int]:
    """Load, take one step, and return both peaks of this process in bytes."""
    load_learn2learn()
    model = ours(network(size), "all")
    episode = EncodedEpisode("random", dialogues(SUPPORT, size.vocabulary), dialogues(QUERY, size.vocabulary))
    way = partial(step, model, "exact", [episode])
    if engine == "learn2learn":
        way = partial(learn2learn, twin(model, copied=False), [episode], RATE, "exact")
    loaded = peak_bytes()
    way()
    return loaded, peak_bytes()


def dialogues(lengths: tuple[int, ...], vocabulary: int) -> tuple[EncodedDialogue, ...]:
    """Make sequences of these lengths."""
    stream = random.Random(sum(lengths))
    return tuple((exchange(stream, length, vocabulary),) for length in lengths)


def peak_bytes() -> int:
    """Return the most this program has held so far.

    Linux tells it in its status: ``ru_maxrss`` would begin at what the process that started this one had held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    print(json.dumps(measured(sys.argv[1])))
