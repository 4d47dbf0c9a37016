import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_chat import name_of, write
from small_scorers import encoder
from small_training import config_for, train
from torch import Tensor

from menura.adaptation.finetune import PretrainOnly
from menura.adaptation.weight_distance import WeightDistances
from menura.errors import ConfigError, EpisodeError, MismatchError
from menura.evaluation.choose_epochs import chosen_epochs
from menura.evaluation.evaluate import Evaluation, Results, SystemRow
from menura.evaluation.generation import Evaluator, Outputs
from menura.evaluation.run import config_of, evaluate_prepared, evaluate_run
from menura.evaluation.settings import EvaluateConfig
from menura.evaluation.systems import System
from menura.metrics.catalogue import BY_CHARACTERS, DEFAULT
from menura.metrics.score import Sample
from menura.report import results as report_files
from menura.scorers.persona_classifier import PersonaClassifier
from menura.tasks.split import strangers
from menura.tasks.task import Task
from menura.training.config import RunConfig
from menura.training.data import DataConfig, EncodedTask, encoded, tasks_of
from menura.training.run_setup import Prepared, prepare

QUICK = EvaluateConfig(
    shots=(1, 2), queries=1, replies=1, candidates=3, max_new_tokens=4, metrics=("ppl", "f1", "hits@1")
)


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


@pytest.fixture(scope="module")
def given(corpus: Path) -> Prepared:
    return prepare(config_for(corpus))


@pytest.fixture(scope="module")
def found(given: Prepared) -> Results:
    return evaluate_prepared(given, QUICK, personas=0, say=quiet)


def evaluation(given: Prepared, tasks: Sequence[EncodedTask], settings: EvaluateConfig = QUICK) -> Evaluation:
    """Evaluate these tasks, each the next one's stranger."""
    ids = sorted(task.persona_id for task in tasks)
    others = dict(zip(ids, [*ids[1:], ids[0]], strict=True))
    return Evaluation(given.loaded.model, given.loaded.encoder, given.config.method, tasks, others, settings, say=quiet)


def asked(row: SystemRow) -> list[tuple[str, str, str]]:
    """Return what a row was asked, apart from what came out."""
    return [(sample.persona_id, sample.dialogue_id, sample.reference) for sample in row.scored]


def by_persona(samples: Sequence[Sample]) -> Mapping[str, list[Sample]]:
    """Sort samples by whose they are."""
    parts = defaultdict(list)
    for sample in samples:
        parts[sample.persona_id].append(sample)
    return parts


def test_every_table_has_the_unadapted_the_wrong_persona_and_the_adapted_row(found: Results) -> None:
    labels = [row.label for row in found.rows]
    assert labels == [
        "un-adapted",
        *("wrong persona, K=1", "adapted, K=1"),
        *("wrong persona, K=2", "adapted, K=2"),
    ]


def test_adapted_rows_are_compared_with_every_row_without_that_gain_and_wrong_ones_with_none(found: Results) -> None:
    assert [(ours, theirs) for ours, theirs, _ in found.differences] == [
        ("wrong persona, K=1", "un-adapted"),
        ("adapted, K=1", "un-adapted"),
        ("adapted, K=1", "wrong persona, K=1"),
        ("wrong persona, K=2", "un-adapted"),
        ("adapted, K=2", "un-adapted"),
        ("adapted, K=2", "wrong persona, K=2"),
    ]


def test_all_shots_are_judged_by_the_same_query(found: Results) -> None:
    first, *others = (asked(row) for row in found.rows)
    assert first
    for other in others:
        assert other == first


def test_no_query_dialogue_is_learnt_from(given: Prepared, found: Results) -> None:
    learnt = {
        exchange.dialogue_id
        for task in given.tasks("test")
        for dialogue in task.dialogues[: max(QUICK.shots)]
        for exchange in dialogue
    }
    assert learnt
    assert not learnt & {dialogue_id for _, dialogue_id, _ in asked(found.rows[0])}


def test_adapting_changes_how_likely_the_references_are(found: Results) -> None:
    nll = [[sample.reference_nll for sample in row.scored] for row in found.rows]
    assert len({tuple(row) for row in nll}) == len(nll)


def test_only_held_out_personas_are_looked_at(given: Prepared, found: Results) -> None:
    test = {task.persona_id for task in given.split.splits["test"]}
    assert {persona for persona, _, _ in asked(found.rows[0])} == test


def test_a_persona_s_samples_depend_on_no_order_and_no_neighbour(given: Prepared) -> None:
    tasks = given.tasks("test")
    one_way = evaluation(given, tasks).results()
    other_way = evaluation(given, tasks[::-1]).results()
    for row, other in zip(one_way.rows, other_way.rows, strict=True):
        assert by_persona(row.scored) == by_persona(other.scored)
        assert by_persona(row.generated) == by_persona(other.generated)


def test_the_same_seed_gives_the_same_table(given: Prepared, found: Results) -> None:
    again = evaluate_prepared(given, QUICK, personas=0, say=quiet)
    for row, other in zip(found.rows, again.rows, strict=True):
        assert (row.scored, row.generated, row.scores) == (other.scored, other.generated, other.scores)


def test_wrong_persona_weights_never_come_from_one_who_shares_a_dialogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for pair in range(3):
            for number in range(4):
                turns = [
                    {"speaker": name_of(2 * pair + side), "text": f"turn {turn} of {side} in {number}"}
                    for turn, side in enumerate((0, 1, 0, 1))
                ]
                file.write(json.dumps({"dialogue_id": f"{pair}-{number}", "turns": turns}) + "\n")
    data = DataConfig(corpus=str(path), max_turns=0, min_heldout_dialogues=3, train=0, valid=0, test=1)
    given = prepare(RunConfig("pairs", config_of("tiny/maml").model, config_of("tiny/maml").method, data))
    used: list[tuple[str, str]] = []

    def adapt(self: object, model: object, support: Any, on_step: object = None) -> dict[str, Any]:
        return {support[0][0].persona_id: torch.zeros(1)}

    def noting(self: Evaluator, folds: Any, system: System, **kwargs: Any) -> Outputs:
        used.extend((exchanges[0].persona_id, whose) for exchanges in folds for whose in system.weights)
        return Outputs([Sample(exchanges[0].persona_id, "d", "", "x", 1.0, 1) for exchanges in folds])

    monkeypatch.setattr(type(given.config.method), "adapt", adapt)
    monkeypatch.setattr(Evaluator, "evaluate", noting)
    monkeypatch.setattr(WeightDistances, "add", lambda *weights: None)  # those above are of no model
    evaluate_prepared(given, replace(QUICK, shots=(1,), metrics=("ppl",)), personas=0, say=quiet)
    pairs = {name_of(index): name_of(index ^ 1) for index in range(6)}
    wrong = [(receiver, giver) for receiver, giver in used if receiver != giver]
    assert sorted(receiver for receiver, _ in wrong) == sorted(pairs)
    assert all(pairs[receiver] != giver for receiver, giver in wrong)
    assert len({giver for _, giver in wrong}) > 1


def test_a_start_adds_the_row_of_the_base_itself(corpus: Path, tmp_path: Path) -> None:
    config = config_for(corpus, "outer.lr=0.1")
    train(config, tmp_path / "run")
    trained = config_of(str(tmp_path / "run"))
    assert trained.model.init_from == str(tmp_path / "run")
    settings = replace(QUICK, shots=(1,), metrics=("ppl",))
    started = evaluate_run(trained, settings, personas=2, say=quiet)
    plain = evaluate_run(config, settings, personas=2, say=quiet)
    assert [row.label for row in started.rows] == ["base", "un-adapted", "wrong persona, K=1", "adapted, K=1"]
    nll = {row.label: [sample.reference_nll for sample in row.scored] for row in started.rows}
    # Fresh adapters start as the base, so the un-adapted row without a start is the base's.
    assert nll["base"] == pytest.approx([sample.reference_nll for sample in plain.rows[0].scored], rel=1e-5)
    assert nll["base"] != nll["un-adapted"]


def test_a_start_trained_on_another_split_is_refused(corpus: Path, tmp_path: Path) -> None:
    train(config_for(corpus), tmp_path / "run")
    trained = config_of(str(tmp_path / "run"))
    other = replace(trained, data=replace(trained.data, seed=7))
    with pytest.raises(MismatchError, match="trained on another split"):
        evaluate_run(other, QUICK, say=quiet)


def test_what_only_pretrains_has_one_row(given: Prepared) -> None:
    untouched = replace(given, config=replace(given.config, method=PretrainOnly()))
    assert [row.label for row in evaluate_prepared(untouched, QUICK, personas=2, say=quiet).rows] == ["un-adapted"]


def test_no_shots_alone_is_the_unadapted_row(given: Prepared) -> None:
    found = evaluate_prepared(given, replace(QUICK, shots=(0,)), personas=2, say=quiet)
    assert [row.label for row in found.rows] == ["un-adapted"]


def test_the_model_comes_back_as_it_was(given: Prepared) -> None:
    before: dict[str, Tensor] = {name: value.clone() for name, value in given.loaded.model.state_dict().items()}
    evaluate_prepared(given, replace(QUICK, shots=(1,)), personas=2, say=quiet)
    assert all(value.equal(before[name]) for name, value in given.loaded.model.state_dict().items())


def test_a_table_says_what_it_stands_on(found: Results) -> None:
    about = found.about
    assert about["base"].startswith("tiny (sha256 ")
    assert about["start"] == "none"
    assert "test personas" in about["data"]
    assert "seed 0" in about["split"]
    assert "nucleus" in about["decoding"]


LEFT_OUT = replace(QUICK, protocol="leave-one-out", queries=2, metrics=("ppl",))


def test_leaving_one_out_judges_each_dialogue_by_what_was_learnt_from_the_others(
    given: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[tuple[str, set[str]]] = []

    def noting(self: object, model: object, support: Any, on_step: object = None) -> dict[str, Any]:
        learnt.append((support[0][0].persona_id, {exchange.dialogue_id for d in support for exchange in d}))
        return {}

    monkeypatch.setattr(type(given.config.method), "adapt", noting)
    found = evaluate_prepared(given, replace(LEFT_OUT, queries=0, shots=(2,)), personas=2, say=quiet)
    for task in given.tasks("test")[:2]:
        queries = [dialogue[0].dialogue_id for dialogue in task.dialogues]
        told = list(dict.fromkeys(d for persona, d, _ in asked(found.rows[0]) if persona == task.persona_id))
        assert told == queries, "every dialogue is the query once"
        supports = [ids for persona, ids in learnt if persona == task.persona_id]
        assert supports == [set([q for q in queries if q != query][:2]) for query in queries]
    for row in found.rows:
        assert asked(row) == asked(found.rows[0])


def test_draws_take_other_dialogues_to_learn_from_and_the_same_to_judge_by(given: Prepared) -> None:
    found = evaluate_prepared(given, replace(LEFT_OUT, shots=(1,), draws=3), personas=2, say=quiet)
    adapted = found.rows[-1]
    assert len(adapted.draws) == 3
    questions = [
        [(s.persona_id, s.dialogue_id, s.reference) for s in evaluate_prepared.scored]
        for evaluate_prepared in adapted.draws
    ]
    assert questions[0] == questions[1] == questions[2] == asked(found.rows[0])
    assert len({tuple(s.reference_nll for s in evaluate_prepared.scored) for evaluate_prepared in adapted.draws}) > 1
    assert len(adapted.by_draw["ppl"]) == 3
    assert min(adapted.by_draw["ppl"]) <= adapted.scores["ppl"].value <= max(adapted.by_draw["ppl"])


def test_recalled_exchanges_stand_before_each_context_within_their_budget(given: Prepared) -> None:
    settings = replace(QUICK, shots=(2,), memory_tokens=60, metrics=("ppl",))
    found = evaluate_prepared(given, settings, personas=2, say=quiet)
    rows = {row.label: row for row in found.rows}
    kinds = ["wrong persona", "adapted", "wrong persona's recalled", "recalled", "adapted + recalled"]
    assert list(rows) == ["un-adapted", *(f"{kind}, K=2" for kind in kinds)]
    assert {(ours, theirs) for ours, theirs, _ in found.differences} >= {
        ("recalled, K=2", "un-adapted"),
        ("recalled, K=2", "wrong persona's recalled, K=2"),
        ("adapted + recalled, K=2", "adapted, K=2"),
    }
    for row, plain in (("recalled", "un-adapted"), ("adapted + recalled", "adapted, K=2")):
        read, asked_of = rows[f"{row}, K=2"].draws[0].context_tokens, rows[plain].draws[0]
        assert asked_of.context_tokens < read <= asked_of.context_tokens + 60 * len(asked_of.scored)
    assert not rows["recalled, K=2"].kilobytes
    assert rows["adapted + recalled, K=2"].kilobytes
    assert asked(rows["recalled, K=2"]) == asked(rows["un-adapted"])


def test_what_is_recalled_by_states_is_other_than_by_words_and_the_same_for_everybody_s_weights(
    given: Prepared,
) -> None:
    settings = replace(QUICK, shots=(2,), memory_tokens=60, metrics=("ppl",))
    by_words, by_states = (
        {row.label: row for row in evaluate_prepared(given, asked, personas=2, say=quiet).rows}
        for asked in (settings, replace(settings, memory_by="states"))
    )
    likely = {name: [s.reference_nll for s in by_states[f"{name}, K=2"].scored] for name in ("recalled", "adapted")}
    assert likely["recalled"] != [sample.reference_nll for sample in by_words["recalled, K=2"].scored]
    assert likely["adapted"] == [sample.reference_nll for sample in by_words["adapted, K=2"].scored]
    read = [by_states[f"{name}, K=2"].draws[0].context_tokens for name in ("recalled", "adapted + recalled")]
    assert read[0] == read[1]


def test_a_cache_of_own_words_adds_rows_and_costs_no_context(given: Prepared) -> None:
    settings = replace(QUICK, shots=(2,), memory_tokens=60, cache_weight=0.2, metrics=("ppl",))
    found = evaluate_prepared(given, settings, personas=2, say=quiet)
    rows = {row.label.removesuffix(", K=2"): row for row in found.rows}
    assert list(rows)[-3:] == [
        "adapted + cache",
        "wrong persona's adapted + recalled + cache",
        "adapted + recalled + cache",
    ]
    for cached, plain in (("adapted + cache", "adapted"), ("adapted + recalled + cache", "adapted + recalled")):
        assert rows[cached].draws[0].context_tokens == rows[plain].draws[0].context_tokens
        nll = [[sample.reference_nll for sample in rows[name].scored] for name in (cached, plain)]
        assert all(
            own < other + 0.3 * sample.reference_tokens
            for own, other, sample in zip(*nll, rows[plain].scored, strict=True)
        )
        assert nll[0] != nll[1]


def test_everybody_is_judged_under_everybodys_persona(given: Prepared) -> None:
    settings = replace(QUICK, shots=(2,), prompt=True, identify=True, metrics=("ppl",))
    found = evaluate_prepared(given, settings, personas=3, say=quiet)
    told_apart = {row.label: row.identified for row in found.rows if row.identified}
    assert list(told_apart) == ["adapted, K=2", "prompt, K=2", "adapted + prompt, K=2"]
    for identified in told_apart.values():
        assert {one.personas for one in identified} == {3}
        assert all(1 <= one.rank <= 3 for one in identified)
    assert "of 3 |" in report_files.table(found)


def test_a_prompt_puts_the_support_dialogues_before_the_context_and_changes_no_weight(given: Prepared) -> None:
    found = evaluate_prepared(given, replace(QUICK, shots=(2,), prompt=True, metrics=("ppl",)), personas=2, say=quiet)
    rows = {row.label: row for row in found.rows}
    kinds = ["wrong persona", "adapted", "wrong persona's prompt", "prompt", "adapted + prompt"]
    assert list(rows) == ["un-adapted", *(f"{kind}, K=2" for kind in kinds)]
    assert [(ours, theirs) for ours, theirs, _ in found.differences if "+" in ours] == [
        ("adapted + prompt, K=2", "un-adapted"),
        ("adapted + prompt, K=2", "adapted, K=2"),
        ("adapted + prompt, K=2", "prompt, K=2"),
    ]
    read = {label: row.draws[0].context_tokens for label, row in rows.items()}
    assert read["prompt, K=2"] == read["adapted + prompt, K=2"] > read["un-adapted"] == read["adapted, K=2"]
    assert not rows["prompt, K=2"].kilobytes
    assert rows["adapted, K=2"].kilobytes > 0
    task = given.tasks("test")[0]
    first, support = task.dialogues[2][0], task.dialogues[:2]
    prompted = given.loaded.encoder.after(first, support, 2048)
    with torch.no_grad():
        wanted = float(given.loaded.model.loss(given.loaded.model.batch([prompted])).nll[0])
    assert rows["prompt, K=2"].scored[0].reference_nll == pytest.approx(wanted, rel=1e-5)


def test_a_method_that_adapts_nothing_can_still_be_prompted(given: Prepared) -> None:
    untouched = replace(given, config=replace(given.config, method=PretrainOnly()))
    found = evaluate_prepared(
        untouched, replace(QUICK, shots=(1,), prompt=True, metrics=("ppl",)), personas=2, say=quiet
    )
    assert [row.label for row in found.rows] == ["un-adapted", "wrong persona's prompt, K=1", "prompt, K=1"]


def test_inner_epochs_are_chosen_on_held_back_personas_and_never_on_test_ones(
    given: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_back = {task.persona_id for task in given.tasks("valid")}
    seen: set[str] = set()
    real = type(given.config.method).adapt

    def noting(self: Any, model: Any, support: Any, on_step: object = None) -> Any:
        seen.add(support[0][0].persona_id)
        # The more epochs, the nearer the weights stay: the most must win, whatever was listed first.
        return {name: value / self.inner.epochs for name, value in real(self, model, support).items()}

    monkeypatch.setattr(type(given.config.method), "adapt", noting)
    chosen = chosen_epochs(given, (1, 3, 2), 2, quiet)
    assert chosen is not None
    assert seen <= held_back
    assert set(chosen.perplexity) == {0, 1, 2, 3}
    best = min((1, 2, 3), key=lambda epochs: chosen.perplexity[epochs])
    assert chosen.method.inner.epochs == best  # type: ignore[union-attr]  # not pretrain-only
    about = evaluate_prepared(
        given, replace(QUICK, shots=(1,), epochs=(2,), metrics=("ppl",)), personas=2, say=quiet
    ).about
    assert about["inner epochs"].startswith("2, chosen on 1 held-back personas at K=1 by PPL (0: ")
    assert "epochs=2" in about["method"]


def test_a_likelihood_only_table_says_nothing_of_replies(given: Prepared) -> None:
    about = evaluate_prepared(given, replace(QUICK, shots=(1,), metrics=("ppl",)), personas=2, say=quiet).about
    assert not {"replies", "decoding"} & set(about)


def test_where_no_metrics_are_named_a_table_has_the_usual_ones_of_its_text(given: Prepared) -> None:
    settings = replace(QUICK, shots=(0,), metrics=())
    assert tuple(evaluate_prepared(given, settings, personas=2, say=quiet).rows[0].scores) == DEFAULT
    sides = {side: [in_kana(task) for task in tasks] for side, tasks in given.split.splits.items()}
    told = replace(given, split=replace(given.split, splits=sides))
    assert tuple(evaluate_prepared(told, settings, personas=2, say=quiet).rows[0].scores) == BY_CHARACTERS


def in_kana(task: Task) -> Task:
    """Let everybody say what they say letter by letter in hiragana, without blanks."""

    def spelt(text: str) -> str:
        return "".join(chr(0x3041 + ord(sign) % 80) for sign in text if sign != " ")

    parts = []
    for part in task.dialogues:
        turns = tuple(replace(turn, text=spelt(turn.text)) for turn in part.dialogue.turns)
        parts.append(replace(part, dialogue=replace(part.dialogue, turns=turns)))
    return replace(task, dialogues=tuple(parts))


def test_personas_with_too_few_dialogues_are_told(given: Prepared) -> None:
    with pytest.raises(EpisodeError, match="have fewer than 7 dialogues, the first is 'person-"):
        evaluation(given, given.tasks("test"), replace(QUICK, shots=(6,)))


@pytest.mark.parametrize(
    "setting",
    [
        *({"shots": ()}, {"shots": (-1,)}, {"queries": 0}, {"replies": -1}, {"candidates": 1}, {"max_new_tokens": 0}),
        *({"draws": 0}, {"epochs": (0,)}, {"protocol": "leave-one-out", "queries": -1}),
    ],
)
def test_an_evaluation_of_nothing_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EvaluateConfig(**setting)


def test_tasks_are_cut_to_their_first_turns(corpus: Path, given: Prepared) -> None:
    short = tasks_of(DataConfig(corpus=str(corpus), max_turns=2))
    assert all(len(part.dialogue.turns) <= 2 for task in short for part in task.dialogues)
    people = [task for task in short if task.persona_id.startswith("person-")]
    assert len(people) == 20
    assert len(encoded(people, given.loaded.encoder)) == 20
    capped = tasks_of(DataConfig(corpus=str(corpus), max_dialogues=3))
    assert max(len(task.dialogues) for task in capped) == 3
    assert strangers(people)


def test_nothing_is_ranked_where_no_metric_asks_for_a_rank(given: Prepared) -> None:
    table = evaluate_prepared(given, replace(QUICK, metrics=("f1",)), personas=2, say=quiet)
    assert {sample.rank for row in table.rows for sample in row.generated} == {None}
    assert table.about["replies"].endswith("replied to")


def test_settings_can_be_chosen_by_held_back_personas_without_a_look_at_the_test_personas(given: Prepared) -> None:
    found = evaluate_prepared(given, replace(QUICK, split="valid"), personas=0, say=quiet)
    seen = {sample.persona_id for row in found.rows for sample in row.scored}
    assert seen == {task.persona_id for task in given.split.splits["valid"]}
    assert " valid personas" in found.about["data"]


def test_who_epochs_are_chosen_by_does_not_judge_them() -> None:
    with pytest.raises(ConfigError, match="held-back personas, who are those to be judged"):
        replace(QUICK, split="valid", epochs=(1, 2))


def test_what_the_support_says_of_the_persona_is_asked_for_in_place_of_queries(corpus: Path, given: Prepared) -> None:
    teller = given.tasks("test")[1].persona_id
    lines = corpus.read_text(encoding="utf-8").splitlines()
    told = corpus.with_name("told.jsonl")
    told.write_text(
        "\n".join(re.sub(r'"i \w+ ', '"i live in ', line) if f'"{teller}"' in line else line for line in lines),
        encoding="utf-8",
    )
    prepared = prepare(config_for(told))
    assert teller in {task.persona_id for task in prepared.tasks("test")}
    settings = replace(QUICK, shots=(2,), memory_tokens=200, ask_facts=True, metrics=("recalled-facts",), replies=0)
    found = evaluate_prepared(prepared, settings, personas=0, say=quiet)
    for row in found.rows:
        assert {sample.persona_id for sample in row.generated} == {teller}
        assert {sample.context for sample in row.generated} == {(("you", "where do you live?"),)}
    reading = {row.label: row.draws[0].context_tokens for row in found.rows}
    assert reading["recalled, K=2"] > reading["un-adapted"], "the statement is recalled"


def test_facts_are_asked_for_where_they_can_be_and_identify_nobody() -> None:
    for wrong in ({"identify": True}, {"shots": (0,)}):
        with pytest.raises(ConfigError, match="--ask-facts"):
            replace(QUICK, ask_facts=True, **wrong)


def test_a_classifier_of_the_other_dialogues_says_whose_replies_are_and_what_it_makes_of_the_real_ones(
    given: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[Mapping[str, Sequence[str]]] = []
    trained = PersonaClassifier.trained

    def small(replies: Mapping[str, Sequence[str]]) -> PersonaClassifier:
        learnt.append(replies)
        return trained(replies, str(encoder(tmp_path / "encoder")))

    monkeypatch.setattr(PersonaClassifier, "trained", small)
    settings = replace(QUICK, metrics=("whose-reply",), shots=(1,), queries=2)
    found = evaluate_prepared(given, settings, personas=0, say=quiet)
    rows = {row.label: row for row in found.rows}
    assert list(rows) == ["un-adapted", "real replies", "wrong persona, K=1", "adapted, K=1"]
    (by_whom,) = learnt
    for task in given.tasks("test"):
        others = [text for part in task.dialogues[3:] for e in part if e.source for text in [e.source.reply.text]]
        assert by_whom[task.persona_id] == others
    assert [sample.reply for sample in rows["real replies"].generated] == [
        sample.reference for sample in rows["un-adapted"].generated
    ]
    assert all(sample.persona_rank is not None for row in found.rows for sample in row.generated)


def test_whose_reply_wants_dialogues_beside_support_and_query() -> None:
    for wrong in ({"draws": 2}, {"protocol": "leave-one-out"}):
        with pytest.raises(ConfigError, match="whose-reply: "):
            replace(QUICK, metrics=("whose-reply",), **wrong)
