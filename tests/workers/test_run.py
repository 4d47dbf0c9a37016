"""Jobs are done wherever they are, and a dying worker loses none but the one that kills it."""

import builtins
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import failing, killed_always, killed_once, squared, surrounded

from menura.errors import ConfigError, NumericalError
from menura.workers import executors
from menura.workers.executors import Workers
from menura.workers.run import Lost, results

TWO = Workers("local", 2)


@pytest.mark.parametrize("workers", [Workers(), TWO], ids=["here", "two"])
@pytest.mark.parametrize("first_alone", [False, True])
def test_every_job_is_done_once_with_one_thread(workers: Workers, first_alone: bool) -> None:
    done = list(results(squared, range(7), workers, first_alone=first_alone))
    assert sorted(done) == [(place, (place * place, 1)) for place in range(7)]
    if first_alone:
        assert done[0][0] == 0


def test_the_number_of_threads_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    try:
        list(results(squared, range(2), Workers()))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_killed_worker_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = list(results(killed_once, range(8), TWO))
    assert Path("killed").exists(), "the worker was killed"
    assert sorted(done) == [(place, place) for place in range(8)]


def test_a_job_that_no_worker_survives_is_found_and_the_others_are_done() -> None:
    done = dict(results(killed_always, range(6), TWO))
    assert done == {0: 0, 1: 1, 2: 2, 3: Lost(), 4: 4, 5: 5}


def test_workers_that_die_again_and_again_are_an_error() -> None:
    with pytest.raises(NumericalError, match="5 workers died one after the other"):
        list(results(killed_always, [3] * 20, TWO))


def test_what_a_job_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="the second"):
        list(results(failing, range(4), TWO))


def test_a_worker_stands_where_this_process_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for home in ("one", "two"):  # the same worker may serve several workspaces
        (tmp_path / home).mkdir()
        monkeypatch.chdir(tmp_path / home)
        monkeypatch.setenv("MENURA_HOME", home)
        seen = [result for _, result in results(surrounded, range(3), TWO)]
        assert seen == [(os.path.realpath(tmp_path / home), home)] * 3


def test_all_that_is_wrong_is_said_with_what_to_type() -> None:
    with pytest.raises(ConfigError) as error:
        Workers("slurm", 0)
    assert str(error.value) == (
        "error[config]: -j 0: at least 1 worker is needed (hint: -j 2)\n"
        "error[config]: --executor 'slurm': local, ray, dask wanted (hint: --executor local)"
    )


@pytest.mark.parametrize(("executor", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_an_executor_that_is_not_installed_says_what_to_install(
    executor: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        return None if name == package else importlib.util.find_spec(name)

    monkeypatch.setattr(executors, "find_spec", missing)
    with pytest.raises(ConfigError) as error:
        Workers(executor)
    assert str(error.value) == (
        f"error[missing_package]: --executor {executor} needs {package}, which is not installed "
        f'(hint: pip install "menura[{executor}]")'
    )


def test_without_workers_joblib_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def refusing(name: str, *rest: Any) -> Any:
        assert not name.startswith("joblib")
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refusing)
    assert len(list(results(squared, range(2), Workers()))) == 2
