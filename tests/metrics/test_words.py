"""Word F1, Dist-n and BLEU by hand."""

import pytest
import sacrebleu

from menura.metrics.bleu import Bleu
from menura.metrics.catalogue import METRICS
from menura.metrics.distinct import Distinct
from menura.metrics.score import Sample
from menura.metrics.word_f1 import WordF1, normalised, word_f1

REPLIES = ("The old kettle sings again, does it not?", "we row at dawn, don't we?", "Quiet now.", "")
REFERENCES = (
    "Yes, the old kettle sings again , it does!",
    "At dawn we row, we do.",
    "quiet now, please.",
    "hello there you",
)


def samples(*pairs: tuple[str, str]) -> list[Sample]:
    """Samples of one persona, all of one dialogue."""
    return [Sample("p", "d", reply, reference, 1.0, 1) for reply, reference in pairs]


def test_a_word_counts_as_often_as_both_say_it() -> None:
    assert word_f1("tea tea tea", "tea tea milk") == pytest.approx(2 / 3)


def test_articles_inside_words_stay() -> None:
    assert normalised("an anthem, the atheist, a banana") == ["anthem", "atheist", "banana"]


def test_no_shared_word_is_zero_and_so_is_silence() -> None:
    assert word_f1("north", "south") == 0.0
    assert word_f1("", "") == 0.0


def test_f1_weighs_replies_alike_whoever_speaks() -> None:
    metric = WordF1()
    one, two = metric.gather(samples(("tea", "tea"))), metric.gather(samples(("no", "yes"), ("no", "yes"), ("a", "b")))
    assert metric.value([one, two]) == pytest.approx(25.0)


def test_words_of_two_personas_are_united_not_added() -> None:
    metric = Distinct(1)
    gathered = [metric.gather(samples(("red blue", ""))), metric.gather(samples(("blue green", "")))]
    assert metric.value(gathered) == pytest.approx(3 / 4)


def test_bigrams_stay_inside_a_reply() -> None:
    assert Distinct(2).gather(samples(("red blue", ""), ("green", ""))) == (frozenset({("red", "blue")}), 1)


def test_dist_does_not_see_case() -> None:
    metric = Distinct(1)
    assert metric.value([metric.gather(samples(("Red red", "")))]) == 0.5


def test_replies_too_short_for_a_bigram_score_zero() -> None:
    metric = Distinct(2)
    assert metric.value([metric.gather(samples(("red", ""), ("", "")))]) == 0.0


@pytest.mark.parametrize(("name", "tokenize", "smooth"), [("bleu", "13a", "exp"), ("multi-bleu", "none", "none")])
def test_statistics_added_over_personas_give_the_bleu_of_the_corpus(name: str, tokenize: str, smooth: str) -> None:
    metric = METRICS[name]
    gathered = [metric.gather(samples(pair)) for pair in zip(REPLIES, REFERENCES, strict=True)]
    whole = sacrebleu.corpus_bleu(
        list(REPLIES), [list(REFERENCES)], tokenize=tokenize, lowercase=True, smooth_method=smooth, force=True
    )
    assert 0 < metric.value(gathered) < 100
    assert metric.value(gathered) == pytest.approx(whole.score, abs=1e-9)


def test_bleu_is_never_above_a_hundred() -> None:
    metric = METRICS["bleu"]
    pairs = [(text, text) for text in REFERENCES]
    assert metric.value([metric.gather(samples(*pairs))]) == 100.0


def test_bleu_signature_is_sacrebleus_own() -> None:
    signature = METRICS["bleu"].signature
    for part in ("nrefs:1", "case:lc", "tok:13a", "smooth:exp", f"version:{sacrebleu.__version__}"):
        assert f"|{part}|" in signature


def test_bleu_of_no_samples_gathers_zeros() -> None:
    metric = Bleu("bleu", tokenize="13a", smooth="exp")
    assert metric.value([metric.gather([])]) == 0.0
