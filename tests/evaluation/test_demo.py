"""The demo draws its examples and asks for what a speaker said: the persona reads it again, the base never has."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from made_up import part

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.batches.batch import Batch
from menura.evaluation import demo
from menura.evaluation.demo import AskedFact, Demonstration
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.registry import load_model
from menura.tasks.task import Task

TASK = Task(
    "mira",
    (
        part("s1", "hi", "hello! i live in skerrow.", "and then?", "i have a goat."),
        part("s2", "where do you work?", "i work at the clock museum."),
        part("s3", "do you play?", "i play the zither."),
    ),
)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(CausalLmConfig("tiny", adapters=Adapters("lora", rank=2, layers=1)))


class Given:
    """What the demo needs of a run: no corpus."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.config = SimpleNamespace(method=Finetune(InnerLoop(lr=0.1, epochs=1)))


def asked(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, shots: int) -> tuple[list[AskedFact], list[str]]:
    """Return the facts asked for, and what was read before each reply."""
    read: list[str] = []

    def noting(model: Any, prompts: Batch, *others: Any, **settings: Any) -> list[Sequence[int]]:
        read.append(loaded.encoder.tokenizer.decode(prompts.exchanges[0].prefix))
        return [loaded.encoder.tokenizer.encode("so it is")]

    monkeypatch.setattr(demo, "generate", noting)
    persona = adapted(loaded, shots)
    return demonstration_of(loaded, 0).facts(TASK, persona, shots), read


def adapted(loaded: LoadedModel, shots: int) -> PersonaArtefact:
    return demonstration_of(loaded, 0).adapt(TASK, "mira", shots, lambda *step: None)


def demonstration_of(loaded: LoadedModel, seed: int) -> Demonstration:
    return Demonstration(Given(loaded), seed)  # type: ignore[arg-type]  # no corpus is asked for


def test_what_was_said_is_read_by_the_persona_and_never_by_the_base(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, read = asked(loaded, monkeypatch, 2)
    assert [(fact.question, fact.said) for fact in facts] == [
        ("where do you live?", "skerrow"),
        ("where do you work?", "the clock museum"),
    ]
    # The first question shares a word with the second's exchange alone: by words, that is what is recalled.
    by_base, by_persona = read[::2], read[1::2]
    assert not any("skerrow" in text or "museum" in text for text in by_base)
    assert "i work at the clock museum." in by_persona[1]
    assert all("zither" not in text for text in read), "a dialogue that was not learnt from"
    assert all(fact.question in text for fact, text in zip(facts, by_base, strict=True))


def test_the_example_is_drawn_by_the_seed_from_what_is_held_out_and_the_persona_reads_what_it_recalls(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def noting(model: Any, prompts: Batch, *others: Any, **settings: Any) -> list[Sequence[int]]:
        read.append(loaded.encoder.tokenizer.decode(prompts.exchanges[0].prefix))
        return [loaded.encoder.tokenizer.encode("so it is")]

    monkeypatch.setattr(demo, "generate", noting)
    monkeypatch.setattr(demo, "CONTEXT_TURNS", 1)
    later = (part("s4", "hi", "hello there, how are you?", "you play?", "i play the zither at home."),)
    task = replace(TASK, dialogues=(*TASK.dialogues, *later))
    persona = adapted(loaded, 3)
    examples = [demonstration_of(loaded, seed).example(task, persona, 3) for seed in range(6)]
    assert {example.real for example in examples} == {"hello there, how are you?", "i play the zither at home."}
    assert examples == [demonstration_of(loaded, seed).example(task, persona, 3) for seed in range(6)]
    by_base, by_persona = read[:12:2], read[1:12:2]
    asked_to_play = ["you play?" in text for text in by_base]
    assert ["do you play?" in text for text in by_persona] == asked_to_play
    assert not any("do you play?" in text for text in by_base)


def test_a_fact_is_recalled_where_the_persona_alone_has_a_telling_word_of_it() -> None:
    def fact(base: str, persona: str) -> AskedFact:
        return AskedFact("where do you work?", base, persona, "the clock museum")

    assert fact("at a bank", "In a Museum, you know").recalled
    assert not fact("at a museum", "in a museum").recalled
    assert not fact("at a bank", "the work is the work").recalled
    assert "said before  the clock museum" in fact("at a bank", "here").as_text("speaker-1")
