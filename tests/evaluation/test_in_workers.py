"""Personas of an evaluation are scored in several processes, with the results of one, whatever dies."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from counts import count
from made_up_chat import settings, write
from scoring import killed_once
from small_training import config_for

from menura.cli.main import run
from menura.errors import MismatchError, NumericalError
from menura.evaluation import in_workers
from menura.evaluation.evaluate import Results
from menura.evaluation.in_workers import Done, EvaluationSource, Job, do
from menura.evaluation.run import config_of, evaluate_run
from menura.evaluation.settings import EvaluateConfig
from menura.report import results as report_files
from menura.training.config import RunConfig
from menura.workers import executors
from menura.workers.executors import Workers
from menura.workers.run import Lost

ALL_ROWS = EvaluateConfig(
    shots=(1, 2),
    queries=1,
    draws=2,
    replies=1,
    candidates=3,
    max_new_tokens=4,
    metrics=("ppl", "f1", "hits@1"),
    prompt=True,
    memory_tokens=32,
    cache_weight=0.1,
    identify=True,
    max_prompt_tokens=64,
)
PLAIN = replace(
    ALL_ROWS, shots=(2,), draws=1, prompt=False, memory_tokens=0, cache_weight=0.0, identify=False, metrics=("ppl",)
)
TWO = Workers("local", 2)
TIMES = {"seconds", "notes", "peak_memory", "words", "commit", "code"}  # of a run, and not of what was found


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """Stand in a folder with a made-up corpus; return the settings of a small model on it."""
    monkeypatch.chdir(tmp_path)
    return config_for(write(Path("chat.jsonl"), people=30))


def without_times(value: Any) -> Any:
    """Return plain data without what differs from run to run."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def written(folder: Path) -> dict[str, Any]:
    """Return all that an evaluation wrote, by file, without times."""
    texts = {
        name: (folder / name).read_text() for name in ("statistics.json", "predictions.jsonl", "likelihoods.jsonl")
    }
    return {"scores.json": without_times(json.loads((folder / "scores.json").read_text())), **texts}


def saved(results: Results) -> dict[str, Any]:
    """Return all that is written of results, without times."""
    report_files.write(results, Path("out"))
    return written(Path("out"))


def evaluated(config: RunConfig, settings: EvaluateConfig, workers: Workers, personas: int = 3) -> Results:
    """Evaluate some personas, and say nothing."""
    return evaluate_run(config, settings, personas=personas, say=lambda line: None, workers=workers)


def backwards(task: Callable[[Job], Done], jobs: Sequence[Job], workers: Workers) -> Iterator[tuple[int, Done]]:
    """Do the jobs in this process, the last one first, and hand over what comes of them as workers do."""
    assert workers == TWO
    for place in reversed(range(len(jobs))):
        yield place, pickle.loads(pickle.dumps(task(pickle.loads(pickle.dumps(jobs[place])))))


def test_two_workers_find_what_one_process_finds_and_one_killed_loses_nothing(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(PLAIN, prompt=True, metrics=("ppl", "f1"))
    alone = evaluated(config, asked, Workers())
    monkeypatch.setattr(in_workers, "do", killed_once)
    together = evaluated(config, asked, TWO)
    assert Path("killed").exists(), "the worker was killed"
    assert [(row.label, row.scored, row.generated) for row in together.rows] == [
        (row.label, row.scored, row.generated) for row in alone.rows
    ]
    assert saved(together) == saved(alone)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"protocol": "leave-one-out", "queries": 2, "shots": (1,), "memory_tokens": 0, "identify": False},
        {"epochs": (1, 3), "draws": 1, "shots": (2,)},
    ][: count(full_count=3, quick_count=2)],
)
def test_the_order_in_which_jobs_are_done_changes_nothing(
    changed: dict[str, Any], config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_workers, "results", backwards)
    asked = replace(ALL_ROWS, **changed)
    alone, together = evaluated(config, asked, Workers()), evaluated(config, asked, TWO)
    assert together.about == alone.about, "with how much was left out before prompts"
    assert saved(together) == saved(alone)


def test_masks_and_distances_are_gathered_in_the_order_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(in_workers, "results", backwards)
    pruned = config_of("cmaml/cmaml_seq2spg", "tiny")
    alone, together = (evaluated(pruned, PLAIN, workers) for workers in (Workers(), TWO))
    adapted = together.rows[-1]
    assert adapted.likeness
    assert list(adapted.masks) == list(alone.rows[-1].masks)
    assert saved(together) == saved(alone)


def test_whom_no_worker_survives_is_named(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_workers, "results", lambda task, jobs, workers: iter([(len(jobs) - 1, Lost())]))
    with pytest.raises(NumericalError, match=r"scored persona 'person-\d\d', and died again") as error:
        evaluated(config, PLAIN, TWO)
    assert error.value.problems[0].code == "lost_worker"


def test_a_worker_refuses_other_data_than_the_evaluation_began_with(config: RunConfig) -> None:
    job = Job(EvaluationSource(config, PLAIN, ("person-00", "person-01"), "cpu", "{}"), "un-adapted")
    with pytest.raises(MismatchError, match="another base or other data"):
        do(job)


def test_an_executor_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    assert run(["eval", "tiny/maml", "--executor", "ray"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error[missing_package]: --executor ray needs ray"), told
    assert 'pip install "menura[ray]"' in told


@pytest.mark.parametrize("executor", ["dask", "ray"][: count(full_count=2, quick_count=1)])
def test_other_executors_find_what_one_process_finds(executor: str, config: RunConfig) -> None:
    if find_spec({"ray": "ray", "dask": "distributed"}[executor]) is None:
        pytest.skip(f"{executor} is not installed")
    assert run(["train", "tiny/maml", *settings(Path("chat.jsonl"), "outer.steps=2"), "--out", "run"]) == 0
    words = ["eval", "run", "-k", "2", "--personas", "3", "--replies", "1", "--metrics", "ppl,f1"]
    assert run([*words, "--out", "alone"]) == 0
    # In a process of its own: ray changes joblib for the whole process.
    more = ["--out", "together", "--executor", executor, "-j", "2"]
    subprocess.run([sys.executable, "-m", "menura", *words, *more], env=dict(os.environ), check=True)
    assert written(Path("together/run")) == written(Path("alone/run"))
