import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median_low, multimode
from typing import Any

import numpy
import pytest
from made_up_study import ROWS, filled, preferring, random_votes, reply_of, write_results

from menura import api
from menura.annotation import pairs, resampling
from menura.annotation.scoring import COEFFICIENTS, StudyScores
from menura.annotation.study import KeyItem

Vote = Callable[[str, str], str]


class MadeUp:
    """A study with its key, filled in by raters."""

    def __init__(self, folder: Path, protocol: str, *, ties: bool = False, **settings: Any) -> None:
        results = write_results(folder / "results", **settings)
        api.new_study([results], protocol, ties=ties).save(folder / "study")
        self.folder = folder / "study"
        self.key = json.loads((self.folder / "key.json").read_text(encoding="utf-8"))

    def scores(self, raters: Mapping[str, Vote], **settings: Any) -> api.ScoredStudy:
        files = [
            filled(sheet, name, vote)
            for name, vote in raters.items()
            for sheet in sorted((self.folder / "for-raters").glob("sheet*.csv"))
        ]
        return api.score_study(files, self.folder / "key.json", **{"rounds": 50, **settings})


def three(answers: Sequence[str]) -> dict[str, Vote]:
    """Return three raters who answer at random."""
    return {name: random_votes(seed, answers) for seed, name in enumerate(("Ann", "Bo", "Cy"))}


def test_means_and_majorities_are_those_of_the_votes(tmp_path: Path) -> None:
    made, raters = MadeUp(tmp_path, "plato"), three("012")
    for rating in made.scores(raters).scores.ratings:
        own = [name for name, item in made.key["items"].items() if item["systems"] == [rating.system]]
        given = [[int(vote(item, rating.question)) for vote in raters.values()] for item in own]
        most = [v[0] if len(v := multimode(each)) == 1 else median_low(each) for each in given]
        assert rating.mean.value == pytest.approx(mean(sum(given, [])))
        assert rating.majority.value == pytest.approx(mean(most))
        assert sum(rating.shares.values()) == pytest.approx(1)
        assert rating.mean.low <= rating.mean.value <= rating.mean.high
        assert (rating.items, rating.votes) == (6, 18)


def test_one_rater_has_scores_and_no_agreement_and_that_is_said(tmp_path: Path) -> None:
    scored = MadeUp(tmp_path, "cmaml").scores({"Ann": random_votes(0, "012")})
    for agreement in scored.scores.agreements:
        assert all(math.isnan(figure.value) for figure in agreement.by_coefficient.values())
        assert {figure.note for figure in agreement.by_coefficient.values()} == {"one rater"}
    said = "Fleiss' kappa, Krippendorff's alpha, Gwet's AC1 of quality, consistency: one rater agrees with nobody"
    assert said in scored.scores.notes
    assert said in scored.table()
    assert "| quality     | – " in scored.table()
    assert json.loads(json.dumps(scored.content()))["agreements"][0]["by_coefficient"]["Fleiss' kappa"]["value"] is None
    assert not math.isnan(scored.scores.ratings[0].mean.low)


def test_where_all_votes_are_the_same_kappa_is_undefined_and_that_is_said(tmp_path: Path) -> None:
    scored = MadeUp(tmp_path, "cmaml").scores({name: lambda item, question: "1" for name in ("Ann", "Bo")})
    by_name = scored.scores.agreements[0].by_coefficient
    assert math.isnan(by_name["Fleiss' kappa"].value)
    assert by_name["Gwet's AC1"].value == 1
    told = "Fleiss' kappa, Krippendorff's alpha of quality, consistency: undefined: all votes are the same"
    assert told in scored.scores.notes
    assert scored.scores.agreements[0].unanimous == 1


def test_with_missing_votes_kappa_is_over_the_items_that_all_judged(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, "cmaml", people=6)
    votes = random_votes(0, "012")
    raters = {"Ann": votes, "Bo": lambda item, question: "" if item < "04" else votes(item, question)}
    scored = made.scores(raters, partial=True)
    assert scored.scores.agreements[0].by_coefficient["Fleiss' kappa"].value == pytest.approx(1)
    assert any("6 votes missing" in note for note in scored.scores.notes)


@pytest.mark.parametrize(("protocol", "only"), [("cmaml", "quality"), ("pairwise", "like")])
def test_a_question_that_nobody_answered_is_said(tmp_path: Path, protocol: str, only: str) -> None:
    answer = "A" if protocol == "pairwise" else "1"
    raters = {name: lambda item, question: answer if question == only else "" for name in ("Ann", "Bo")}
    scored = MadeUp(tmp_path, protocol).scores(raters, partial=True)
    assert any(note.endswith(": no votes") and only not in note for note in scored.scores.notes)
    assert scored.table()
    assert {one.question for one in scored.scores.strengths} <= {only}


def test_a_seed_gives_the_same_intervals_and_another_others(tmp_path: Path) -> None:
    made, raters = MadeUp(tmp_path, "cmaml", people=6), three("012")
    first, again, other = (made.scores(raters, seed=seed).scores for seed in (1, 1, 2))
    assert first == again
    assert first.ratings[0].mean.value == other.ratings[0].mean.value
    assert [(r.mean.low, r.mean.high) for r in first.ratings] != [(r.mean.low, r.mean.high) for r in other.ratings]


def test_personas_are_drawn_whole_where_one_has_several_contexts() -> None:
    """All contexts of a persona are alike here: what varies are four personas, not forty contexts."""
    items = [KeyItem(("s",), f"p{number // 10}", number) for number in range(40)]
    marks = numpy.array([float(number // 10 % 2) for number in range(40)])

    def share(weights: resampling.Weights) -> float:
        return float(weights @ marks / weights.sum())

    drawn = resampling.resampling_of(items, rounds=400, seed=0)
    assert (drawn.unit, drawn.units) == ("persona", 4)
    whole = drawn.figure(items, share)
    apart = resampling.resampling_of([KeyItem(("s",), str(n), n) for n in range(40)], rounds=400, seed=0)
    assert (apart.unit, apart.units) == ("context", 40)
    alone = apart.figure([KeyItem(("s",), str(n), n) for n in range(40)], share)
    assert whole.high - whole.low > 2 * (alone.high - alone.low)
    assert set(drawn.weights(items)[:, :10].T.tolist()[0]) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert all(len(set(row[:10])) == 1 for row in drawn.weights(items).tolist())


def test_of_a_single_context_there_is_no_interval(tmp_path: Path) -> None:
    for protocol, answers in (("cmaml", "012"), ("pairwise", "AB")):
        scored = MadeUp(tmp_path / protocol, protocol, people=1, dialogues=1).scores(three(answers))
        figures = [one.mean for one in scored.scores.ratings] + [one.figure for one in scored.scores.strengths]
        assert figures
        assert all(math.isnan(figure.low) and not math.isnan(figure.value) for figure in figures)
        assert "nan" not in scored.table()


def test_two_systems_in_one_context_are_drawn_together() -> None:
    items = [KeyItem((system,), f"p{number}", number) for number in range(5) for system in "ab"]
    weights = resampling.resampling_of(items, rounds=30, seed=0).weights(items)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert (weights[:, ::2].sum(axis=1) == 5).all()


def test_of_one_persona_contexts_are_drawn_and_that_is_said(tmp_path: Path) -> None:
    scored = MadeUp(tmp_path, "cmaml", people=1, dialogues=6).scores(three("012"))
    assert scored.scores.about["units"].startswith("6 contexts")
    assert "one persona: the intervals say nothing of other people" in scored.scores.notes
    assert scored.scores.ratings[0].mean.low < scored.scores.ratings[0].mean.high


def test_wins_are_those_of_the_system_wherever_it_stood(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, "pairwise", people=4)
    by_key = preferring(made.key, ROWS[1])
    scores = made.scores({"Ann": by_key, "Bo": by_key}).scores
    assert [(c.first, c.wins, c.losses, c.share.value) for c in scores.comparisons] == [(ROWS[1], 16, 0, 1.0)] * 2
    assert scores.agreements[0].by_coefficient["Fleiss' kappa"].value == pytest.approx(1)
    assert "better: 50 % of 16 choices for the left side" in scores.notes


def test_a_tie_is_half_a_win_to_both(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, "pairwise", ties=True)
    prefers = preferring(made.key, ROWS[1])
    scores = made.scores({"Ann": lambda item, q: "Tie" if item < "4" else prefers(item, q)}).scores
    comparison = scores.comparisons[0]
    assert (comparison.wins, comparison.ties, comparison.losses) == (3, 3, 0)
    assert comparison.share.value == 0.75


def test_ties_alone_leave_both_systems_equal(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, "pairwise", ties=True)
    scores = made.scores({name: lambda item, question: "tie" for name in ("Ann", "Bo")}).scores
    assert [strength.figure.value for strength in scores.strengths] == [0.0] * 4
    assert scores.comparisons[0].share.value == 0.5
    assert math.isnan(scores.agreements[0].by_coefficient["Fleiss' kappa"].value)


def test_pairs_of_the_same_replies_are_ties_of_as_many_votes(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, "pairwise", reply=lambda row, p, n: "same" if p == 0 else reply_of(row, p, n))
    prefers = preferring(made.key, ROWS[1])
    comparison = made.scores({"Ann": prefers, "Bo": prefers}).scores.comparisons[0]
    assert (comparison.wins, comparison.ties, comparison.losses) == (8, 4, 0)


def test_raters_who_choose_by_place_agree_though_no_system_wins(tmp_path: Path) -> None:
    scores = MadeUp(tmp_path, "pairwise", people=4).scores({n: lambda item, q: "A" for n in ("Ann", "Bo")}).scores
    assert "better: 100 % of 16 choices for the left side" in scores.notes
    assert scores.comparisons[0].share.value == 0.5


@pytest.mark.parametrize("seed", range(6))
def test_bradley_terry_is_the_likeliest_by_search(seed: int) -> None:
    evalica, optimize = pytest.importorskip("evalica"), pytest.importorskip("scipy.optimize")
    counts = numpy.random.default_rng(seed).integers(0, 12, size=(4, 4)).astype(float)
    numpy.fill_diagonal(counts, 0)
    prior = counts + 0.5 * (1 - numpy.eye(4))

    def nll(strengths: Any) -> float:
        return float((prior * numpy.log1p(numpy.exp(strengths[None, :] - strengths[:, None]))).sum())

    best = optimize.minimize(nll, numpy.zeros(4), tol=1e-12).x
    assert pairs.bradley_terry(counts, evalica) == pytest.approx(best - best.mean(), abs=1e-3)


def test_a_system_that_never_lost_has_a_finite_strength(tmp_path: Path) -> None:
    """By hand: 4 wins of 4 and half a tie beforehand make odds of 4.5 to 0.5."""
    evalica = pytest.importorskip("evalica")
    first, second = pairs.bradley_terry(numpy.array([[0.0, 4.0], [0.0, 0.0]]), evalica)
    assert first - second == pytest.approx(math.log(9), abs=1e-6)
    assert first + second == pytest.approx(0)


def test_three_systems_are_ranked_by_who_is_preferred(tmp_path: Path) -> None:
    rows = ("weak", "middle", "strong")
    made = MadeUp(tmp_path, "pairwise", rows=rows, people=5, reply=lambda row, p, n: f"{row[::-1]} {p} {n}")

    def vote(item: str, question: str) -> str:
        systems = made.key["items"][item]["systems"]
        return "A" if rows.index(systems[0]) > rows.index(systems[1]) else "B"

    scores = made.scores({"Ann": vote}).scores
    strengths = {one.system: one.figure for one in scores.strengths if one.question == "better"}
    assert strengths["strong"].value > strengths["middle"].value > strengths["weak"].value
    assert strengths["middle"].value == pytest.approx(0, abs=1e-6)
    assert len(scores.comparisons) == 6


def test_without_evalica_there_are_shares_and_the_install_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MadeUp(tmp_path, "pairwise")
    monkeypatch.setitem(__import__("sys").modules, "evalica", None)
    scored = made.scores(three("AB"))
    assert scored.scores.strengths == ()
    assert 'evalica is not installed (pip install "menura[annotate]")' in scored.table()
    assert len(scored.scores.comparisons) == 2


def test_the_mean_of_kappa_over_the_questions_is_in_the_table(tmp_path: Path) -> None:
    scored = MadeUp(tmp_path, "plato", people=6).scores(three("012"))
    scores: StudyScores = scored.scores
    wanted = mean(one.by_coefficient[COEFFICIENTS[0]].value for one in scores.agreements)
    row = next(line for line in scored.table().splitlines() if line.startswith("| mean "))
    assert float(row.split("|")[2]) == pytest.approx(wanted, abs=6e-4)
