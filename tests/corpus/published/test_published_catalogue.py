"""The catalogue of published corpora is sound, and the page about the papers' data is made from it."""

import re
from pathlib import Path

import pytest

from menura.corpus.catalogue import FORMATS
from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.published.catalogue import CORPORA
from menura.corpus.published.records import PublishedCorpus
from menura.corpus.published.tables import markdown
from menura.corpus.published.tally import Tally
from menura.training.recipes import RECIPES, SIZED, SIZES

PAGE = Path(__file__).parents[3] / "docs" / "guide" / "papers-data.md"
EVERY = pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())


def test_the_page_has_the_catalogue() -> None:
    assert markdown() in PAGE.read_text(encoding="utf-8"), "paste what `menura data sources --markdown` prints"


def test_a_corpus_that_a_recipe_names_is_in_the_catalogue() -> None:
    sized = [recipe(size) for recipe in SIZED.values() for size in SIZES]
    used = {name for run in (*sized, *(make() for make in RECIPES.values())) for name in run.data.corpus.split(",")}
    assert {"convai2", "mojitalk", "dailydialog", "avsd", "rpc", "cped", "personaldialog"} <= used
    assert used - {""} <= set(CORPORA)


@EVERY
def test_a_checksum_says_whose_it_is(corpus: PublishedCorpus) -> None:
    for file in corpus.files:
        assert re.fullmatch(r"([0-9a-f]{64})?", file.sha256)
        assert bool(file.sha256) is bool(file.checksum_from)
        assert file.size >= 0
        assert file.sha256 or not file.size


@EVERY
def test_counts_say_whose_they_are(corpus: PublishedCorpus) -> None:
    assert bool(corpus.counts_from) is any(split.dialogues for split in corpus.splits)


@EVERY
def test_what_is_downloaded_can_be_added(corpus: PublishedCorpus) -> None:
    assert (corpus.access == "download") is bool(corpus.command)
    assert set(corpus.formats) <= set(FORMATS)
    assert corpus.unit == "pair" or corpus.access == "none" or corpus.formats
    if corpus.access == "download":
        assert corpus.files
        assert corpus.wanted


def test_no_two_corpora_publish_a_file_of_the_same_name() -> None:
    names = [file.name for corpus in CORPORA.values() for file in corpus.files]
    assert len(names) == len(set(names))


def said(name: str, turns: int = 2) -> Dialogue:
    return Dialogue(name, tuple(Turn(str(number % 2), "x") for number in range(turns)))


def test_dialogues_are_counted_by_the_name_of_their_file_or_else_by_their_own() -> None:
    tally = Tally(CORPORA["convai2"])
    for stem, dialogue in (
        ("valid_self_original", said("valid_self_original-1", 4)),
        ("both_in_one", said("train-1")),
        ("both_in_one", said("valid-2")),
        ("both_in_one", said("more-3")),
    ):
        tally.add(stem, dialogue)
    assert [(count.split, count.counted, count.turns) for count in tally.counts()] == [
        ("train", 1, 2),
        ("valid", 2, 6),
        ("others", 1, 2),
    ]
    assert tally.missing() == ()
    assert Tally(CORPORA["convai2"]).missing() == ("train", "valid")


def test_a_count_differs_where_dialogues_or_turns_do_and_where_both_are_published() -> None:
    corpus = CORPORA["avsd"]
    split = corpus.splits[0]

    def differs(dialogues: int, turns: int) -> bool:
        tally = Tally(corpus)
        for number in range(dialogues):
            tally.add("videoDial_test_v01", said(str(number), turns))
        return tally.counts()[0].differs

    assert not differs(split.dialogues, split.turns // split.dialogues)
    assert differs(split.dialogues, 2)
    assert differs(3, 20)
    unpublished = Tally(CORPORA["personaldialog"])
    unpublished.add("dialogues_train", said("1"))
    assert not unpublished.counts()[0].differs


def test_a_file_of_another_version_is_not_missed() -> None:
    tally = Tally(CORPORA["avsd"])
    for name in ("train_set4DSTC7-AVSD", "valid_set4DSTC7-AVSD"):
        tally.add(name, said("1"))
    assert tally.missing() == ("test",)
