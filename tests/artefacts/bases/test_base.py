import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from menura.artefacts.bases import base as bases
from menura.artefacts.bases.catalogue import BASES, DEFAULT
from menura.artefacts.files import write_json
from menura.errors import ConfigError, DataError, StorageError, UnsafeError

pytestmark = pytest.mark.usefixtures("empty_workspace")


def quiet(line: str) -> None:
    del line


def test_the_tiny_base_is_built_once_and_is_the_same_everywhere(empty_workspace: Path) -> None:
    loaded = bases.load("tiny", offline=True, say=quiet)
    base = loaded.base
    assert (base.name, base.source, len(loaded.tokenizer)) == ("tiny", "code", 259)
    assert base.parameters == sum(p.numel() for p in loaded.network.parameters())
    assert bases.on_disk() == [base]
    shutil.rmtree(empty_workspace / "bases")
    before = torch.get_rng_state()
    assert bases.pull("tiny").weights_sha256 == base.weights_sha256
    assert torch.equal(torch.get_rng_state(), before)


def test_the_small_gpt_reads_byte_pairs_of_chats_and_is_the_same_everywhere(empty_workspace: Path) -> None:
    base = bases.load("gpt-4x256")
    assert len(base.tokenizer) == base.network.config.vocab_size == 8000
    text = "What do you think about it? I don't know \u2014 na\u00efve caf\u00e9 \U0001f600"
    assert base.tokenizer.decode(base.tokenizer.encode(text)) == text
    assert len(base.tokenizer.encode("What do you think about it?")) == 7, "a word of chats is one piece"


def test_a_base_is_read_back_as_it_was_built() -> None:
    first, again = (bases.load("tiny", say=quiet).network for _ in range(2))
    assert first.dtype == torch.float32
    assert not first.training
    pairs = zip(first.state_dict().items(), again.state_dict().items(), strict=True)
    assert all(n == m and torch.equal(a, b) for (n, a), (m, b) in pairs)
    assert first.get_output_embeddings().weight is first.get_input_embeddings().weight


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_base_that_was_changed_is_refused(empty_workspace: Path, file: str) -> None:
    bases.pull("tiny")
    path = empty_workspace / "bases" / "tiny" / file
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{file} is not what was installed") as caught:
        bases.load("tiny")
    assert caught.value.problems[0].code == "damaged"
    assert "menura base pull tiny" in caught.value.problems[0].hint


def test_the_hash_of_a_base_names_weights_and_vocabulary() -> None:
    base = bases.pull("tiny")
    changes = [{"weights_sha256": "0"}, {"tokens_sha256": "0"}]
    assert len({base.sha256, *(bases.Base(**{**asdict(base), **c}).sha256 for c in changes)}) == 3
    assert bases.Base(**{**asdict(base), "name": "x", "licence": "y"}).sha256 == base.sha256


def test_a_folder_is_a_base(empty_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    wanted = bases.pull("tiny")
    folder = tmp_path_factory.mktemp("mine")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(empty_workspace / "bases" / "tiny" / name, folder)
    found = bases.load(str(folder), offline=True).base
    assert found.sha256 == wanted.sha256
    assert found.source == "folder"
    assert sum(p.numel() for p in bases.without_weights(str(folder)).parameters()) == found.parameters
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match="tokenizer.json is missing"):
        bases.load(str(folder), offline=True)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt"])
def test_a_folder_of_pickles_is_refused_unread(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / name).write_bytes(b"\x80")
    with pytest.raises(UnsafeError, match=f"{name}: pickle files can run code"):
        bases.load(str(folder), offline=True)


def test_a_misspelt_base_tells_the_nearest() -> None:
    for use in (bases.pull, bases.without_weights):
        with pytest.raises(ConfigError, match="unknown base 'smollm2-135n'") as caught:
            use("smollm2-135n")
        assert caught.value.problems[0].hint == "did you mean smollm2-135m?"


def test_offline_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", called)
    for name in (DEFAULT, "someone/model"):
        with pytest.raises(StorageError, match="--offline forbids") as caught:
            bases.pull(name, offline=True, say=quiet)
        assert caught.value.exit_code == 5
    assert bases.on_disk() == []


def test_sizes_alone_cannot_be_loaded() -> None:
    with pytest.raises(ConfigError, match="has sizes only"):
        bases.load("gpt2-config")


def test_a_download_that_fails_says_why_and_leaves_nothing(
    empty_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "warning\nERROR: No route to host\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(StorageError, match=r"could not fetch .*No route to host"):
        bases.pull(DEFAULT, say=quiet)
    assert not list(empty_workspace.rglob("*"))


@pytest.mark.parametrize("name", BASES)
def test_every_known_base_has_a_network_without_weights(name: str) -> None:
    network = bases.without_weights(name)
    assert all(p.device.type == "meta" for p in network.parameters())
    assert BASES[name].name == name


def test_a_damaged_description_is_a_data_error(empty_workspace: Path) -> None:
    bases.pull("tiny")
    (empty_workspace / "bases" / "tiny" / "base.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        bases.load("tiny")
    write_json(empty_workspace / "bases" / "tiny" / "base.json", {"name": "tiny"})
    with pytest.raises(DataError, match="damaged"):
        bases.load("tiny")
