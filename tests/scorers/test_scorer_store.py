import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_scorers import encoder

from menura.errors import ConfigError, DataError, MenuraError, MismatchError
from menura.scorers import encoders, store
from menura.scorers.catalogue import SCORERS, named
from menura.scorers.entailment import LABELS, Entailment, PairNetwork
from menura.scorers.store import ScorerMetadata


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scorer that learnt nothing, written down."""
    network, tokenizer = encoders.load_encoder(str(encoder(tmp_path / "encoder")))
    made = Entailment(PairNetwork(network, 0.1), tokenizer, 20)
    sizes = SCORERS["nli"].sizes(made)
    about = ScorerMetadata("nli", LABELS, {}, sizes, {"a.txt": "0"}, "a.txt", (), (3, 4), {}, 1.0)
    store.write(tmp_path / "nli", made, about)
    return tmp_path / "nli"


def changed(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Say something else of a scorer."""
    path = folder / "scorer.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")


def test_what_was_written_is_read(folder: Path) -> None:
    stored = store.read("nli", folder)
    assert stored.metadata.labels == LABELS
    assert isinstance(stored.classifier, Entailment)
    assert stored.classifier.max_length == 20
    assert not stored.classifier.network.training


def test_the_line_for_signatures_names_hash_and_accuracy(folder: Path) -> None:
    about = store.metadata_of("nli", folder)
    assert about.line.startswith("scorer/nli sha256 ")
    assert about.line.endswith(", accuracy 0.750 of 4")
    other = replace(about, sums={**about.sums, "model.safetensors": "1" * 64})
    assert other.line != about.line


def test_labels_in_another_order_are_refused(folder: Path) -> None:
    changed(folder, lambda about: about | {"labels": ["entailment", "neutral", "contradiction"]})
    with pytest.raises(MismatchError, match=r"labels_differ.*in this order: contradiction, entailment, neutral"):
        store.read("nli", folder)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_changed_file_is_refused(folder: Path, file: str) -> None:
    path = folder / file
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"damaged.*{file} is not what was trained"):
        store.read("nli", folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda about: about | {"schema": 9}, "damaged"),
        (lambda about: {"schema": 1}, "damaged"),
        (lambda about: about | {"surprise": 1}, "damaged"),
        (lambda about: about | {"kind": "emoji"}, "of kind emoji, wanted nli"),
    ],
)
def test_a_description_that_is_none_is_refused(folder: Path, change: Any, says: str) -> None:
    changed(folder, change)
    with pytest.raises(MenuraError, match=says):
        store.metadata_of("nli", folder)


def test_without_a_scorer_the_line_to_type_is_told(tmp_path: Path, empty_workspace: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no_scorer.*menura train scorer/nli --set data.corpus=TRAIN.txt,VALID.txt\)"
    ):
        store.metadata_of("nli", store.folder_of("nli"))
    with pytest.raises(ConfigError, match=rf"--out {tmp_path / 'else' / 'emoji'}\)"):
        store.metadata_of("emoji", store.folder_of("emoji", tmp_path / "else"))


def test_an_unknown_scorer_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean scorer/emoji"):
        named("scorer/emojis")
