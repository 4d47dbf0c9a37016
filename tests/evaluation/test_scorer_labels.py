import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from made_up_chat import write
from small_scorers import FACES, Quiet, emoji, nli
from small_training import config_for
from torch import Tensor

from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import ConfigError, DataError
from menura.evaluation.run import evaluate_prepared, evaluate_run
from menura.evaluation.scorer_labels import ScorerLabels, check_trained, scorer_labels_for, scorers_needed
from menura.evaluation.settings import EvaluateConfig
from menura.metrics.score import Sample
from menura.tasks.task import DialogueView, Task
from menura.training.data import DataConfig, tasks_of, without_facts
from menura.training.run_setup import Prepared, prepare
from menura.training.train_scorer import train_scorer

QUICK = EvaluateConfig(shots=(1,), queries=1, replies=2, candidates=3, max_new_tokens=4, metrics=("ppl", "c-score"))


class Letters:
    """Holds that a reply entails what begins as it does, and contradicts what ends otherwise."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def nli_labels(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        self.asked += pairs
        return [1 if reply[:1] == fact[:1] else -1 if reply[-1:] != fact[-1:] else 0 for reply, fact in pairs]


class Faces:
    """Guesses by a number in the reply."""

    labels = ("😀", "😭", "🙏", "🎶")

    def log_probs(self, replies: Sequence[str]) -> Tensor:
        return torch.tensor([[-abs(place - float(reply)) for place in range(4)] for reply in replies])


def said(reply: str, persona: str = "p", dialogue: str = "d") -> Sample:
    return Sample(persona, dialogue, reply, "reference", 1.0, 1)


def test_each_reply_is_judged_by_the_facts_of_its_own_dialogue() -> None:
    facts = {("p", "d"): ("apples", "beans"), ("p", "e"): ("corn",)}
    found = ScorerLabels(Letters(), "letters", facts=facts).read(
        [said("as"), said("as", dialogue="e"), said("as", "q")]
    )
    assert [sample.facts for sample in found] == [("apples", "beans"), ("corn",), ()]
    assert [sample.nli_labels for sample in found] == [(1, 0), (-1,), ()]
    assert {sample.entailed_by for sample in found} == {"letters"}


def test_a_pair_is_judged_once_however_often_it_is_said() -> None:
    entails = Letters()
    ScorerLabels(entails, facts={("p", "d"): ("apples",)}).read([said("as"), said("as"), said("be")])
    assert entails.asked == [("as", "apples"), ("be", "apples")]


def test_an_emoji_s_place_is_counted_among_all_and_among_the_personas() -> None:
    nli_labels = ScorerLabels(guesses=Faces(), classified_by="faces", personas=("😀", "🎶"))
    first, second = nli_labels.read([said("0", "😀"), said("0.9", "🎶")])
    assert (first.emoji_rank, first.emoji_rank_within, first.emojis) == (0, 0, 2)
    assert (second.emoji_rank, second.emoji_rank_within, second.classified_by) == (3, 1, "faces")


def test_an_emoji_that_is_tied_does_not_come_first() -> None:
    (found,) = ScorerLabels(guesses=Faces(), personas=("😀", "😭")).read([said("0.5", "😀")])
    assert (found.emoji_rank, found.emoji_rank_within) == (1, 1)


def test_facts_stay_for_scoring_where_no_model_reads_them() -> None:
    dialogue = Dialogue("d", (Turn("a", "hi"), Turn("b", "so")), {"b": ("i sail.",), "a": ("i fly.",)})
    task = Task("b", (DialogueView(dialogue, "b"),))
    (part,) = without_facts(task).dialogues
    assert part.facts == ("i sail.",)
    assert [exchange.facts for exchange in part.exchanges()] == [()]
    assert part.dialogue.facts == {}


def test_only_metrics_that_ask_for_a_scorer_need_one(empty_workspace: Path) -> None:
    assert scorers_needed(["ppl", "f1", "c-score-lexical"]) == []
    assert scorers_needed(["e-acc", "c-mean", "c-score"]) == ["emoji", "nli"]
    check_trained(["ppl", "c-score-lexical"])
    with pytest.raises(ConfigError, match="menura train scorer/nli"):
        check_trained(["ppl", "c-contradictions"])


def test_an_evaluation_without_its_scorer_stops_before_anything_is_loaded(empty_workspace: Path) -> None:
    missing = config_for(Path("nowhere.jsonl"))
    with pytest.raises(ConfigError, match="no_scorer"):
        evaluate_run(missing, QUICK, say=lambda line: None)


@pytest.fixture(scope="module")
def scorers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of both scorers, learnt a little."""
    folder = tmp_path_factory.mktemp("scorers")
    train_scorer("scorer/nli", nli(folder, "learning.epochs=1"), folder / "nli", Quiet())
    train_scorer("scorer/emoji", emoji(folder, "learning.epochs=1"), folder / "emoji", Quiet())
    return folder


def with_facts(corpus: Path) -> Path:
    """Give every speaker of a file of dialogues two facts of its own."""

    lines = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        people = {turn["speaker"] for turn in line["turns"]}
        line["facts"] = {name: [f"i like {name}", "i like tea"] for name in people}
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return corpus


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    corpus = with_facts(write(tmp_path_factory.mktemp("facts") / "chat.jsonl"))
    return prepare(config_for(corpus, "data.with_facts=no"))


def test_a_table_has_the_c_score_of_every_row_with_its_scorer(given: Prepared, scorers: Path) -> None:
    settings = EvaluateConfig(**{**vars(QUICK), "metrics": ("ppl", "c-score", "c-mean"), "scorers": str(scorers)})
    found = evaluate_prepared(given, settings, personas=0, say=lambda line: None)
    for row in found.rows:
        assert "scorer/nli sha256" in row.scores["c-score"].signature
        for sample in row.generated:
            assert sample.facts == (f"i like {sample.persona_id}", "i like tea")
            assert len(sample.nli_labels) == 2
        assert row.scores["c-score"].value == pytest.approx(2 * row.scores["c-mean"].value)


def test_replies_keep_facts_and_the_whole_context_for_people_who_judge_them(given: Prepared) -> None:
    settings = EvaluateConfig(**{**vars(QUICK), "metrics": ("f1",)})
    found = evaluate_prepared(given, settings, personas=0, say=lambda line: None)
    dialogues = {part.dialogue.dialogue_id: part for task in given.split.splits["test"] for part in task.dialogues}
    for sample in (sample for row in found.rows for sample in row.generated):
        part = dialogues[sample.dialogue_id]
        turns = [(turn.speaker, turn.text) for turn in part.dialogue.turns]
        assert sample.facts == (f"i like {sample.persona_id}", "i like tea")
        assert sample.nli_labels == ()
        assert sample.speaker == part.speaker
        assert sample.context is not None
        assert [*sample.context, (sample.speaker, sample.reference)] == turns[: len(sample.context) + 1]


def test_a_corpus_without_facts_has_no_c_score(scorers: Path, tmp_path: Path) -> None:
    tasks = tasks_of(DataConfig(corpus=str(write(tmp_path / "chat.jsonl"))))
    with pytest.raises(DataError, match="no_facts"):
        scorer_labels_for(["c-score"], tasks, str(scorers))
    with pytest.raises(DataError, match="no_facts"):
        scorer_labels_for(["c-score-lexical"], tasks)


def test_personas_that_are_no_emoji_have_no_e_acc(scorers: Path, given: Prepared) -> None:
    with pytest.raises(DataError, match=r"unknown_label.*personas are no emoji"):
        scorer_labels_for(["e-acc"], given.split.splits["test"], str(scorers))


def test_emoji_tasks_are_ranked_within_those_that_are_scored(scorers: Path) -> None:
    tasks = [Task(face, ()) for face in list(FACES)[:2]]
    nli_labels = scorer_labels_for(["e-acc-within"], tasks, str(scorers))
    assert nli_labels.personas == ("😀", "😭")
    assert "scorer/emoji sha256" in nli_labels.classified_by
    (found,) = nli_labels.read([said("rainy tea today", "😭")])
    assert found.emojis == 2
    assert found.emoji_rank is not None
    assert found.emoji_rank in range(3)
