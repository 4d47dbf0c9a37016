import json
from pathlib import Path

import pytest
import torch
from small_scorers import Quiet, emoji, nli

from menura.errors import DataError, Stopped
from menura.scorers import store
from menura.training.overrides import with_settings
from menura.training.train_scorer import check_scorer, settings_of, train_scorer

NLI, EMOJI = "scorer/nli", "scorer/emoji"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scorer trained to its end."""
    folder = tmp_path_factory.mktemp("nli")
    train_scorer(NLI, nli(folder), folder / "out", Quiet())
    return folder / "out"


def weights(folder: Path) -> str:
    """Return the hash of what was trained."""
    return store.metadata_of("nli", folder).sums["model.safetensors"]


def test_a_scorer_learns_what_its_pairs_show(trained: Path) -> None:
    about = store.metadata_of("nli", trained)
    assert about.evaluation == (30, 30)
    assert about.labels == ("contradiction", "entailment", "neutral")


def test_what_only_going_on_needs_is_gone(trained: Path) -> None:
    assert not (trained / "checkpoints").exists()
    assert not (trained / "best.safetensors").exists()


def test_checking_says_what_training_said(trained: Path) -> None:
    found = check_scorer(NLI, trained)
    assert (found.accuracy.hits, found.accuracy.total) == store.metadata_of("nli", trained).evaluation
    assert [(count.name, count.total) for count in found.recalls] == [
        ("contradiction", 10),
        ("entailment", 10),
        ("neutral", 10),
    ]


def test_a_stored_scorer_gives_the_verdicts_it_gave_before(tmp_path: Path) -> None:
    config = nli(tmp_path, "learning.epochs=1")
    train_scorer(NLI, config, tmp_path / "out", Quiet())
    pairs = [("i like the tea", "i like tea"), ("i hate owls", "i like owls"), ("rain", "maps")]
    first, again = (store.read("nli", tmp_path / "out").classifier for _ in range(2))
    rows = [one.logits([one.encode(pair) for pair in pairs]) for one in (first, again)]
    assert torch.equal(*rows)


def test_the_same_command_again_changes_nothing(trained: Path) -> None:
    before = weights(trained)
    said = Quiet()
    train_scorer(NLI, nli(trained.parent), trained, said)
    assert weights(trained) == before
    assert said.steps == []
    assert "trained already" in said.said[0]


def test_a_stopped_training_ends_as_one_that_ran_through(trained: Path, tmp_path: Path) -> None:
    config = nli(trained.parent)
    with pytest.raises(Stopped):
        train_scorer(NLI, config, tmp_path, Quiet(stop_after=15))
    said = Quiet()
    train_scorer(NLI, config, tmp_path, said)
    assert "going on after step 15" in said.said
    assert len(said.steps) == 36 - 15
    assert weights(tmp_path) == weights(trained)


def test_other_settings_in_the_same_folder_are_refused_with_each_difference(trained: Path) -> None:
    changed = with_settings(nli(trained.parent), ["learning.lr=0.02", "data.seed=3"])
    with pytest.raises(DataError) as caught:
        train_scorer(NLI, changed, trained, Quiet())
    assert [problem.code for problem in caught.value.problems] == ["config_changed"] * 2
    assert "settings.data.seed: 0 -> 3" in str(caught.value)


def test_the_judging_part_changes_no_weight(trained: Path, tmp_path: Path) -> None:
    config = nli(tmp_path)
    valid = tmp_path / "pairs-valid.txt"
    valid.write_text(valid.read_text(encoding="utf-8").replace("positive", "negative"), encoding="utf-8")
    about = train_scorer(NLI, config, tmp_path / "out", Quiet())
    assert weights(tmp_path / "out") == weights(trained)
    assert about.evaluation == (20, 30)


def test_settings_come_back_from_the_folder(trained: Path) -> None:
    assert settings_of("nli", trained) == nli(trained.parent)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An emoji classifier trained to its end."""
    folder = tmp_path_factory.mktemp("emoji")
    train_scorer(EMOJI, emoji(folder, "within=😀,🙏"), folder / "out", Quiet())
    return folder / "out"


def test_the_emoji_classifier_is_judged_by_the_test_file_and_within_some_emojis(classifier: Path) -> None:
    found = check_scorer(EMOJI, classifier)
    figures = [(count.name, count.hits, count.total) for count in found.figures]
    assert figures[:3] == [("accuracy", 18, 18), ("top 5", 18, 18), ("within 2", 12, 12)]
    assert store.metadata_of("emoji", classifier).said == "test.jsonl"


def test_the_epoch_with_the_lowest_loss_on_what_was_set_aside_is_kept(tmp_path: Path) -> None:
    config = emoji(tmp_path, "learning.epochs=5", "learning.lr=0.8")  # it jumps about: later is not better
    said = Quiet()
    train_scorer(EMOJI, config, tmp_path / "out", said)
    losses = [float(line.split()[3]) for line in said.said if line.startswith("epoch")]
    kept = [number for number, line in enumerate(said.said[-5:]) if line.endswith("kept")][-1]
    assert losses[kept] == min(losses)
    assert kept < 4
    parts = json.loads((tmp_path / "out" / "scorer.json").read_text(encoding="utf-8"))
    again = train_scorer(EMOJI, with_settings(config, [f"learning.epochs={kept + 1}"]), tmp_path / "short", Quiet())
    assert again.sums["model.safetensors"] == parts["sums"]["model.safetensors"]
