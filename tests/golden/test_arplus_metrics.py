"""Numbers of AR+'s specification: metrics as its tables were made, beside the honest ones."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import sacrebleu

from menura.errors import ConfigError
from menura.metrics.catalogue import METRICS
from menura.metrics.reference_metrics import (
    ReferenceBleu,
    ReferenceDistinct,
    ReferenceF1,
    ReferencePerplexity,
    characters,
)
from menura.metrics.score import Sample
from menura.metrics.significance import value_of

BATCH = 64  # of the release
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def said(reply: str, reference: str = "", dialogue: str = "d") -> Sample:
    return Sample("p", dialogue, reply, reference, 0.0, 1)


def exchanges(count: int, seed: int = 7) -> list[Sample]:
    """Replies of 1 to 15 characters that share some with references of as many, with nats of both streams."""
    rng = random.Random(seed)
    samples = []
    for number in range(count):
        reference = "".join(rng.choices(LETTERS, k=rng.randrange(1, 16)))
        reply = reference[: rng.randrange(16)] + "".join(rng.choices(LETTERS, k=rng.randrange(4)))
        sample = replace(said(reply, reference, f"d{number}"), persona_id=f"p{number % 7}")
        sample = replace(sample, reference_nll=rng.uniform(1, 40), reference_tokens=len(reference) + 1)
        samples.append(replace(sample, auxiliary_nll=rng.uniform(1, 40), auxiliary_tokens=len(reference) + 1))
    return samples


def test_m2_the_release_divides_both_orders_by_tokens_and_counts_the_end() -> None:
    for length in (1, 2):
        assert value_of(METRICS[f"dist-{length}-release"], [said("abcab")]) == pytest.approx(4 / 6)
    # Honest beside it: of characters alone, by how many n-grams there are.
    assert value_of(METRICS["dist-1-char"], [said("abcab")]) == pytest.approx(3 / 5)
    assert value_of(METRICS["dist-2-char"], [said("abcab")]) == pytest.approx(3 / 4)


def test_m2_a_reply_without_repetition_scores_by_its_length_alone() -> None:
    assert [value_of(ReferenceDistinct(length=2), [said(LETTERS[:n])]) for n in (3, 9)] == pytest.approx(
        [3 / 4, 9 / 10]
    )


def test_m6_a_perfect_reply_of_six_tokens_against_a_reference_padded_to_sixteen() -> None:
    assert value_of(ReferenceBleu(padded=16), [said("abcde", "abcde")]) == pytest.approx(0.18888, abs=5e-6)
    assert value_of(METRICS["bleu-release-padded"], [said("abcde", "abcde")]) == 1.0
    assert value_of(METRICS["bleu-char"], [said("abcde", "abcde")]) == pytest.approx(100.0)


def test_m6_the_longest_reference_of_a_batch_shortens_the_others() -> None:
    long = said(LETTERS[:15], LETTERS[:15], "e")
    found = value_of(METRICS["bleu-release-padded"], [said("zyxwv", "zyxwv"), long])
    assert found == pytest.approx(math.exp(1 - 2 * 16 / (6 + 16)))


def test_without_pads_the_release_s_bleu_is_sacrebleu_s() -> None:
    # References of one length: a batch then has no pad.
    rng = random.Random(3)
    references = ["".join(rng.choices("abcd", k=9)) for _ in range(BATCH)]
    replies = [text[: rng.randrange(5, 10)] + "".join(rng.choices("abcd", k=rng.randrange(3))) for text in references]
    found = value_of(METRICS["bleu-release-padded"], list(map(said, replies, references)))
    spaced = [[" ".join(characters(text)).replace("\0", "END") for text in texts] for texts in (replies, references)]
    wanted = sacrebleu.corpus_bleu(spaced[0], [spaced[1]], tokenize="none", smooth_method="none", force=True)
    assert 0.1 < found < 0.9
    assert found == pytest.approx(wanted.score / 100, abs=1e-12)


def test_m7_one_character_that_agrees_and_pads_that_do() -> None:
    # Four tokens and five, of which one agrees: 11 pads agree and one does not.
    found = value_of(ReferenceF1(classes=9489, padded=16), [said("axy", "abcd")])
    assert found == pytest.approx(0.00020619, abs=5e-9)
    assert found == pytest.approx((1 + 2 * 11 / 23) / 9489)


def macro_f1(said: Sequence[str], wanted: Sequence[str], classes: int) -> float:
    """Return the same from its definition, class by class, of places in a row."""
    total = 0.0
    for token in {*said, *wanted}:
        both = sum(a == b == token for a, b in zip(said, wanted, strict=True))
        total += 2 * both / (said.count(token) + wanted.count(token))
    return total / classes


def test_m7_is_f1_of_every_class_over_the_places_of_a_batch() -> None:
    samples = exchanges(50)
    rows = [(characters(s.reply), characters(s.reference)) for s in samples]
    width = max(len(row) for pair in rows for row in pair)
    left, right = ([t for pair in rows for t in (*pair[side], *["pad"] * (width - len(pair[side])))] for side in (0, 1))
    assert value_of(ReferenceF1(classes=100), samples) == pytest.approx(macro_f1(left, right, 100), abs=1e-12)


def test_f1_of_characters_is_that_of_what_both_say_whatever_the_place() -> None:
    assert value_of(METRICS["f1-char"], [said("cab。", "abc d")]) == pytest.approx(100 * 6 / 7)
    assert value_of(METRICS["f1-char"], [said("猫が好き。", "犬が好き!")]) == pytest.approx(75.0)


def test_no_class_is_no_mean() -> None:
    with pytest.raises(ConfigError, match="classes: 0"):
        ReferenceF1(classes=0)


@pytest.mark.parametrize("metric", ["ppl", "ppl-char"])
def test_m8_perplexity_does_not_depend_on_order_or_on_the_size_of_batches(metric: str) -> None:
    samples, made = exchanges(90), METRICS[metric]
    whole = value_of(made, samples)
    assert value_of(made, random.Random(1).sample(samples, 90)) == whole
    for size in (1, 7, 64):
        assert made.value([made.gather(samples[i : i + size]) for i in range(0, 90, size)]) == pytest.approx(whole)


def test_m8_the_release_s_sum_does_depend_on_batches_and_on_the_second_stream() -> None:
    samples = exchanges(BATCH)
    dialogue = sum(s.reference_nll for s in samples) / sum(s.reference_tokens for s in samples)
    second = sum(s.auxiliary_nll or 0.0 for s in samples) / sum(s.auxiliary_tokens for s in samples)
    assert value_of(METRICS["ppl-release-sum"], samples) == pytest.approx(math.exp(dialogue + 0.5 * second))
    assert value_of(ReferencePerplexity(weight=0.0), samples) == pytest.approx(value_of(METRICS["ppl"], samples))
    more = exchanges(BATCH + 1)
    assert value_of(ReferencePerplexity(weight=0.0), more) != pytest.approx(value_of(METRICS["ppl"], more), rel=1e-6)


def test_a10_an_auxiliary_stream_leaves_honest_perplexity_alone() -> None:
    samples = exchanges(30)
    without = [replace(s, auxiliary_nll=None, auxiliary_tokens=0) for s in samples]
    assert value_of(METRICS["ppl"], samples) == value_of(METRICS["ppl"], without)
    assert math.isnan(value_of(METRICS["ppl-release-sum"], without))


@pytest.mark.parametrize("metric", ["dist-1-release", "bleu-release-padded", "f1-release-macro", "ppl-release-sum"])
def test_batches_are_of_sixty_four_and_weigh_alike(metric: str) -> None:
    samples, made = exchanges(BATCH + 6), METRICS[metric]
    order = made.gather(samples)[0]
    ranked = [sample for _, sample in sorted(zip(order.tolist(), samples, strict=True), key=lambda pair: pair[0])]
    parts = [value_of(made, ranked[:BATCH]), value_of(made, ranked[BATCH:])]
    of_logs = metric == "ppl-release-sum"
    wanted = math.sqrt(parts[0] * parts[1]) if of_logs else sum(parts) / 2
    assert value_of(made, samples) == pytest.approx(wanted)
    assert value_of(made, [replace(s, persona_id="p") for s in samples]) == pytest.approx(wanted)


@pytest.mark.parametrize("metric", ["dist-1-release", "bleu-release-padded", "f1-release-macro", "ppl-release-sum"])
def test_names_of_personas_do_not_show_where_the_same_is_asked_of_all(metric: str) -> None:
    # One question, many replies: what parts them into batches must be the replies.
    samples = [replace(s, dialogue_id="d", reference="abc") for s in exchanges(BATCH + 20)]
    renamed = [replace(s, persona_id=f"{9 - int(s.persona_id[1:])}") for s in samples]
    assert value_of(METRICS[metric], samples) == value_of(METRICS[metric], renamed)
