import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from counts import count
from made_up_chat import settings, write
from rank_processes import begin
from small_training import status

import menura
from menura.artefacts import tensors

STEPS = count(full_count=100, quick_count=40)
RUNS, KILLS = count(full_count=4, quick_count=1), count(full_count=5, quick_count=3)  # 20 kills, or 3
AT_A_SAVE = 0.4  # share of kills aimed at the moment a checkpoint is being written
PATIENCE = 60.0  # seconds


def words(corpus: Path, out: Path) -> list[str]:
    """Return the words of one small training that saves all the time."""
    more = (f"outer.steps={STEPS}", "outer.save_every=2", "outer.eval_every=6")
    return ["train", "tiny/maml", "--out", str(out), *settings(corpus, *more)]


def uninterrupted(given: Sequence[str], home: Path) -> None:
    """Run a training as a user does, in a new interpreter."""
    about = {"PYTHONPATH": str(Path(menura.__file__).parents[1]), "MENURA_HOME": str(home)}
    command = [sys.executable, "-m", "menura", *given]
    done = subprocess.run(command, env=os.environ | about, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def finish(given: Sequence[str], home: Path) -> None:
    """Run a training to its end."""
    said = home.with_suffix(".out")
    process = begin(given, home, said)
    process.join(PATIENCE)
    assert process.exitcode == 0, said.read_text(encoding="utf-8")


def result(out: Path) -> dict[str, object]:
    """Return the hashes of what a run ends in, and its loss by step."""
    last = out / "checkpoints" / f"step_{STEPS:06d}"
    files = (last / "model.safetensors", last / "optimizer.safetensors", last / "state.json")
    best = out / "best.safetensors"
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    trace = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    # The library writes a file's notes in any order, so that file's bytes say nothing.
    kept = (tensors.content_sha256(tensors.load(best)), tensors.metadata(best))
    return {
        **hashes,
        "best": kept,
        "trace": trace,
        "status": status(out),
    }


def lines(out: Path) -> int:
    """Return how far a run's trace is."""
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill(process: Any, out: Path, rng: random.Random, *, at_a_save: bool) -> bool:
    """Kill -9 a training a few steps from where it begins; tell whether it was still at work."""
    goal = lines(out) // 2 * 2 + rng.randrange(2, 2 * STEPS // (KILLS + 3))
    until = time.monotonic() + PATIENCE
    while process.is_alive() and time.monotonic() < until:
        far_enough = lines(out) >= goal
        if far_enough and (not at_a_save or list(out.glob("checkpoints/.*"))):
            break
        # Waiting for a save is spinning: the folder is there for a millisecond or two.
        if not (far_enough and at_a_save):
            time.sleep(0.002)
    time.sleep(rng.random() * (0.002 if at_a_save else 0.02))
    process.kill()
    process.join(PATIENCE)
    return bool(process.exitcode == -signal.SIGKILL)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    corpus, home = write(tmp_path / "chat.jsonl"), tmp_path / "home"
    uninterrupted(words(corpus, tmp_path / "whole"), home)
    wanted = result(tmp_path / "whole")
    killed = 0
    for number in range(RUNS):
        rng = random.Random(f"kills:{number}")
        out = tmp_path / f"killed-{number}"
        for _ in range(KILLS):
            process = begin(words(corpus, out), home, home.with_suffix(".out"))
            killed += kill(process, out, rng, at_a_save=rng.random() < AT_A_SAVE)
        finish(words(corpus, out), home)
        assert result(out) == wanted, f"run {number} differs after its kills"
        assert not list(out.rglob(".*")), "something half-written was left behind"
    assert killed == RUNS * KILLS, "a kill came too late to count"
