import json
import lzma
import re
from pathlib import Path

import pytest
from small_scorers import pairs

from menura.errors import ConfigError, DataError
from menura.scorers import dialogue_nli
from menura.scorers.classifier import LabelledText
from menura.scorers.data import ScorerData, last_turns, rarest, splits_of
from menura.scorers.optimizer_settings import Learning, batches_of


def written(folder: Path, **files: int) -> str:
    """Write files of so many pairs each; return the setting that names them."""
    paths = []
    for place, (name, count) in enumerate(files.items()):
        path = folder / f"{name}.txt"
        path.write_text(pairs(count, 1000 * place), encoding="utf-8")
        paths.append(str(path))
    return ",".join(paths)


def test_a_line_is_two_sentences_and_a_label(tmp_path: Path) -> None:
    path = tmp_path / "nli.txt.xz"
    path.write_bytes(lzma.compress(b"i bake . </s>i am a baker .</s>positive\nwe row</s>i fly</s>negative\n"))
    assert dialogue_nli.read([path]) == [
        LabelledText(("i bake .", "i am a baker ."), "entailment"),
        LabelledText(("we row", "i fly"), "contradiction"),
    ]


def test_all_lines_that_are_none_are_told_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "nli.txt"
    path.write_text("a</s>b</s>maybe\na</s>b\n\na</s> </s>neutral\na</s>b</s>neutral\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        dialogue_nli.read([path])
    said = str(caught.value).splitlines()
    assert [re.search(r"nli.txt:(\d): (.*?) \(hint", line).groups() for line in said] == [  # type: ignore[union-attr]
        ("1", "unknown label 'maybe'"),
        ("2", "2 parts in the line, not 3"),
        ("4", "an empty sentence"),
    ]


def test_the_published_file_is_an_array_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "dialogue_nli_train.jsonl"
    row = {"id": "train_0", "dtype": "x", "sentence1": "i bake . ", "sentence2": "i am a baker .", "label": "positive"}
    path.write_text(json.dumps([row, {**row, "label": "neutral"}]), encoding="utf-8")
    assert dialogue_nli.read([path]) == [
        LabelledText(("i bake .", "i am a baker ."), "entailment"),
        LabelledText(("i bake .", "i am a baker ."), "neutral"),
    ]


def test_all_objects_that_are_no_pairs_are_told_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "nli.jsonl"
    rows = [
        {"sentence1": "a", "sentence2": "b", "label": "maybe"},
        {"sentence1": "a", "label": "neutral"},
        {"sentence1": "a", "sentence2": " ", "label": "neutral"},
        3,
        {"sentence1": "a", "sentence2": "b", "label": "neutral"},
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        dialogue_nli.read([path])
    assert [problem.message for problem in caught.value.problems][:4] == [
        "file[0]: unknown label 'maybe'",
        "file[1].sentence2: required, is missing",
        "file[2].sentence2: is empty",
        "file[3]: is a number, must be an object",
    ]
    path.write_text(json.dumps(rows)[:-3], encoding="utf-8")
    with pytest.raises(DataError, match="not valid JSON"):
        dialogue_nli.read([path])


def test_a_dialogue_s_last_turn_is_labelled_by_its_speaker(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text("Ann: how are you?\nBob: fine, thanks.\n\nAnn: tea?\nCat: yes please.\n", encoding="utf-8")
    assert last_turns([path]) == [LabelledText(("fine, thanks.",), "Bob"), LabelledText(("yes please.",), "Cat")]


def test_files_named_so_judge_and_are_not_learnt_from(tmp_path: Path) -> None:
    splits = splits_of(ScorerData(written(tmp_path, train=30, valid=12)), dialogue_nli.read)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 0, 12)
    assert splits.description == "valid.txt"
    assert set(splits.files) == {"train.txt", "valid.txt"}


def test_without_such_a_file_a_drawn_share_judges_and_is_said(tmp_path: Path) -> None:
    data = ScorerData(written(tmp_path, some=40))
    splits = splits_of(data, dialogue_nli.read, validation_share=0.25)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (27, 9, 4)
    assert splits.description == "10% of some.txt, drawn by seed 0"
    assert splits_of(data, dialogue_nli.read, validation_share=0.25) == splits
    assert splits_of(ScorerData(data.corpus, seed=1), dialogue_nli.read).test != splits.test


def test_nothing_to_learn_from_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing is left to learn from"):
        splits_of(ScorerData(written(tmp_path, valid=9)), dialogue_nli.read)
    with pytest.raises(ConfigError, match="none are named"):
        splits_of(ScorerData(), dialogue_nli.read)


def test_the_rarest_labels_are_those_with_enough_to_judge_by(tmp_path: Path) -> None:
    path, held = tmp_path / "dev.txt", tmp_path / "test.txt"
    said = {"a": 5, "b": 2, "c": 1, "d": 3}
    path.write_text("\n\n".join(f"q: hi\n{who}: so" for who, n in said.items() for _ in range(n)), encoding="utf-8")
    held.write_text("\n\n".join(f"q: hi\n{who}: so" for who in "aabbdd"), encoding="utf-8")
    splits = splits_of(ScorerData(f"{path},{held}", eval_files="test"), last_turns)
    assert rarest(splits, 2, 2) == ("b", "d")


def test_an_epoch_has_every_example_once_and_like_lengths_side_by_side() -> None:
    lengths = [number % 37 for number in range(500)]
    made = batches_of(lengths, 8, "0:1")
    assert sorted(place for batch in made for place in batch) == list(range(500))
    assert max(max(lengths[p] for p in batch) - min(lengths[p] for p in batch) for batch in made) < 20
    assert batches_of(lengths, 8, "0:1") == made
    assert batches_of(lengths, 8, "0:2") != made


def test_rare_labels_weigh_more_where_asked_for() -> None:
    learnt = ["a"] * 8 + ["b"] * 2
    assert Learning().label_weights(("a", "b"), learnt) == [1.0, 1.0]
    assert Learning(class_balance=1.0).label_weights(("a", "b"), learnt) == pytest.approx([10 / 16, 10 / 4])
    assert Learning(class_balance=0.5).label_weights(("a", "b"), learnt) == pytest.approx(
        [(10 / 16) ** 0.5, (10 / 4) ** 0.5]
    )


def test_the_rate_rises_and_falls() -> None:
    rates = [Learning(lr=1.0, warmup_ratio=0.25).rate_at(step, 20) for step in range(20)]
    assert rates[0] < rates[3] < rates[5]
    assert max(rates) == rates[5] == 1.0
    assert rates[19] == pytest.approx(1 / 15)
    assert {Learning(lr=1.0, linear_decay=False).rate_at(step, 20) for step in range(20)} == {1.0}
