"""The personas of an evaluation are adapted and scored in worker processes, and put together in their order."""

import json
import sys
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from menura.adaptation.weight_distance import WeightDistances
from menura.artefacts.files import home
from menura.errors import MismatchError, NumericalError
from menura.evaluation.build_evaluation import build_evaluation
from menura.evaluation.cost import Cost
from menura.evaluation.evaluate import Evaluation, OutputsByFold, SystemRow
from menura.evaluation.folds import PersonaDraw
from menura.evaluation.generation import Outputs
from menura.evaluation.identify import Identification
from menura.evaluation.settings import EvaluateConfig
from menura.tasks.task import Task
from menura.training.config import RunConfig
from menura.training.run_setup import Prepared, prepare
from menura.workers.executors import Workers
from menura.workers.run import Lost, one_thread, results

Judged = dict[str, list[list[list[float]]]]  # by row: judges, owners, replies


@dataclass(frozen=True)
class EvaluationSource:
    """From what each worker builds the evaluation anew; ``hashes`` are those that base, data and split must have."""

    config: RunConfig
    settings: EvaluateConfig
    persona_ids: tuple[str, ...]
    device: str
    hashes: str


@dataclass(frozen=True)
class Job:
    """What a worker does at once: a persona's rows, or of all personas a row in which nobody is adapted."""

    source: EvaluationSource
    part: PersonaDraw | str  # a string is the name of the row

    @property
    def name(self) -> str:
        """What it is, as text."""
        return self.part if isinstance(self.part, str) else f"persona {self.part.persona_id!r}"


@dataclass(frozen=True)
class Done:
    """What comes of a job: outputs, the cost of adapting, NLL by row of everybody's replies, and what was left out."""

    outputs: OutputsByFold
    cost: Cost
    nll: Judged
    cut: Counter[str]


def source_of(prepared: Prepared, settings: EvaluateConfig, held_out: Sequence[Task]) -> EvaluationSource:
    """Return from what workers build the evaluation of these personas."""
    persona_ids = tuple(task.persona_id for task in held_out)
    device = str(prepared.loaded.model.device)
    return EvaluationSource(prepared.config, settings, persona_ids, device, json.dumps(prepared.sources))


def do(job: Job) -> Done:
    """Do a job in whatever process this is."""
    evaluation = _built(job.source, Path.cwd(), home())
    evaluation.encoder.cut.clear()  # what is left out is counted by job
    cost = Cost(WeightDistances(0, keeps=sys.maxsize))
    identification = evaluation.identification()
    if isinstance(job.part, str):
        outputs = {(job.part, "", 0): evaluation.unadapted(job.part)}
    else:
        outputs = evaluation.one_persona(job.part, cost, identification)
    return Done(outputs, cost, identification.nll, Counter(evaluation.encoder.cut))


@lru_cache(maxsize=1)
def _built(source: EvaluationSource, folder: Path, workspace: Path) -> Evaluation:
    """Return the evaluation, built once a process; elsewhere the same names may be of other files.

    Raises MismatchError where base, data or split are not those that the evaluation was begun with.
    """
    del folder, workspace
    # All was fetched before the workers began.
    prepared = prepare(source.config, device=source.device, offline=True, dtype=source.settings.dtype)
    if json.dumps(prepared.sources) != source.hashes:
        message = "a worker reads another base or other data than the process that began the evaluation"
        hint = "give all machines the same files, or --executor local"
        raise MismatchError(message, hint=hint, code="other_sources")
    held_out = [t for t in prepared.split.splits[source.settings.split] if t.persona_id in source.persona_ids]
    return build_evaluation(prepared, source.settings, held_out)


@dataclass
class EvaluationInWorkers(Evaluation):
    """The evaluation of a method on some personas, in several processes.

    Its results are those of a process that computes with one thread, bit for bit: a row in which nobody is adapted
    stays whole, as its replies are generated in batches over all personas.
    """

    source: EvaluationSource = field(kw_only=True)
    workers: Workers = field(kw_only=True)

    def rows(self) -> list[SystemRow]:
        """Run every row; raises NumericalError where a worker dies again and again."""
        drawn = [
            PersonaDraw(shots, draw, persona_id)
            for shots in self.config.shots
            if shots
            for draw, folds in enumerate(self.folds)
            for persona_id in folds
        ]
        # Rows of all personas take longest: they begin first.
        parts: list[PersonaDraw | str] = [*self.kinds_unadapted, *drawn]
        jobs = [Job(self.source, part) for part in parts]
        self._done: dict[PersonaDraw | str, tuple[OutputsByFold, Judged]] = {}
        self._costs = {shots: super(EvaluationInWorkers, self).cost_of(shots) for shots in self.config.shots}
        self._early: dict[PersonaDraw | str, Cost] = {}  # whose turn is still to come
        self._turns = deque(drawn)
        with one_thread(), closing(self._arriving(jobs)) as self._arrivals:
            made = super().rows()
            assert next(self._arrivals, None) is None, "every job is somebody's"
        return made

    def unadapted(self, kind: str) -> Outputs:
        """Return the outputs of all personas in a row in which nobody is adapted."""
        outputs, _ = self._awaited(kind)
        return outputs[kind, "", 0]

    def one_persona(self, drawn: PersonaDraw, cost: Cost, identification: Identification) -> OutputsByFold:
        """Return outputs by row, persona and fold: those of one persona's folds, and of their receivers."""
        del cost  # it is added as the workers hand it over
        outputs, nll = self._awaited(drawn)
        for kind, judged in nll.items():
            identification.nll.setdefault(kind, []).extend(judged)
        return outputs

    def cost_of(self, shots: int) -> Cost:
        """Return the cost of adapting, to which workers add."""
        return self._costs[shots]

    def _awaited(self, part: PersonaDraw | str) -> tuple[OutputsByFold, Judged]:
        while part not in self._done:
            next(self._arrivals)
        return self._done.pop(part)

    def _arriving(self, jobs: Sequence[Job]) -> Generator[Job, None, None]:
        """Do the jobs, keep what comes of each, and yield each one that is done."""
        for place, done in results(do, jobs, self.workers):
            job = jobs[place]
            if isinstance(done, Lost):
                raise _lost(job)
            self._done[job.part] = done.outputs, done.nll
            self._early[job.part] = done.cost
            self.encoder.cut.update(done.cut)
            # Sums are in the order of one process; nobody's weights are kept longer than their turn.
            while self._turns and self._turns[0] in self._early:
                drawn = self._turns.popleft()
                self._costs[drawn.shots].add(self._early.pop(drawn))
            yield job


def _lost(job: Job) -> NumericalError:
    return NumericalError(
        f"the worker died that scored {job.name}, and died again when this was done alone",
        hint="its memory may be short: -j 1",
        code="lost_worker",
    )
