"""A persona that is distilled comes nearer to the persona than the base is, on replies held out."""

from types import SimpleNamespace
from typing import Any

from made_up import part

from benchmarks.distilled import ROWS, rows
from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.evaluation.folds import folds_of
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.personas.distil import student_settings
from menura.registry import load_model
from menura.tasks.task import Task
from menura.training.data import encoded

WORDS = ("goats", "clocks", "rain", "tea", "zithers", "boats", "bread")
TASK = Task("mira", tuple(part(f"s{at}", "hi", f"hello, {word} it is") for at, word in enumerate(WORDS)))


def test_a_distilled_persona_is_between_the_base_and_the_persona() -> None:
    config = CausalLmConfig("tiny", adapters=Adapters("houlsby", bottleneck=4))
    loaded, student = load_model(config), load_model(student_settings(config)).model
    given: Any = SimpleNamespace(loaded=loaded, config=SimpleNamespace(method=Finetune(InnerLoop(lr=0.05, epochs=8))))
    (task,) = encoded([TASK], loaded.encoder)
    (fold,) = folds_of(task, "following", first=5, queries=2)
    scored, *seconds = rows(given, student, fold)
    base, unadapted, adapted, distilled = (scored[row].reference_nll for row in ROWS)
    assert adapted < distilled < base
    assert adapted < unadapted
    assert all(each > 0 for each in seconds)
