import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import counts
import pytest
import torch
from made_up_chat import settings, write
from rank_processes import Broken, Poisoned, Signalled, ended, run
from small_training import STEPS, config_for, status, train
from small_training import ended as ended_in
from torch import Tensor

import menura
from menura.artefacts import tensors
from menura.training.run_folder import Run
from menura.training.run_setup import prepare
from menura.training.torchrun import joined_ranks, process_from_environment
from menura.training.trainer import Training

PAIR = (
    "outer.meta_batch_size=2"  # over two ranks the gradient is a sum of two, which has one rounding whoever computes it
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what one process alone ends in."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(config_for(corpus, PAIR), folder)
    return ended_in(folder)


def words(corpus: Path, out: Path, *more: str) -> list[str]:
    return ["train", "tiny/maml", "--out", str(out), *settings(corpus, f"outer.steps={STEPS}", PAIR, *more)]


def newest(out: Path) -> Mapping[str, Tensor]:
    return tensors.load(max((out / "checkpoints").glob("step_*")) / "model.safetensors")


def furthest(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> float:
    """Return the largest difference between tensors of the same names, as a share of the largest value."""
    assert some.keys() == others.keys()
    largest = max(float(value.abs().max()) for value in others.values())
    return max(float((some[name] - others[name]).abs().max()) for name in some) / largest


IN_FULL = pytest.mark.skipif(counts.count(full_count=0, quick_count=1), reason="with --full only")
GRADIENTS = (
    ("tiny/maml", 3),
    ("tiny/maml-exact", 2),
    ("tiny/finetune", 3),
    ("tiny/maml", 1),  # rank 1 has none
    ("tiny/reptile", 2),
    ("tiny/in-place", 3),
)[: counts.count(full_count=6, quick_count=4)]


def gradients(corpus: Path, out: Path) -> None:
    """Write the gradient of a step, by recipe, as the rank that this process is."""
    process = process_from_environment(os.environ)
    with joined_ranks(process, "cpu") as ranks:
        for number, (recipe, tasks) in enumerate(GRADIENTS):
            config = config_for(corpus, f"outer.meta_batch_size={tasks}", recipe=recipe)
            given = prepare(config)
            training = Training(
                Run(out), config, given.loaded.model, given.tasks("train"), [], progress=None, ranks=ranks
            )
            sums = training.gradient(1)
            held = {name: value.grad for name, value in training.weights.items() if value.grad is not None}
            tensors.save(out / f"{number}-{process.rank}-of-{process.size}", held, {"loss": sums.loss.hex()})


def partial_gradients(out: Path) -> None:
    """Write what becomes of two ranks' gradients: one of weights on both, on the second alone, on none."""
    process = process_from_environment(os.environ)
    weights = [torch.zeros(2), torch.zeros(3, 1), torch.zeros(1)]
    weights[0].grad = torch.full((2,), 1.0 + process.rank)
    weights[1].grad = torch.full((3, 1), 5.0) if process.rank else None
    with joined_ranks(process, "cpu") as ranks:
        ranks.sum_gradients(weights)
    print([None if weight.grad is None else weight.grad.tolist() for weight in weights], flush=True)


def test_a_gradient_that_no_rank_has_is_left_out(tmp_path: Path) -> None:
    done = ended([(partial_gradients, (tmp_path,))] * 2, tmp_path)
    assert done.codes == [0, 0]
    assert done.said == ["[[3.0, 3.0], [[5.0], [5.0], [5.0]], None]\n"] * 2


def turns() -> None:
    """Say from when to when it was this rank's turn."""

    def turn() -> tuple[float, float]:
        began = time.monotonic()
        time.sleep(0.2)
        return began, time.monotonic()

    with joined_ranks(process_from_environment(os.environ), "cpu") as ranks:
        print(ranks.all_gather_json(ranks.make_in_turn(turn)), flush=True)


def test_a_machines_first_rank_goes_first_so_that_it_alone_fetches_what_lacks(tmp_path: Path) -> None:
    done = ended([(turns, ())] * 2, tmp_path)
    assert done.codes == [0, 0]
    (_, first_ended), (second_began, _) = json.loads(done.said[0])
    assert first_ended <= second_began


def test_two_ranks_have_the_gradient_of_one_process(corpus: Path, tmp_path: Path) -> None:
    gradients(corpus, tmp_path)
    assert ended([(gradients, (corpus, tmp_path))] * 2, tmp_path).codes == [0, 0]
    for number in range(len(GRADIENTS)):
        alone = tmp_path / f"{number}-0-of-1"
        loss = float.fromhex(tensors.metadata(alone)["loss"])
        for rank in (0, 1):
            shared = tmp_path / f"{number}-{rank}-of-2"
            assert furthest(tensors.load(shared), tensors.load(alone)) < 1e-6, GRADIENTS[number]
            assert float.fromhex(tensors.metadata(shared)["loss"]) == pytest.approx(loss, rel=1e-12)


def test_a_signal_to_one_rank_stops_all_at_the_same_step_and_they_end_in_the_bits_of_one_process(
    corpus: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    both = [words(corpus, tmp_path / "run")] * 2
    stopped = run(both, tmp_path, Signalled(1, 3, signal.SIGTERM))
    assert stopped.codes == [143, 143], stopped.said
    assert "error[stopped]: stopped after step 3, saved" in stopped.said[0]
    assert stopped.said[1] == ""
    assert status(tmp_path / "run") == {"state": "interrupted", "step": 3}
    done = run(both, tmp_path)
    assert done.codes == [0, 0], done.said
    assert "2 ranks\n" in done.said[0]
    assert done.said[1] == ""
    assert ended_in(tmp_path / "run") == whole


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP][: counts.count(full_count=2, quick_count=1)])
def test_where_a_rank_dies_or_hangs_the_last_whole_step_is_saved(
    corpus: Path, whole: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    both = [words(corpus, tmp_path / "run", "outer.save_every=100")] * 2
    lost = run(both, tmp_path, Signalled(1, 3, number, missed=6))
    assert lost.codes == [7, -signal.SIGKILL if number == signal.SIGKILL else None], lost.said
    assert "error[lost_peer]: rank 1 is lost: no sign of life for 3 s, in step " in lost.said[0]
    assert "(hint: the same command on every rank goes on: menura train tiny/maml --out" in lost.said[0]
    found = status(tmp_path / "run")
    assert (found["state"], found["code"]) == ("interrupted", "lost_peer")
    saved = max((tmp_path / "run" / "checkpoints").iterdir()).name
    assert saved == f"step_{found['step']:06d}"
    assert f"step {found['step']} is saved" in lost.said[0]
    assert found["step"] >= 2
    if number == signal.SIGSTOP:
        return
    assert run(both, tmp_path).codes == [0, 0]
    resumed = ended_in(tmp_path / "run")
    assert {name: resumed[name] for name in ("model", "optimizer", "trace")} == {
        name: whole[name] for name in ("model", "optimizer", "trace")
    }


@IN_FULL
def test_where_rank_0_dies_the_others_end_too(corpus: Path, tmp_path: Path) -> None:
    lost = run([words(corpus, tmp_path / "run")] * 3, tmp_path, Signalled(0, 3, signal.SIGKILL, missed=6))
    assert lost.codes == [-signal.SIGKILL, 7, 7], lost.said
    assert "rank 0" in lost.said[1]
    assert "rank 0" in lost.said[2]


def test_a_bug_on_one_rank_is_told_by_the_others_at_once(corpus: Path, tmp_path: Path) -> None:
    lost = run([words(corpus, tmp_path / "run")] * 2, tmp_path, Broken(1, 2))
    assert lost.codes == [7, 1], lost.said
    assert "error[lost_peer]: rank 1 left: LookupError: made up, in step 3; step 2 is saved" in lost.said[0]
    assert "error[internal]: LookupError: made up" in lost.said[1]


@IN_FULL
def test_a_number_lost_on_one_rank_ends_all_alike(corpus: Path, tmp_path: Path) -> None:
    failed = run([words(corpus, tmp_path / "run")] * 2, tmp_path, Poisoned(1, 3))
    assert failed.codes == [6, 6], failed.said
    assert "error[not_finite]: rank 1: inner step 1: the loss is not finite" in failed.said[0]
    assert status(tmp_path / "run") == {"state": "failed", "step": 3, "code": "not_finite"}
    assert all(torch.isfinite(value).all() for value in newest(tmp_path / "run").values())


@IN_FULL
def test_ranks_with_other_settings_or_data_are_refused_before_anything_is_written(corpus: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", people=22)
    first = words(corpus, tmp_path / "run")
    for second, wanted in (
        ([*first, "--set", "outer.lr=0.5"], "rank 1 differs from rank 0: settings.outer.lr: 0.01 -> 0.5"),
        (words(other, tmp_path / "run"), "rank 1 differs from rank 0: sources.split_sha256: '"),
    ):
        refused = run([first, second], tmp_path)
        assert refused.codes == [3, 3], refused.said
        assert f"error[ranks_differ]: {wanted}" in refused.said[0]
        assert refused.said[1] == ""
        assert not (tmp_path / "run").exists()


def test_a_run_that_another_process_holds_ends_all_ranks_alike(corpus: Path, tmp_path: Path) -> None:
    with Run(tmp_path / "run").locked():
        busy = run([words(corpus, tmp_path / "run")] * 2, tmp_path)
    assert busy.codes == [8, 8], busy.said
    assert "error[locked]: " in busy.said[0]
    assert busy.said[1] == ""


@IN_FULL
def test_a_rank_that_finds_no_data_is_named_by_rank_0(corpus: Path, tmp_path: Path) -> None:
    second = words(tmp_path / "nowhere.jsonl", tmp_path / "run")
    refused = run([words(corpus, tmp_path / "run"), second], tmp_path)
    assert refused.codes[0] == refused.codes[1] != 0, refused.said
    assert "rank 1: " in refused.said[0]
    assert not (tmp_path / "run").exists()


# The launcher itself.

# A rank notes its process and how it ended: of those that end together torchrun tells one or both, as it happens.
RANK = """import os, pathlib, sys
noted = pathlib.Path(sys.argv.pop(1) + os.environ['RANK'])
noted.write_text(str(os.getpid()))
from menura.cli.main import main
try:
    main()
except SystemExit as end:
    noted.with_suffix('.code').write_text(str(end.code))
    raise
"""


def launched(script: Path, *given: str) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script), *given]
    variables = os.environ | {"PYTHONPATH": str(Path(menura.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(launcher, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def steps_noted(out: Path) -> int:
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(pids: Sequence[Path], out: Path, steps: int) -> list[int]:
    """Return the ranks' process ids once so many steps are noted."""
    until = time.monotonic() + 120
    while time.monotonic() < until and steps_noted(out) < steps:
        time.sleep(0.005)
    return [int(path.read_text()) for path in pids]


@pytest.mark.slow
@IN_FULL
def test_under_torchrun_a_killed_rank_ends_the_run_and_the_same_command_goes_on(corpus: Path, tmp_path: Path) -> None:
    script, out, steps = tmp_path / "ranks.py", tmp_path / "run", 24
    script.write_text(RANK, encoding="utf-8")
    more = (f"outer.steps={steps}", "outer.meta_batch_size=3", "outer.save_every=100", "outer.eval_every=100")
    line = (str(tmp_path / "pid-"), *words(corpus, out, *more))
    launcher = launched(script, *line)
    pids = wait_for([tmp_path / "pid-0", tmp_path / "pid-1"], out, 3)
    killed = time.monotonic()
    os.kill(pids[1], signal.SIGKILL)
    said, _ = launcher.communicate(timeout=120)
    assert time.monotonic() - killed < 60
    assert launcher.returncode == 1, "torchrun's own code, whatever the ranks' are"
    assert "error[lost_peer]: rank 1 is lost" in said
    assert f"is saved (hint: to go on: torchrun --nproc-per-node 2 -m menura train tiny/maml --out {out}" in said
    assert (tmp_path / "pid-0.code").read_text() == "7"
    assert 2 < status(out)["step"] < steps
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    saved = status(out)["step"]
    if not counts.full:  # where a rank dies or hangs, the test of that name goes on
        return
    relaunched = launched(script, *line)
    said, _ = relaunched.communicate(timeout=120)
    assert relaunched.returncode == 0, said
    assert f"going on after step {saved}" in said
    train(config_for(corpus, PAIR, *more), tmp_path / "alone")
    both = [[entry["loss"] for entry in Run(folder).trace() if "loss" in entry] for folder in (out, tmp_path / "alone")]
    assert both[0] == pytest.approx(both[1], rel=1e-6)
    assert furthest(newest(out), newest(tmp_path / "alone")) < 1e-6
