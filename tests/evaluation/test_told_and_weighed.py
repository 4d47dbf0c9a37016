import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up_chat import settings, write
from told_chat import RUNS, profile_of, write_told

from menura.errors import ConfigError, DataError
from menura.evaluation.evaluate import Results
from menura.evaluation.generation import Evaluator
from menura.evaluation.run import evaluate_prepared
from menura.evaluation.scorer_labels import scorer_labels_for
from menura.evaluation.settings import EvaluateConfig
from menura.evaluation.systems import UNCHANGED
from menura.models.attention_routing.model import AttentionRouting
from menura.training.overrides import with_settings
from menura.training.recipes import recipe
from menura.training.run_setup import Prepared, prepare

QUICK = EvaluateConfig(shots=(1,), queries=1, replies=1, candidates=3, max_new_tokens=4, metrics=("ppl",))


def prepared(corpus: Path, name: str, *more: str) -> Prepared:
    """Return an untrained model of a tiny recipe over a corpus, its gates open."""
    config = with_settings(recipe(name, "tiny"), settings(corpus, *RUNS, *more)[1::2])
    made = prepare(config)
    if made.loaded.model.gates is not None:
        made.loaded.model.gates.data.fill_(0.5)
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_told(tmp_path_factory.mktemp("told") / "told.jsonl")


@pytest.fixture(scope="module")
def given(corpus: Path) -> Prepared:
    return prepared(corpus, "arplus/strength", "model.strength_by=given")


def table(given: Prepared, **changed: Any) -> Results:
    return evaluate_prepared(given, replace(QUICK, **changed), personas=2, say=lambda line: None)


def test_all_rows_are_judged_at_the_strength_and_learnt_without_it(given: Prepared) -> None:
    model = given.loaded.model
    assert isinstance(model, AttentionRouting)
    own, low, full = table(given), table(given, strength=0.25), table(given, strength=1.0)
    for mine, weak, strong in zip(own.rows, low.rows, full.rows, strict=True):
        assert strong.scores["ppl"].value == pytest.approx(mine.scores["ppl"].value)  # 1 is the model's own
        assert weak.scores["ppl"].value != pytest.approx(mine.scores["ppl"].value, rel=1e-4)
        assert weak.distances == mine.distances
    assert own.about.keys() ^ low.about.keys() == {"strength"}
    assert model.given_strength is None


def test_replies_are_said_at_the_strength_they_are_judged_at(given: Prepared) -> None:
    seen: list[float | None] = []
    model = given.loaded.model
    assert isinstance(model, AttentionRouting)
    begin = model.prefill
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "prefill", lambda batch: (seen.append(model.given_strength), begin(batch))[1])
        table(given, strength=0.5, metrics=("f1", "hits@1"), shots=(0,))
    assert set(seen) == {0.5}


def test_replies_have_their_least_tokens_and_the_table_says_so(given: Prepared) -> None:
    found = table(given, metrics=("f1",), shots=(0,), replies=0, max_new_tokens=60, min_new_tokens=60)
    assert "at least 60, at most 60 tokens" in found.about["decoding"]
    assert found.rows[0].draws[0].reply_tokens == 61 * len(found.rows[0].generated)  # the end token counted
    with pytest.raises(ConfigError, match="max_new_tokens: 4, must be at least 5"):
        replace(QUICK, min_new_tokens=5)


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_a_strength_that_is_no_share_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match=r"strength: .*must be between 0 and 1"):
        EvaluateConfig(strength=strength)


def test_a_model_that_weighs_no_persona_is_refused_before_anything_is_adapted(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"no stream of the persona's.*persona_path=memory_stream"):
        table(prepared(corpus, "arplus/arplus"), strength=0.5)


def test_the_second_task_is_told_by_the_exchange_whoever_is_judged_beside_it(given: Prepared) -> None:
    found = table(given, metrics=("ppl-release-sum",))
    own = {(s.persona_id, s.dialogue_id, s.reference): s for s in found.rows[0].scored}
    assert all(s.auxiliary_nll and s.auxiliary_tokens == s.reference_tokens for s in own.values())
    loaded = given.loaded
    evaluate_run = Evaluator(
        loaded.model, loaded.encoder, QUICK.decoding, 4, 1, 0, (), 0, generates=False, second_task=True
    )
    folds = [[e for d in task.dialogues[1:2] for e in d] for task in given.tasks("test")[:2]]
    alone = [s for fold in reversed(folds) for s in evaluate_run.evaluate([fold], UNCHANGED).scored]
    assert len(alone) == len(own)
    for sample in alone:
        wanted = own[sample.persona_id, sample.dialogue_id, sample.reference]
        assert sample.auxiliary_nll == pytest.approx(wanted.auxiliary_nll)
    other = replace(evaluate_run, seed=1).evaluate(list(reversed(folds)), UNCHANGED).scored
    assert [sample.auxiliary_nll for sample in other] != [sample.auxiliary_nll for sample in alone]


def test_the_released_sum_is_half_the_second_task_s_nll_more(given: Prepared) -> None:
    row = table(given, metrics=("ppl", "ppl-release-sum")).rows[0]
    samples = row.scored
    tokens = sum(s.reference_tokens for s in samples)
    second = sum(s.auxiliary_nll or 0.0 for s in samples) / tokens
    wanted = math.log(row.scores["ppl"].value) + 0.5 * second
    assert math.log(row.scores["ppl-release-sum"].value) == pytest.approx(wanted)


def test_nothing_is_told_of_a_second_task_where_none_is_asked_or_learnt(given: Prepared, corpus: Path) -> None:
    assert all(s.auxiliary_nll is None for s in table(given).rows[0].scored)
    without = prepared(corpus, "arplus/arplus", "model.auxiliary=none")
    found = table(without, metrics=("ppl-release-sum",))
    assert all(s.auxiliary_nll is None for s in found.rows[0].scored)


def told_by(found: Results) -> dict[str, set[Sequence[str]]]:
    facts: dict[str, set[Sequence[str]]] = {}
    for row in found.rows:
        for sample in row.generated:
            facts.setdefault(sample.persona_id, set()).add(sample.facts)
    return facts


def with_facts(path: Path) -> Path:
    """Give everybody two facts, one of which is a value of their profile."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line["facts"] = {speaker: [f"i am {speaker}.", "tea"] for speaker in line["profile"]}
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return path


def test_facts_that_no_model_reads_and_values_of_profiles_are_what_a_reply_can_tell(tmp_path: Path) -> None:
    given = prepared(with_facts(write_told(tmp_path / "facts.jsonl")), "arplus/strength")
    found = told_by(table(given, metrics=("attribute-overlap",)))
    assert len(found) == 2
    for person, facts in found.items():
        profile = profile_of(person)
        assert facts == {(f"i am {person}.", "tea", profile["trade"], profile["thing"][0])}  # type: ignore[index]


def test_a_persona_without_facts_is_told_by_its_profile_alone(given: Prepared) -> None:
    found = told_by(table(given, metrics=("attribute-overlap",)))
    assert all(len(facts) == 3 for of_person in found.values() for facts in of_person)


def test_metrics_of_sentences_see_no_values_and_do_not_share_a_table_with_those_that_do(tmp_path: Path) -> None:
    tasks = prepared(with_facts(write_told(tmp_path / "facts.jsonl")), "arplus/strength").split.splits["test"]
    assert {len(facts) for facts in scorer_labels_for(["c-score-lexical"], tasks).facts.values()} == {2}
    with pytest.raises(ConfigError, match=r"attribute-overlap counts .* c-score-lexical does not.*two evaluations"):
        scorer_labels_for(["attribute-overlap", "c-score-lexical"], tasks)


def test_people_who_tell_nothing_cannot_be_told_by_it(tmp_path: Path) -> None:
    untold = prepared(write(tmp_path / "untold.jsonl", people=12), "arplus/ar")
    with pytest.raises(DataError, match=r"no_facts.*attribute-overlap"):
        scorer_labels_for(["attribute-overlap"], untold.split.splits["test"])
