"""A persona as a file: a CHARX zip (a character card for other programs) that also holds the weights."""

import copy
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from safetensors.torch import save

from menura.adaptation.weights import PersonaWeights, adaptable_parameters, filter_by_name
from menura.artefacts import tensors
from menura.artefacts.files import write_bytes
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_memory import CACHE, EXCHANGES, RememberedExchanges, sha256_of_memory
from menura.artefacts.tensors import with_zeros, without_zeros
from menura.corpus.atomic_files import reporting
from menura.corpus.chats.cards.writing import new_card
from menura.errors import DataError, MismatchError, UnsafeError
from menura.models.catalogue import named_settings

SCHEMA = 3
EARLIER_NAMES = 2  # up to this format version, settings and weights have earlier names
WEIGHTS = "assets/x_adapter/ai/adapter_model.safetensors"
ABOUT = "menura.json"
CARD = "card.json"
EXTENSION = "menura/v1"  # of a card: our own part
# What a card says of a persona that was made from dialogues.
_LEARNT = "Menura made this persona from dialogues. What it learnt from them is in weights, which"
BESIDE = f"{_LEARNT} only Menura reads."
ALONE = f"{_LEARNT} this card does not carry: other programs know no more of it than stands here."
LARGEST = 1 << 30  # bytes unpacked; in-place personas hold a whole model
LARGEST_TEXT = 1 << 20
# On a damaged zip the library also raises that a packing is unknown or a member encrypted; KeyError is a missing key.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class PersonaArtefact:
    """A persona's weights, the base and initial weights that they fit, and how they were made.

    ``recipe`` holds method, settings, shots, seed, hashes of the support dialogues (never their text), the support
    loss by step and the held-out scores before and after.
    """

    name: str
    weights: PersonaWeights = field(repr=False)
    base_sha256: str
    init_sha256: str
    model: Mapping[str, Any]  # a model's settings, plain, its name with them
    facts: tuple[str, ...]
    recipe: Mapping[str, Any]
    card: Mapping[str, Any] = field(default_factory=dict)  # the character card it was made from (V3); empty: none
    chat_format_sha256: str = ""  # of the chat format that it learnt in; empty: made before it was kept
    memory: RememberedExchanges | None = field(default=None, repr=False)  # its exchanges, where that was asked for

    @property
    def first_lines(self) -> tuple[str, ...]:
        """What the persona may say first in a chat: the greetings of its card."""
        return tuple(str(line) for line in self.recipe.get("first_lines", ()))

    def check_fits(self, loaded: LoadedModel) -> None:
        """Raise MismatchError unless base, initial weights, chat format and modules are those it was made for."""
        for what, ours, theirs in (
            ("base", self.base_sha256, loaded.base.sha256),
            ("start", self.init_sha256, loaded.init_sha256),
        ):
            if ours != theirs:
                raise MismatchError(
                    f"persona {self.name!r} was made for {what} {ours[:12] or 'none'}, this is {theirs[:12] or 'none'}",
                    hint=f"load it without settings of the model, or {self._adapted_again(loaded)}",
                )
        self._check_chat_format(loaded)
        if not self.weights:
            return  # a persona without adapted weights
        method = self.recipe.get("method") if isinstance(self.recipe, Mapping) else None
        trainable = method.get("trainable", "") if isinstance(method, Mapping) else ""
        wanted = filter_by_name(adaptable_parameters(loaded.model), str(trainable))
        tensors.check_same_shape(self.weights, wanted, f"persona {self.name!r}")

    def _check_chat_format(self, loaded: LoadedModel) -> None:
        """Raise MismatchError for another chat format; a persona of plain text as it was before has no hash of it."""
        ours, theirs = self.chat_format_sha256, loaded.encoder.chat_format.sha256
        if ours != theirs and (ours or self.model.get("chat_format") == "plain"):
            raise MismatchError(
                f"persona {self.name!r} learnt in another chat format than that of {loaded.base.name} now",
                hint=self._adapted_again(loaded),
                code="chat_format",
            )

    def _adapted_again(self, loaded: LoadedModel) -> str:
        return f"adapt it again on this base: menura adapt {self.name} FILES --base {quote(loaded.base.name)}"

    def write(self, path: Path) -> None:
        """Write the package atomically."""
        write_bytes(path, self.packed())

    def packed(self, *, with_memory: bool = True) -> bytes:
        """Return the package, with the texts that it remembers or without; the same persona gives the same bytes."""
        packed = without_zeros({name: value.detach().cpu().contiguous() for name, value in self.weights.items()})
        weights_sha256 = tensors.content_sha256(self.weights)
        remembered = self.memory.packed() if self.memory and with_memory else {}
        about = {
            "schema": SCHEMA,
            "name": self.name,
            "base_sha256": self.base_sha256,
            "start_sha256": self.init_sha256,
            "weights_sha256": weights_sha256,
            "chat_format_sha256": self.chat_format_sha256,
            "from_card": bool(self.card),
            **({"memory_sha256": sha256_of_memory(remembered)} if remembered else {}),
            "model": self.model,
            "facts": list(self.facts),
            "recipe": self.recipe,
        }
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
            for name, content in ((CARD, _json(self.as_card())), (ABOUT, _json(about))):
                archive.writestr(zipfile.ZipInfo(name), content)
            archive.writestr(zipfile.ZipInfo(WEIGHTS), save(packed))
            for name, content in remembered.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        return package.getvalue()

    def as_card(self, *, with_weights: bool = True) -> dict[str, Any]:
        """Return the persona as a character card (V3) that other programs read.

        A card that the persona was made from stays as it was. ``with_weights`` adds a reference to the weights that lie
        beside it in a package; programs that write the card anew drop them, which their hash in the reference tells.
        """
        card = copy.deepcopy(dict(self.card)) or self._new_card(with_weights=with_weights)
        if with_weights:
            extensions = card.setdefault("data", {}).setdefault("extensions", {})
            own = {"weights": WEIGHTS, "about": ABOUT, "weights_sha256": tensors.content_sha256(self.weights)}
            extensions[EXTENSION] = own
        return card

    def _new_card(self, *, with_weights: bool) -> dict[str, Any]:
        """Return a card of what is known beside the weights: nothing of what the person wrote is repeated.

        Notes are for whoever gets the card. In its description, a model would read them as facts of the persona.
        """
        card = new_card(self.name, self.facts, self.first_lines, (), {})
        card["data"]["creator_notes"] = BESIDE if with_weights else ALONE
        return card


def read(path: Path, content: bytes | None = None) -> PersonaArtefact:
    """Read a package, or its ``content`` where somebody has read it before.

    Raises DataError if it is damaged or newer than this program, UnsafeError if it is too large.
    """
    try:
        with reporting(path), zipfile.ZipFile(path if content is None else io.BytesIO(content)) as archive:
            about = _about(archive, path)
            weights = _weights(archive, path)
            card = _own_card(archive, path) if about.get("from_card") else {}
            remembered = _memory_files(archive, path)
        if tensors.content_sha256(weights) != about["weights_sha256"]:
            raise DataError("the weights are damaged (checksum)", place=str(path), code="persona_damaged")
        if sha256_of_memory(remembered) != about.get("memory_sha256", ""):
            raise DataError("the memory is damaged (checksum)", place=str(path), code="persona_damaged")
        if about["schema"] <= EARLIER_NAMES:
            about, weights = _under_names_of_now(about, weights, path)
        return PersonaArtefact(
            about["name"],
            weights,
            about["base_sha256"],
            about["start_sha256"],
            about["model"],
            tuple(about["facts"]),
            about["recipe"],
            card,
            about.get("chat_format_sha256", ""),
            RememberedExchanges.read(remembered, path) if remembered else None,
        )
    except DAMAGE as error:
        raise DataError("not a whole persona package", place=str(path), code="persona_damaged") from error


def read_about(path: Path, content: bytes | None = None) -> dict[str, Any]:
    """Return what a package says of itself, without its weights and under the names of when it was made."""
    try:
        with reporting(path), zipfile.ZipFile(path if content is None else io.BytesIO(content)) as archive:
            said = _about(archive, path)
        return {**said, "model": dict(said["model"]), "recipe": dict(said["recipe"])}
    except DAMAGE as error:
        raise DataError("not a whole persona package", place=str(path), code="persona_damaged") from error


def _under_names_of_now(about: dict[str, Any], weights: PersonaWeights, path: Path) -> tuple[dict[str, Any], Any]:
    """Return the description and weights of an earlier version's package, under today's names."""
    from menura.artefacts.earlier_names import renamed_settings, renamed_weights  # noqa: PLC0415  # imported for old files only

    recipe = dict(about["recipe"])
    parts = {"model": about["model"], "method": recipe.get("method")}
    now = renamed_settings({name: part for name, part in parts.items() if isinstance(part, Mapping)}, source=str(path))
    if "method" in now:
        recipe["method"] = now["method"]
    return {**about, "model": now.get("model", about["model"]), "recipe": recipe}, renamed_weights(weights)


def _about(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    if archive.getinfo(ABOUT).file_size > LARGEST_TEXT:
        raise UnsafeError(f"{ABOUT} is larger than {LARGEST_TEXT} bytes", place=str(path), code="card_bomb")
    about = json.loads(archive.read(ABOUT))
    schema = about["schema"]
    if schema > SCHEMA:
        raise DataError(f"written by a newer Menura (schema {schema}, this reads {SCHEMA})", place=str(path))
    return dict(about)


def _own_card(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """Return the card that the persona was made from, as it was before our extension."""
    if archive.getinfo(CARD).file_size > LARGEST_TEXT:
        raise UnsafeError(f"{CARD} is larger than {LARGEST_TEXT} bytes", place=str(path), code="card_bomb")
    card: dict[str, Any] = json.loads(archive.read(CARD))
    card["data"]["extensions"].pop(EXTENSION, None)
    return card


def _memory_files(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    """Return the files of a memory by name, none where there is none."""
    names = [name for name in (EXCHANGES, CACHE) if name in archive.namelist()]
    size = sum(archive.getinfo(name).file_size for name in names)
    if size > LARGEST:
        raise UnsafeError(f"its memory unpacks to {size} bytes, limit {LARGEST}", place=str(path), code="card_bomb")
    return {name: archive.read(name) for name in names}


def _weights(archive: zipfile.ZipFile, path: Path) -> PersonaWeights:
    size = archive.getinfo(WEIGHTS).file_size
    if size > LARGEST:
        raise UnsafeError(f"unpacks to {size} bytes, limit {LARGEST}", place=str(path), code="card_bomb")
    return with_zeros(tensors.parsed(archive.read(WEIGHTS), path), path, largest=LARGEST)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def plain_config(loaded: LoadedModel) -> dict[str, Any]:
    """Return a model's settings as plain data, its name with them."""
    return named_settings(loaded.config)
