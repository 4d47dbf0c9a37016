"""A trained scorer on disk: weights, vocabulary and description, validated when read."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from menura.artefacts import tensors
from menura.artefacts.files import home, read_json, sha256_of, write_json, write_text
from menura.artefacts.pretrained_folder import HEADER_LIMIT
from menura.batches.tokenizer import Tokenizer
from menura.errors import ConfigError, DataError, MismatchError
from menura.scorers.catalogue import PREFIX, SCORERS
from menura.scorers.classifier import Classifier

METADATA = "scorer.json"  # written last: if it exists, the scorer is complete
FILES = ("model.safetensors", "tokenizer.json")
SCHEMA = 1
CORPUS = {"nli": "TRAIN.txt,VALID.txt", "emoji": "mojitalk"}  # in the command that trains one

# Names in files of earlier versions.
NAMES_NOW = {"judged": "evaluation", "limit": "max_length", "width": "hidden_size"}


@dataclass(frozen=True)
class ScorerMetadata:
    """A scorer's description; ``evaluation`` is (correct, total) on the test part."""

    kind: str
    labels: tuple[str, ...]
    settings: dict[str, Any]
    network: dict[str, Any]  # sizes to rebuild it by
    files: dict[str, str]  # sha256 of the training and test files
    said: str  # where the test part comes from
    within: tuple[str, ...]
    evaluation: tuple[int, int]
    sums: dict[str, str]  # sha256 of the scorer's files
    seconds: float

    @property
    def line(self) -> str:
        """The scorer and its accuracy, as part of a signature."""
        whole = hashlib.sha256(" ".join(self.sums[name] for name in FILES).encode()).hexdigest()
        right, total = self.evaluation
        return f"{PREFIX}{self.kind} sha256 {whole[:12]}, accuracy {right / max(total, 1):.3f} of {total}"


@dataclass(frozen=True)
class Stored:
    """A loaded scorer and its description."""

    classifier: Classifier
    metadata: ScorerMetadata


def folder_of(kind: str, scorers: str | Path = "") -> Path:
    """Return a scorer's folder, existing or not: in the workspace, or in a folder of scorers."""
    return Path(scorers).expanduser() / kind if scorers else home() / "scorers" / kind


def write(folder: Path, classifier: Classifier, metadata: ScorerMetadata) -> ScorerMetadata:
    """Write a scorer, its description last, and return the description with the files' checksums."""
    tensors.save(folder / FILES[0], classifier.network.state_dict())
    write_text(folder / FILES[1], classifier.tokenizer.to_json())
    whole = ScorerMetadata(**{**vars(metadata), "sums": {name: sha256_of(folder / name) for name in FILES}})
    write_json(folder / METADATA, {"schema": SCHEMA, **asdict(whole)})
    return whole


def metadata_of(kind: str, folder: Path) -> ScorerMetadata:
    """Return the description of the scorer in a folder.

    Raises ConfigError, with the command that trains one, if there is none, MismatchError for one of another kind or
    with labels in another order than this program's.
    """
    path = folder / METADATA
    if not path.exists():
        raise ConfigError(
            f"no {kind} scorer was trained yet: {folder} holds none",
            hint=_trained_by(kind, folder),
            code="no_scorer",
        )
    metadata = _parsed(path)
    if metadata.kind != kind:
        raise MismatchError(f"a scorer of kind {metadata.kind}, wanted {kind}", place=str(path), code="schema")
    fixed = SCORERS[kind].labels
    if fixed and metadata.labels != fixed:
        raise MismatchError(
            f"its labels are {', '.join(metadata.labels)}, wanted in this order: {', '.join(fixed)}",
            place=str(path),
            hint=f"train it again: {_trained_by(kind, folder)} --fresh",
            code="labels_differ",
        )
    return metadata


def read(kind: str, folder: Path, *, device: str = "cpu") -> Stored:
    """Return a scorer, every file checked; raises what ``metadata_of`` does, DataError for a file that was changed."""
    metadata = metadata_of(kind, folder)
    for name in FILES:
        if not (folder / name).exists() or sha256_of(folder / name) != metadata.sums.get(name):
            hint = f"train it again: {_trained_by(kind, folder)} --fresh"
            raise DataError(f"{name} is not what was trained (checksum)", place=str(folder), hint=hint, code="damaged")
    tokenizer = Tokenizer.from_file(folder / FILES[1])
    classifier = SCORERS[kind].rebuilt(metadata.network, metadata.labels, tokenizer)
    found = tensors.load(folder / FILES[0], header_limit=HEADER_LIMIT)
    tensors.check_same_shape(found, classifier.network.state_dict(), f"scorer {kind}")
    classifier.network.load_state_dict(found)
    classifier.network.to(device).eval()
    return Stored(classifier, metadata)


def _trained_by(kind: str, folder: Path) -> str:
    """Return the command that trains a scorer into a folder."""
    out = "" if folder == folder_of(kind) else f" --out {quote(str(folder))}"
    return f"menura train {PREFIX}{kind} --set data.corpus={CORPUS[kind]}{out}"


def _parsed(path: Path) -> ScorerMetadata:
    found = read_json(path)
    try:
        if found.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        found = {NAMES_NOW.get(name, name): value for name, value in found.items()}
        found["network"] = {NAMES_NOW.get(name, name): value for name, value in found["network"].items()}
        listed = {name: tuple(found[name]) for name in ("labels", "within", "evaluation")}
        return ScorerMetadata(**{**found, **listed})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError("damaged: not a scorer's description", place=str(path), code="damaged") from error
