"""PLATO's and COCO's word metrics beside their published programs."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import snowballstemmer

from menura.annotation.agreement import counted, fleiss_kappa, majority, system_score
from menura.corpus.stop_words import FUNCTION_WORDS, STOP_WORDS, hash_of
from menura.errors import ConfigError, DataError, StorageError
from menura.metrics import meteor, meteor_jar
from menura.metrics.catalogue import METRICS, named
from menura.metrics.nearest_candidate import auto_score, best_of
from menura.metrics.rouge import rouge_l
from menura.metrics.score import Sample
from menura.metrics.significance import score, value_of
from menura.metrics.smoothed_bleu import SMOOTHED, Method, SmoothedBleu, sentence_bleu
from menura.metrics.words import words_of

WORDS = (
    *("a", "the", "dog", "dogs", "cat", "runs", "ran", "run", "over"),
    *("red", "green", "hill", "slowly", "and", "then", "two", "out"),
)
Caption = tuple[str, tuple[str, ...]]


def captions(count: int = 200, references: int = 3) -> list[Caption]:
    """Made-up captions, some of one word, some of them copies."""
    rng = random.Random(7)
    texts = [
        [" ".join(rng.choices(WORDS, k=rng.randrange(1, 11))) for _ in range(2 + rng.randrange(references))]
        for _ in range(count)
    ]
    made = [(reply, tuple(known)) for reply, *known in texts]
    return [(known[0], known) if place % 20 == 0 else (reply, known) for place, (reply, known) in enumerate(made)]


def samples_of(made: Sequence[Caption]) -> list[Sample]:
    return [
        Sample(f"p{place % 9}", f"d{place}", reply, known[0], 0.0, 1, references=known)
        for place, (reply, known) in enumerate(made)
    ]


def by_tool(scorer: Any, made: Sequence[Caption]) -> Any:
    truth = {place: list(known) for place, (_, known) in enumerate(made)}
    replies = {place: [reply] for place, (reply, _) in enumerate(made)}
    return scorer.compute_score(truth, replies)[0]


@pytest.mark.parametrize("method", SMOOTHED)
@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.filterwarnings("ignore:\\s*The hypothesis contains 0 counts:UserWarning")
def test_every_smoothing_is_nltk_s(method: Method, order: Any) -> None:
    bleu = pytest.importorskip("nltk.translate.bleu_score")
    weights = {1: (1, 0, 0, 0), 2: (0.5, 0.5, 0, 0), 4: (0.25, 0.25, 0.25, 0.25)}[order]
    smoothing = getattr(bleu.SmoothingFunction(), f"method{method}")
    for reply, known in captions():
        theirs = bleu.sentence_bleu([text.split() for text in known], reply.split(), weights, smoothing)
        assert sentence_bleu(reply, known, order, method) == pytest.approx(theirs, abs=1e-12)


def test_bleu_by_another_method_has_another_name_and_signature() -> None:
    assert (SmoothedBleu(2).name, SmoothedBleu(2, 4).name) == ("bleu-2-chencherry", "bleu-2-chencherry-4")
    assert "smooth:method4" in SmoothedBleu(2, 4).signature


def test_coco_bleu_rouge_and_cider_are_the_published_programs() -> None:
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    made = captions()
    truth = {place: list(known) for place, (_, known) in enumerate(made)}
    replies = {place: [reply] for place, (reply, _) in enumerate(made)}
    theirs, _ = bleu.compute_score(truth, replies, verbose=0)
    ours = [value_of(METRICS[f"coco-bleu-{order}"], samples_of(made)) for order in (1, 2, 3, 4)]
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert value_of(METRICS["rouge-l"], samples_of(made)) == pytest.approx(by_tool(rouge, made), abs=1e-12)
    assert value_of(METRICS["cider-d"], samples_of(made)) == pytest.approx(by_tool(cider, made), abs=1e-9)


def test_rouge_at_beta_1_is_rouge_score_s() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    for reply, known in captions():
        theirs = scorer.score(known[0], reply)["rougeL"].fmeasure
        assert rouge_l(reply, known[:1], beta=1.0) == pytest.approx(theirs, abs=1e-12)


def jar_s(*options: str) -> meteor_jar._Program:
    """The program, running with other options than the metric's."""
    try:
        path = meteor_jar.jar()
    except ConfigError as error:
        pytest.skip(f"METEOR's program is not on this machine: {error}")
    return meteor_jar._Program(path, options)


def test_the_score_is_the_program_s_with_the_same_matchers() -> None:
    program = jar_s("-m", "exact stem")
    plain = [(reply, known) for reply, known in captions(2000, references=1) if unlike(reply) and unlike(known[0])]
    matched = 0
    for reply, known in plain:
        theirs, ours = program.statistics(reply, known), meteor.statistics_of(reply, known)
        assert (*ours[:4], *ours[-2:]) == (*theirs[:4], *theirs[20:22])
        assert meteor.score_of(ours) == pytest.approx(meteor_jar.score_of(theirs), abs=1e-12)
        matched += ours[-1] > 1
    program.close()
    assert matched > 50


def unlike(text: str) -> bool:
    """Whether no two words have one stem: where they do, the program leaves some unmatched."""
    stems = [snowballstemmer.stemmer("english").stemWord(word) for word in text.split()]
    return len(set(stems)) == len(stems)


@pytest.mark.parametrize(
    ("reply", "reference", "wanted"),
    [
        ("a b c", "a b c", (3, 1, 3)),  # words, runs, equal words
        ("b c a", "a b c", (3, 2, 3)),
        ("walking dogs", "dogs walked", (2, 2, 1)),
        ("the cat the mat", "the mat", (2, 1, 2)),  # the second "the" stands before "mat"
        ("run runs", "runs", (1, 1, 1)),
        ("x", "y", (0, 0, 0)),
    ],
)
def test_words_are_set_beside_one_another_in_few_runs(reply: str, reference: str, wanted: tuple[int, ...]) -> None:
    found = meteor.aligned(reply.split(), reference.split())
    assert (found.matches, -found.fewer_chunks, found.exact) == wanted


def test_no_word_is_matched_twice() -> None:
    found = meteor.aligned(["the", "the", "the"], ["the", "end"])
    assert found.pairs == ((0, 0),)


def test_a_copy_scores_1_and_a_corpus_is_no_mean_of_its_replies() -> None:
    metric = METRICS["meteor-exact-stem"]
    copy, half = samples_of([("two dogs ran", ("two dogs ran",)), ("dogs red ran hill", ("the dog ran over a hill",))])
    assert value_of(metric, [copy]) == 1.0
    assert value_of(metric, [copy, half]) != pytest.approx((1 + value_of(metric, [half])) / 2, abs=1e-3)


def test_meteor_without_java_is_refused_and_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="metric meteor: java is not installed"):
        named(["ppl", "meteor"])


def test_meteor_without_its_jar_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(meteor_jar.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv(meteor_jar.PLACE, str(tmp_path / "none.jar"))
    with pytest.raises(ConfigError, match="METEOR_JAR names .*none.jar, which is no file"):
        named(["meteor"])
    monkeypatch.delenv(meteor_jar.PLACE)
    monkeypatch.setattr(meteor_jar, "file_of", _not_installed)
    with pytest.raises(ConfigError, match="pip install pycocoevalcap"):
        named(["meteor"])


def _not_installed(package: str, file: str) -> None:
    raise StorageError(f"package {package} is not installed")


def test_signatures_say_how_many_references_there_were() -> None:
    one, several = samples_of([("a b", ("a b",))]), samples_of([("a b", ("a b",)), ("c", ("c", "d", "e"))])
    for name in ("bleu-1-chencherry", "coco-bleu-4", "rouge-l", "cider-d", "meteor-exact-stem"):
        assert score(METRICS[name], one, rounds=1, seed=0).signature.endswith("|refs:1")
        assert score(METRICS[name], several, rounds=1, seed=0).signature.endswith("|refs:1-3")


def test_the_lists_of_words_are_in_the_signatures() -> None:
    assert f"stop:{hash_of(STOP_WORDS)}" in METRICS["knowledge-f1"].signature
    assert f"function:{hash_of(FUNCTION_WORDS)}" in METRICS["meteor-exact-stem"].signature
    assert hash_of(STOP_WORDS) != hash_of(STOP_WORDS - {"cool"})


def test_the_stop_words_are_about_as_many_as_the_published_list_has() -> None:
    assert 260 < len(STOP_WORDS) < 310
    assert not STOP_WORDS & {"dog", "teach", "mother", "red", "two", "school"}
    assert all(words_of(word) == (word,) for word in STOP_WORDS if word.isalpha())


@pytest.mark.parametrize("text", ["I don't know, well-read people's.", "i do n't know , well - read people 's ."])
def test_words_are_the_same_however_a_tokeniser_parts_them(text: str) -> None:
    assert words_of(text) == ("i", "don't", "know", ",", "well-read", "people's", ".")


def test_a_do_not_is_a_don_t() -> None:
    assert words_of("We do not know.") == words_of("we don't know .")


def test_a_reply_longer_than_its_reference_is_not_rewarded_for_length() -> None:
    assert value_of(METRICS["coco-bleu-1"], samples_of([("the hill slowly red", ("the hill",))])) == pytest.approx(0.5)


def test_perplexity_under_one_latent_value_is_nan_where_any_reference_lacks_it() -> None:
    known = Sample("p", "d", "", "so", 3.0, 2, posterior_nll=2.0, best_nll=1.0)
    assert value_of(METRICS["ppl-posterior"], [known]) == pytest.approx(2.718281828)
    assert value_of(METRICS["ppl-best"], [known]) == pytest.approx(1.6487212707)
    lacking = [known, replace(known, posterior_nll=None)]
    assert str(value_of(METRICS["ppl-posterior"], lacking)) == "nan"
    assert value_of(METRICS["ppl"], lacking) == pytest.approx(4.4816890703)


def test_perplexity_per_character_counts_the_end_too() -> None:
    assert value_of(METRICS["ppl-char"], [Sample("p", "d", "", "abc", 4.0, 2)]) == pytest.approx(2.718281828)


def test_the_oracle_takes_the_candidate_nearest_to_any_reference_and_the_first_of_equal_ones() -> None:
    known = ("the dog ran over the hill", "a dog runs")
    assert best_of(["two cats", "the dog ran", "the dog ran over the hill"], known) == 2
    assert best_of(["red", "a dog runs", "A dog runs", "green"], known) == 1
    assert auto_score("the dog ran over the hill", known) == pytest.approx(6.0, abs=1e-6)
    assert auto_score("green", known) == pytest.approx(0.0, abs=1e-3)


def test_votes_that_are_no_votes_are_refused() -> None:
    with pytest.raises(DataError, match=r"votes \[3, 7\] are none of"):
        counted([[0, 3], [7, 1]])
    with pytest.raises(DataError, match=r"items have \[2, 3\] votes"):
        fleiss_kappa([[2, 0, 0], [2, 1, 0]])
    with pytest.raises(DataError, match="without votes"):
        majority([])


def test_kappa_of_one_label_or_of_nothing_is_not_a_number() -> None:
    assert str(fleiss_kappa([[3, 0, 0]])) == "nan"
    assert str(fleiss_kappa([])) == "nan"
    assert fleiss_kappa([[3, 0], [0, 3]]) == 1.0
    assert str(system_score([])) == "nan"
