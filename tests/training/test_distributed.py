import math
import sys
from pathlib import Path
from typing import Any

import pytest
from made_up_chat import write
from small_training import config_for
from torch.distributed import HashStore

from menura.artefacts.checkpoint import Checkpoint
from menura.errors import BusyError, ConfigError, DataError, MenuraError, NumericalError, PeerError, Problem
from menura.training import torchrun
from menura.training.distributed import (
    ALONE,
    NonMainRun,
    check_same_on_ranks,
    run_fingerprint,
    source_sha256,
    synchronized,
)
from menura.training.run_folder import Run
from menura.training.torchrun import Heartbeat, ProcessRank, joined_ranks, process_from_environment

LAUNCHER_SECONDS = 30  # that torchrun gives the other ranks to end, once one has


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


class Told:
    """Ranks of which the others have told their part beforehand."""

    def __init__(self, *others: Any, rank: int = 0) -> None:
        self.rank, self.size, self._others = rank, len(others) + 1, others
        self.heard: list[Any] = []

    def all_gather_json(self, mine: Any) -> list[Any]:
        self.heard.append(mine)
        return [*self._others[: self.rank], mine, *self._others[self.rank :]]


def failing(error: MenuraError) -> dict[str, Any]:
    """Return what a rank tells of an error in a meeting."""
    told = Told({"told": None, "failed": None})
    with pytest.raises(type(error)), synchronized(told):  # type: ignore[arg-type]
        raise error
    words: dict[str, Any] = told.heard[0]
    return words


# One process, or none of the launcher's variables.


def test_without_the_launchers_variables_a_process_is_alone() -> None:
    assert process_from_environment({}) == ProcessRank(0, 1, 0)
    with joined_ranks(ProcessRank(), "cpu") as ranks:
        assert ranks is ALONE
    state = Checkpoint(3, {}, {}, {})
    assert ALONE.all_gather_json({"a": math.inf}) == [{"a": math.inf}]
    assert ALONE.broadcast(state) is state
    assert ALONE.make_in_turn(lambda: 5) == 5


def test_a_rank_stands_where_the_launcher_says() -> None:
    told = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "there"}
    assert process_from_environment(told) == ProcessRank(5, 8, 1, "there")
    assert process_from_environment(told).device("cpu") == "cpu"
    assert ProcessRank(0, 1).device("cuda") == "cuda"


@pytest.mark.parametrize("wrong", [{"RANK": "2"}, {"RANK": "-1"}, {"RANK": ""}, {"WORLD_SIZE": "many"}])
def test_variables_that_name_no_rank_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="name no rank"):
        process_from_environment({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", **wrong})


def test_a_rank_without_a_gpu_of_its_own_is_told_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"rank 6 wants GPU 2 of 2.*at most 2"):
        ProcessRank(6, 8, 2).device("cuda")


# What all ranks do alike.


def test_a_meeting_tells_each_rank_of_all() -> None:
    with synchronized(Told({"told": 1, "failed": None}, rank=1)) as gathered:  # type: ignore[arg-type]
        gathered.mine = 2
    assert gathered.told == [1, 2]


@pytest.mark.parametrize("kind", [DataError, NumericalError, BusyError])
def test_an_error_of_one_rank_is_raised_by_all_with_its_code(kind: type[MenuraError]) -> None:
    told = failing(kind("too bad", hint="try this", place="there"))
    with pytest.raises(kind) as raised, synchronized(Told(told, rank=0)):  # type: ignore[arg-type]
        pass
    assert raised.value.problems == [Problem(kind.code, "rank 1: too bad", "there", "try this")]


def test_of_two_errors_all_raise_that_of_the_lowest_rank() -> None:
    other = failing(DataError("theirs"))
    for rank, wanted in ((0, "mine"), (1, "rank 0: theirs")):
        with pytest.raises(MenuraError) as raised, synchronized(Told(other, rank=rank)):  # type: ignore[arg-type]
            raise NumericalError("mine")
        assert raised.value.problems[0].message == wanted


def test_a_lost_rank_is_not_told_to_anybody() -> None:
    told = Told({"told": None, "failed": None})
    with pytest.raises(PeerError), synchronized(told):  # type: ignore[arg-type]
        raise PeerError("gone")
    assert told.heard == []


def test_every_difference_between_ranks_is_told_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    here = run_fingerprint({"seed": 0, "outer": {"lr": 0.1}}, {"split_sha256": "abc"})
    there = run_fingerprint({"seed": 0, "outer": {"lr": 0.2}}, {"split_sha256": "def"})
    for rank, first, second in ((0, here, there), (1, there, here)):
        mine, other = (first, second) if rank == 0 else (second, first)
        ranks = Told(other, rank=rank)
        with pytest.raises(DataError) as refused:
            check_same_on_ranks(ranks, lambda mine=mine: mine)  # type: ignore[arg-type,misc]
        assert len(refused.value.problems) == 2
        assert "rank 1 differs from rank 0: settings.outer.lr: " in refused.value.problems[0].message
        assert refused.value.exit_code == 3
    monkeypatch.setattr("torch.__version__", "0.0")
    with pytest.raises(DataError, match="rank 1 differs from rank 0: torch: "):
        check_same_on_ranks(
            Told(here), lambda: run_fingerprint({"seed": 0, "outer": {"lr": 0.1}}, {"split_sha256": "abc"})
        )  # type: ignore[arg-type]


def test_another_line_of_menuras_own_code_is_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menura.training.distributed.files", lambda package: tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    before = source_sha256()
    (tmp_path / "a.py").write_text("x = 2\n", encoding="utf-8")
    assert source_sha256() != before
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    assert source_sha256() == before


def test_a_rank_that_does_not_write_leaves_no_file(tmp_path: Path, corpus: Path) -> None:
    config = config_for(corpus)
    run = NonMainRun(tmp_path / "run")
    with run.locked():
        run.open(config, {})
        run.write_split({})
        run.status("running")
        run.note(step=1)
        run.log("line")
        run.truncate_log(0)
        run.clear()
    assert list(tmp_path.iterdir()) == []
    mine = {name for name, value in vars(Run).items() if callable(value) and not name.startswith("_")}
    assert mine - vars(NonMainRun).keys() == {"trace"}, "a verb of Run that writes on every rank"


# Signs of life.


def beating(store: HashStore, monkeypatch: pytest.MonkeyPatch, *, missed: int = 3) -> Heartbeat:
    monkeypatch.setattr(torchrun, "BEATS_MISSED", missed)
    for rank in (0, 1, 2):
        store.set(str(rank), "0")
    return Heartbeat(store, ProcessRank(0, 3, 0, "there"))


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
    assert torchrun.resume_hint().endswith(wanted)
