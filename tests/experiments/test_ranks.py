import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_chat import settings, write
from rank_processes import Broken, Poisoned, Signalled, ended, run
from small_training import STEPS, config_for, status, train
from small_training import ended as ended_in
from torch import Tensor
from torch.distributed import HashStore

import menura
from menura.artefacts import tensors
from menura.artefacts.checkpoint import Checkpoint
from menura.errors import BusyError, ConfigError, DataError, MenuraError, NumericalError, PeerError, Problem
from menura.experiments import torchrun
from menura.experiments.prepare import prepare
from menura.experiments.ranks import ALONE, Elsewhere, check_alike, identity, meeting, source_sha256
from menura.experiments.run import Run
from menura.experiments.torchrun import Place, Pulse, joined, place_of
from menura.experiments.train import Training

LAUNCHER_SECONDS = 30  # that torchrun gives the other ranks to end, once one has
PAIR = "outer.tasks=2"  # over two ranks the gradient is a sum of two, which has one rounding whoever computes it


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


class Told:
    """Ranks of which the others have told their part beforehand."""

    def __init__(self, *others: Any, rank: int = 0) -> None:
        self.rank, self.size, self._others = rank, len(others) + 1, others
        self.heard: list[Any] = []

    def exchange(self, mine: Any) -> list[Any]:
        self.heard.append(mine)
        return [*self._others[: self.rank], mine, *self._others[self.rank :]]


def failing(error: MenuraError) -> dict[str, Any]:
    """Return what a rank tells of an error in a meeting."""
    told = Told({"told": None, "failed": None})
    with pytest.raises(type(error)), meeting(told):  # type: ignore[arg-type]
        raise error
    words: dict[str, Any] = told.heard[0]
    return words


# One process, or none of the launcher's variables.


def test_without_the_launchers_variables_a_process_is_alone() -> None:
    assert place_of({}) == Place(0, 1, 0)
    with joined(Place(), "cpu") as ranks:
        assert ranks is ALONE
    state = Checkpoint(3, {}, {}, {})
    assert ALONE.exchange({"a": math.inf}) == [{"a": math.inf}]
    assert ALONE.from_first(state) is state
    assert ALONE.in_turn(lambda: 5) == 5


def test_a_rank_stands_where_the_launcher_says() -> None:
    told = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "there"}
    assert place_of(told) == Place(5, 8, 1, "there")
    assert place_of(told).device("cpu") == "cpu"
    assert Place(0, 1).device("cuda") == "cuda"


@pytest.mark.parametrize("wrong", [{"RANK": "2"}, {"RANK": "-1"}, {"RANK": ""}, {"WORLD_SIZE": "many"}])
def test_variables_that_name_no_rank_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="name no rank"):
        place_of({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", **wrong})


def test_a_rank_without_a_gpu_of_its_own_is_told_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"rank 6 wants GPU 2 of 2.*at most 2"):
        Place(6, 8, 2).device("cuda")


# What all ranks do alike.


def test_a_meeting_tells_each_rank_of_all() -> None:
    with meeting(Told({"told": 1, "failed": None}, rank=1)) as met:  # type: ignore[arg-type]
        met.mine = 2
    assert met.told == [1, 2]


@pytest.mark.parametrize("kind", [DataError, NumericalError, BusyError])
def test_an_error_of_one_rank_is_raised_by_all_with_its_code(kind: type[MenuraError]) -> None:
    told = failing(kind("too bad", hint="try this", place="there"))
    with pytest.raises(kind) as raised, meeting(Told(told, rank=0)):  # type: ignore[arg-type]
        pass
    assert raised.value.problems == [Problem(kind.code, "rank 1: too bad", "there", "try this")]


def test_of_two_errors_all_raise_that_of_the_lowest_rank() -> None:
    other = failing(DataError("theirs"))
    for rank, wanted in ((0, "mine"), (1, "rank 0: theirs")):
        with pytest.raises(MenuraError) as raised, meeting(Told(other, rank=rank)):  # type: ignore[arg-type]
            raise NumericalError("mine")
        assert raised.value.problems[0].message == wanted


def test_a_lost_rank_is_not_told_to_anybody() -> None:
    told = Told({"told": None, "failed": None})
    with pytest.raises(PeerError), meeting(told):  # type: ignore[arg-type]
        raise PeerError("gone")
    assert told.heard == []


def test_every_difference_between_ranks_is_told_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    here = identity({"seed": 0, "outer": {"rate": 0.1}}, {"split_sha256": "abc"})
    there = identity({"seed": 0, "outer": {"rate": 0.2}}, {"split_sha256": "def"})
    for rank, first, second in ((0, here, there), (1, there, here)):
        mine, other = (first, second) if rank == 0 else (second, first)
        ranks = Told(other, rank=rank)
        with pytest.raises(DataError) as refused:
            check_alike(ranks, lambda mine=mine: mine)  # type: ignore[arg-type,misc]
        assert len(refused.value.problems) == 2
        assert "rank 1 differs from rank 0: settings.outer.rate: " in refused.value.problems[0].message
        assert refused.value.exit_code == 3
    monkeypatch.setattr("torch.__version__", "0.0")
    with pytest.raises(DataError, match="rank 1 differs from rank 0: torch: "):
        check_alike(Told(here), lambda: identity({"seed": 0, "outer": {"rate": 0.1}}, {"split_sha256": "abc"}))  # type: ignore[arg-type]


def test_another_line_of_menuras_own_code_is_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menura.experiments.ranks.files", lambda package: tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    before = source_sha256()
    (tmp_path / "a.py").write_text("x = 2\n", encoding="utf-8")
    assert source_sha256() != before
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    assert source_sha256() == before


def test_a_rank_that_does_not_write_leaves_no_file(tmp_path: Path, corpus: Path) -> None:
    config = config_for(corpus)
    run = Elsewhere(tmp_path / "run")
    with run.locked():
        run.open(config, {})
        run.write_split({})
        run.status("running")
        run.note(step=1)
        run.log("line")
        run.cut_trace(0)
        run.clear()
    assert list(tmp_path.iterdir()) == []
    mine = {name for name, value in vars(Run).items() if callable(value) and not name.startswith("_")}
    assert mine - vars(Elsewhere).keys() == {"trace"}, "a verb of Run that writes on every rank"


# Signs of life.


def beating(store: HashStore, monkeypatch: pytest.MonkeyPatch, *, missed: int = 3) -> Pulse:
    monkeypatch.setattr(torchrun, "BEATS_MISSED", missed)
    for rank in (0, 1, 2):
        store.set(str(rank), "0")
    return Pulse(store, Place(0, 3, 0, "there"))


def test_a_rank_is_lost_after_so_many_looks_without_a_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    store = HashStore()
    pulse = beating(store, monkeypatch)
    for look in range(4):
        assert pulse.lost == ""
        store.set("0", str(look + 1))
        store.set("1", str(look + 1))
        pulse.look()
    assert pulse.lost == "rank 2 is lost: no sign of life for 1.5 s"


def test_a_rank_that_gives_a_sign_in_time_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    store = HashStore()
    pulse = beating(store, monkeypatch)
    for look in range(12):
        for rank in range(3):
            store.set(str(rank), str(look // 3 * 3 + 1))
        pulse.look()
    assert pulse.lost == ""


def test_a_rank_that_left_is_missed_at_once_and_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    store = HashStore()
    pulse = beating(store, monkeypatch)
    store.set("1", "rank 1 left: LookupError: made up")
    pulse.look()
    assert pulse.lost == "rank 1 left: LookupError: made up"


def test_a_lost_rank_is_noticed_while_the_launcher_still_waits() -> None:
    noticed = torchrun.BEAT_SECONDS * (torchrun.BEATS_MISSED + 3)
    assert noticed + torchrun.LEAVE_SECONDS < LAUNCHER_SECONDS
    assert torchrun.TENSOR_SECONDS < LAUNCHER_SECONDS
    assert noticed + torchrun.LEAVE_SECONDS + LAUNCHER_SECONDS < 60


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2"}, "torchrun --nproc-per-node 2 -m menura train 'a b'"),
        (
            {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "3"},
            "torchrun --nproc-per-node 4 --nnodes 3 -m menura train 'a b'",
        ),
        ({}, "the same command on every rank goes on: menura train 'a b'"),
    ],
)
def test_the_line_that_goes_on_is_the_launchers(
    variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["menura", "train", "a b"])
    assert torchrun.again().endswith(wanted)


# Real processes.

GRADIENTS = (
    ("tiny/maml", 3),
    ("tiny/maml-exact", 2),
    ("tiny/finetune", 3),
    ("tiny/reptile", 2),
    ("tiny/in-place", 3),
    ("tiny/maml", 1),  # rank 1 has none
)


def gradients(corpus: Path, out: Path) -> None:
    """Write the gradient of a step, by recipe, as the rank that this process is."""
    place = place_of(os.environ)
    with joined(place, "cpu") as ranks:
        for number, (recipe, tasks) in enumerate(GRADIENTS):
            config = config_for(corpus, f"outer.tasks={tasks}", recipe=recipe)
            given = prepare(config)
            training = Training(
                Run(out), config, given.loaded.model, given.side("train"), [], progress=None, ranks=ranks
            )
            sums = training.gradient(1)
            held = {name: value.grad for name, value in training.weights.items() if value.grad is not None}
            tensors.save(out / f"{number}-{place.rank}-of-{place.size}", held, {"loss": sums.loss.hex()})


def partial_gradients(out: Path) -> None:
    """Write what becomes of two ranks' gradients: one of weights on both, on the second alone, on none."""
    place = place_of(os.environ)
    weights = [torch.zeros(2), torch.zeros(3, 1), torch.zeros(1)]
    weights[0].grad = torch.full((2,), 1.0 + place.rank)
    weights[1].grad = torch.full((3, 1), 5.0) if place.rank else None
    with joined(place, "cpu") as ranks:
        ranks.add(weights)
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

    with joined(place_of(os.environ), "cpu") as ranks:
        print(ranks.exchange(ranks.in_turn(turn)), flush=True)


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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
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


def test_a_number_lost_on_one_rank_ends_all_alike(corpus: Path, tmp_path: Path) -> None:
    failed = run([words(corpus, tmp_path / "run")] * 2, tmp_path, Poisoned(1, 3))
    assert failed.codes == [6, 6], failed.said
    assert "error[not_finite]: rank 1: inner step 1: the loss is not finite" in failed.said[0]
    assert status(tmp_path / "run") == {"state": "failed", "step": 3, "code": "not_finite"}
    assert all(torch.isfinite(value).all() for value in newest(tmp_path / "run").values())


def test_ranks_with_other_settings_or_data_are_refused_before_anything_is_written(corpus: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", people=22)
    first = words(corpus, tmp_path / "run")
    for second, wanted in (
        ([*first, "--set", "outer.rate=0.5"], "rank 1 differs from rank 0: settings.outer.rate: 0.01 -> 0.5"),
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


def test_a_rank_that_finds_no_data_is_named_by_rank_0(corpus: Path, tmp_path: Path) -> None:
    second = words(tmp_path / "nowhere.jsonl", tmp_path / "run")
    refused = run([words(corpus, tmp_path / "run"), second], tmp_path)
    assert refused.codes[0] == refused.codes[1] != 0, refused.said
    assert "rank 1: " in refused.said[0]
    assert not (tmp_path / "run").exists()


# The launcher itself.

NOTED = "import os, pathlib, sys\npathlib.Path(sys.argv.pop(1) + os.environ['RANK']).write_text(str(os.getpid()))\n"
RUN = "from menura.cli.main import main\nmain()\n"


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
def test_under_torchrun_a_killed_rank_ends_the_run_and_the_same_command_goes_on(corpus: Path, tmp_path: Path) -> None:
    script, out, steps = tmp_path / "ranks.py", tmp_path / "run", 24
    script.write_text(NOTED + RUN, encoding="utf-8")
    more = (f"outer.steps={steps}", "outer.tasks=3", "outer.save_every=100", "outer.check_every=100")
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
    assert "exitcode  : 7 " in said
    assert 2 < status(out)["step"] < steps
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    saved = status(out)["step"]
    relaunched = launched(script, *line)
    said, _ = relaunched.communicate(timeout=120)
    assert relaunched.returncode == 0, said
    assert f"going on after step {saved}" in said
    train(config_for(corpus, PAIR, *more), tmp_path / "alone")
    both = [[entry["loss"] for entry in Run(folder).trace() if "loss" in entry] for folder in (out, tmp_path / "alone")]
    assert both[0] == pytest.approx(both[1], rel=1e-6)
    assert furthest(newest(out), newest(tmp_path / "alone")) < 1e-6
