import json
import math

import pytest
import torch
from made_up_chat import write

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.artefacts.loading import LoadedModel
from menura.corpus import jsonl
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import EpisodeError, NumericalError
from menura.models.causal_lm.model import CausalLmConfig
from menura.personas.adapt_persona import Check, adapt_persona, verdict
from menura.registry import load_model
from menura.tasks.group import by_speaker
from menura.tasks.task import DialogueView, Task

GENTLE = Finetune(InnerLoop(lr=3e-3, epochs=4, batch_size=4, optimizer="adam"))


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(CausalLmConfig(base="tiny"))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    path = write(tmp_path_factory.mktemp("corpus") / "chat.jsonl", people=1)
    return next(task for task in by_speaker(list(jsonl.read(path))) if task.persona_id == "person-00")


def test_what_was_held_out_becomes_likelier(loaded: LoadedModel, task: Task) -> None:
    artefact, check = adapt_persona(loaded, GENTLE, task, name="mira", shots=3)
    assert check.dialogues == 3
    assert check.after < check.before
    held_out = artefact.recipe["held_out"]
    assert held_out == {"dialogues": 3, "ppl_before": check.before, "ppl_after": check.after}
    artefact.check_fits(loaded)


def test_a_check_that_got_worse_says_so() -> None:
    assert "warn[worse_than_base]" in verdict(Check(3, before=20.0, after=20.1), 1.0)
    assert "warn" not in verdict(Check(3, before=20.0, after=19.9), 1.0)
    assert "not known" in verdict(Check(0, before=math.nan, after=math.nan), 1.0)


def test_adapting_that_did_harm_is_told_with_what_to_type() -> None:
    told = verdict(Check(3, before=20.0, after=25.0), 1.0)
    assert "PPL 20.0 -> 25.0" in told
    assert "warn[worse_than_base]" in told
    assert "--set inner.lr" in told
    assert "warn" not in verdict(Check(3, before=25.0, after=20.0), 1.0)


def test_weights_that_are_no_number_make_no_persona(loaded: LoadedModel, task: Task) -> None:
    broken = Finetune(InnerLoop(lr=1e38, epochs=3, batch_size=4))
    with pytest.raises(NumericalError):
        adapt_persona(loaded, broken, task, name="mira", shots=3)


def test_a_hopeless_persona_is_infinitely_surprised() -> None:
    assert "warn[worse_than_base]" in verdict(Check(1, 2.0, math.inf), 1.0)


def test_with_nothing_held_out_nothing_is_judged(loaded: LoadedModel, task: Task) -> None:
    artefact, check = adapt_persona(loaded, GENTLE, task, name="mira", shots=len(task.dialogues))
    assert check.dialogues == 0
    assert math.isnan(check.before)
    assert artefact.recipe["held_out"] == {"dialogues": 0, "ppl_before": None, "ppl_after": None}


def test_the_recipe_tells_what_was_learnt_from_but_not_what_was_said(loaded: LoadedModel, task: Task) -> None:
    seen: list[tuple[int, int]] = []
    artefact, _ = adapt_persona(
        loaded, GENTLE, task, name="mira", shots=2, watch=lambda step, steps, loss: seen.append((step, steps))
    )
    recipe = artefact.recipe
    assert recipe["shots"] == 2
    assert len(set(recipe["support_sha256"])) == 2
    assert recipe["method"]["name"] == "finetune"
    assert len(recipe["support_loss"]) == len(seen) == seen[-1][1]
    assert recipe["support_loss"][-1] < recipe["support_loss"][0]
    written = json.dumps(dict(recipe))
    for part in task.dialogues:
        for turn in part.dialogue.turns:
            assert turn.text not in written


def test_the_same_dialogues_give_the_same_persona_and_leave_the_model_alone(loaded: LoadedModel, task: Task) -> None:
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    one, other = (adapt_persona(loaded, GENTLE, task, name="mira", shots=2)[0] for _ in range(2))
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


def test_who_never_replies_cannot_be_learnt(loaded: LoadedModel) -> None:
    alone = Dialogue("d", (Turn("noa", "is anybody there?"),))
    with pytest.raises(EpisodeError, match="'noa' never replies in the 1 dialogues"):
        adapt_persona(loaded, GENTLE, Task("noa", (DialogueView(alone, "noa"),)), name="noa", shots=1)


def test_too_few_dialogues_are_told(loaded: LoadedModel, task: Task) -> None:
    with pytest.raises(EpisodeError, match="too few for 9 shots"):
        adapt_persona(loaded, GENTLE, task, name="mira", shots=9)
