import json

import pytest
import torch
from made_up_chat import write

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.artefacts.loading import LoadedModel
from menura.batches.encode import EncodedExchange
from menura.corpus import jsonl
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import EpisodeError, NumericalError
from menura.models.causal_lm.config import CausalLmConfig
from menura.personas.adapt_persona import (
    EXCHANGES_AT_MOST,
    TURNS_BEFORE,
    adapt_persona,
    bounded,
    check_persona,
    encoded,
    shortened,
)
from menura.personas.selection import Selection
from menura.registry import load_model
from menura.tasks.persona_groups import by_speaker
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
    selection = Selection.first_of(task, 3)
    artefact, check = check_persona(loaded, adapt_persona(loaded, GENTLE, selection, name="mira"), selection)
    assert check.dialogues == 3
    assert check.after < check.before
    held_out = artefact.recipe["held_out"]
    assert (held_out["ppl_before"], held_out["ppl_after"]) == (check.before, check.after)
    assert held_out["likelier"] > 0
    artefact.check_fits(loaded)


def test_a_stranger_is_judged_on_the_same_replies(loaded: LoadedModel, task: Task) -> None:
    selection = Selection.first_of(task, 3)
    artefact = adapt_persona(loaded, GENTLE, selection, name="mira")
    _, check = check_persona(loaded, artefact, selection, stranger=artefact.weights)
    assert check.nll_stranger == check.nll_after, "as its own stranger a persona does as well"
    assert check.nll_before != check.nll_after


def test_weights_that_are_no_number_make_no_persona(loaded: LoadedModel, task: Task) -> None:
    broken = Finetune(InnerLoop(lr=1e38, epochs=3, batch_size=4))
    with pytest.raises(NumericalError):
        adapt_persona(loaded, broken, Selection.first_of(task, 3), name="mira")


def test_with_nothing_held_out_nothing_is_judged(loaded: LoadedModel, task: Task) -> None:
    selection = Selection.first_of(task, len(task.dialogues))
    artefact, check = check_persona(loaded, adapt_persona(loaded, GENTLE, selection, name="mira"), selection)
    assert check.dialogues == 0
    assert artefact.recipe["held_out"] == {"dialogues": 0, "replies": 0, "ppl_before": None, "ppl_after": None}


def test_the_recipe_tells_what_was_learnt_from_but_not_what_was_said(loaded: LoadedModel, task: Task) -> None:
    seen: list[tuple[int, int]] = []
    selection = Selection.first_of(task, 2)
    artefact = adapt_persona(
        loaded, GENTLE, selection, name="mira", on_step=lambda step, steps, loss: seen.append((step, steps))
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


def test_the_same_dialogues_give_the_same_bytes_and_leave_the_model_alone(loaded: LoadedModel, task: Task) -> None:
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    one, other = (adapt_persona(loaded, GENTLE, Selection.first_of(task, 2), name="mira") for _ in range(2))
    assert one.packed() == other.packed()
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


def test_who_never_replies_cannot_be_learnt(loaded: LoadedModel) -> None:
    alone = Task("noa", (DialogueView(Dialogue("d", (Turn("noa", "is anybody there?"),)), "noa"),))
    with pytest.raises(EpisodeError, match="'noa' never replies in the 1 dialogue"):
        adapt_persona(loaded, GENTLE, Selection.first_of(alone, 1), name="noa")


def test_too_few_dialogues_are_told(task: Task) -> None:
    with pytest.raises(EpisodeError, match="too few for 9 shots"):
        Selection.first_of(task, 9)


def test_facts_alone_make_a_persona_without_weights(loaded: LoadedModel) -> None:
    artefact = adapt_persona(loaded, GENTLE, Selection("mira", (), (), 0, facts=("i sail",)), name="mira")
    assert (artefact.facts, dict(artefact.weights)) == (("i sail",), {})
    artefact.check_fits(loaded)


@pytest.mark.parametrize(
    ("replies", "kept"),
    [([5] * 40, 32), ([100] * 12, 10), ([2000], 1), ([5, 2000], 1), ([2000, 5], 1), ([1000, 24], 2), ([1000, 25], 1)],
)
def test_a_dialogue_is_learnt_from_its_last_exchanges_within_both_bounds(replies: list[int], kept: int) -> None:
    dialogue = tuple(EncodedExchange("m", str(i), (), (), tuple(range(size))) for i, size in enumerate(replies))
    (found,) = bounded([dialogue])
    assert found == dialogue[-kept:]


def test_a_long_dialogue_is_read_from_its_end_alone_and_nothing_that_a_model_sees_is_lost(loaded: LoadedModel) -> None:
    turns = tuple(Turn(("Ann", "Bo")[i % 2], f"turn {i}") for i in range(4 * TURNS_BEFORE))
    late, early = len(turns) - 1, 1
    dialogue = Dialogue(
        "d", turns, {"Bo": ("dry",)}, {late: ("a", "b"), early: ("c",)}, {}, frozenset({early, late - 4})
    )
    view = DialogueView(dialogue, "Bo")
    part = shortened(view)
    assert len(part.dialogue.turns) < TURNS_BEFORE + 3 * EXCHANGES_AT_MOST
    assert part.dialogue.facts == dialogue.facts
    exchanges, all_exchanges = list(part.exchanges()), list(view.exchanges())
    assert [e.reply for e in exchanges[-EXCHANGES_AT_MOST:]] == [e.reply for e in all_exchanges[-EXCHANGES_AT_MOST:]]
    assert exchanges[-1].candidates == ("a", "b")
    assert encoded(loaded, [view], "Bo") == bounded(loaded.encoder.dialogues([view], "Bo"))
    short = DialogueView(Dialogue("s", turns[: 2 * EXCHANGES_AT_MOST]), "Bo")
    assert shortened(short) is short


def test_a_long_dialogue_held_out_is_judged_by_its_last_replies(loaded: LoadedModel) -> None:
    turns = tuple(Turn(("Ann", "Bo")[i % 2], "hi") for i in range(4 * EXCHANGES_AT_MOST))
    views = tuple(DialogueView(Dialogue(str(i), turns), "Bo") for i in range(2))
    selection = Selection("Bo", views[:1], views[1:], 2)
    artefact, check = check_persona(loaded, adapt_persona(loaded, GENTLE, selection, name="bo"), selection)
    assert len(check.tokens) == EXCHANGES_AT_MOST
