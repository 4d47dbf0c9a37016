import gzip
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from menura.artefacts import tensors, word_vocabulary
from menura.artefacts.loading import LoadOptions
from menura.artefacts.word_vectors import KNOWN, word_vectors
from menura.artefacts.word_vocabulary import WordVocabulary
from menura.errors import ConfigError, DataError, MismatchError, StorageError
from menura.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig
from menura.registry import load_model

LINES = "the 1 0 0.5\ncat 0 2 0\n. -1 0 0\ndog 3 3 3\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text(LINES, encoding="utf-8")
    return path


def begun(file: Path, size: int, **settings: object) -> Seq2Seq:
    config = Seq2SeqConfig(hidden_size=size, num_layers=1, word_vectors=str(file), **settings)  # type: ignore[arg-type]
    model = load_model(config, LoadOptions(vocabulary=WordVocabulary(("a", "cat", "the"), ()))).model
    assert isinstance(model, Seq2Seq)
    return model


def test_only_words_asked_for_are_kept_each_beside_its_numbers(file: Path) -> None:
    found = word_vectors(str(file), ["the", "cat", "unheard-of"])
    assert dict(zip(found.words, found.vectors.tolist(), strict=True)) == {"the": [1, 0, 0.5], "cat": [0, 2, 0]}


@pytest.mark.parametrize("head", ["", "4 3\n"])
def test_a_packed_file_and_a_head_of_two_numbers_are_read_alike(tmp_path: Path, file: Path, head: str) -> None:
    packed = tmp_path / "vectors.txt.gz"
    packed.write_bytes(gzip.compress((head + LINES).encode()))
    assert word_vectors(str(packed), ["dog"]).vectors.tolist() == [[3, 3, 3]]


def test_a_model_begins_with_them_where_a_word_has_one(file: Path) -> None:
    rows = begun(file, 3).embedding.weight
    assert rows[5:7].tolist() == [[0, 2, 0], [1, 0, 0.5]]  # cat, the, behind four control tokens and "a"
    assert rows[:5].abs().max() < 0.1


def test_a_wider_model_takes_them_turned_with_all_angles_kept(file: Path) -> None:
    rows = begun(file, 8, project_vectors=True).embedding.weight[5:7]
    expected = torch.tensor([[0, 2, 0], [1, 0, 0.5]])
    assert torch.allclose(rows @ rows.T, expected @ expected.T, atol=1e-5)


def test_a_run_that_goes_on_reads_no_vectors(file: Path, tmp_path: Path) -> None:
    trained = begun(file, 3)
    word_vocabulary.WordVocabulary(("a", "cat", "the"), ()).write(tmp_path)
    with torch.no_grad():
        trained.embedding.weight.fill_(7)
    tensors.save(tmp_path / "best.safetensors", dict(trained.named_parameters()))
    file.unlink()
    assert bool((begun(file, 3, init_from=str(tmp_path)).embedding.weight == 7).all())


@pytest.mark.parametrize("settings", [{}, {"project_vectors": True}])
def test_another_width_than_the_model_s_is_refused_with_what_would_fit(file: Path, settings: dict[str, bool]) -> None:
    with pytest.raises(MismatchError, match="vectors of 3 numbers, the model is 2 wide.*model.hidden_size=3"):
        begun(file, 2, **settings)
    if not settings:
        with pytest.raises(MismatchError, match="project_vectors=yes"):
            begun(file, 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the 1 0\ncat 1 0 0\n", "2: 3 numbers, the lines before have 2"),
        ("the 1 zero\n", "1: not a number"),
        ("the 1 inf\n", "1: not a finite number"),
        ("", "no word vectors"),
    ],
)
def test_a_damaged_file_is_refused_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "v.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        word_vectors(str(path), ["the"])


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(b"the 1 0\n\xff\xfe 1 0\n")
    with pytest.raises(DataError, match="UTF-8"):
        word_vectors(str(path), ["the"])


def test_a_name_that_is_none_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"neither a file nor a name.*glove-50d"):
        word_vectors("glove-51d", ["the"])


def test_a_missing_package_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, "glove-50d", replace(KNOWN["glove-50d"], package="no-such-vectors"))
    with pytest.raises(StorageError, match=r"no-such-vectors is not installed.*pip install"):
        word_vectors("glove-50d", ["the"])
