"""Names become agents that reply: personas are read when they are asked for, and kept while there is room.

A persona is known by the hash of its file, so that one that was made anew under the same name is another: what runs
goes on with the old weights, what comes gets the new ones.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from threading import Lock
from typing import Any

from menura.api.agent import Agent, Model, model_of, persona_on
from menura.api.loading import load
from menura.artefacts import persona_artefact
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.loading import DEFAULT, LoadedModel, LoadOptions
from menura.errors import ConfigError, MenuraError, StorageError, shown
from menura.serve.engine.stores import FileStamp, PersonaFiles, path_in, persona_files
from menura.serve.generation import ServedModel


@dataclass(frozen=True)
class Resident:
    """An agent in memory. ``key`` is the hash of what it is; ``stamp`` is its file's, None for a base."""

    name: str
    agent: Agent
    key: str
    version: int = 0
    stamp: FileStamp | None = None
    bytes: int = 0


class Residents:
    """The bases in memory, all of them, and as many personas as fit into ``most_bytes``, the last used ones.

    ``store`` is where personas are read from; empty: the workspace.
    """

    def __init__(self, most_bytes: int, *, device: str, dtype: Dtype, offline: bool, store: str = "") -> None:
        self._most_bytes = most_bytes
        self._device = device
        self._options = LoadOptions(offline=offline, dtype=dtype, device=device)
        self._store = store
        self._files: PersonaFiles = persona_files(store)
        self._bases: dict[str, LoadedModel] = {}
        self._personas: OrderedDict[str, Resident] = OrderedDict()
        self._lock = Lock()  # of the two dictionaries
        self._loading = Lock()  # a base is loaded once, and one at a time
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._personas)

    @property
    def bases(self) -> tuple[str, ...]:
        """The names of the bases in memory."""
        return tuple(sorted({loaded.base.name for loaded in list(self._bases.values())}))

    def get(self, name: str) -> Resident:
        """Return the agent of this name; raises as ``find``, and what reading a persona or loading a base raises."""
        if is_base(name):
            loaded = self._loaded(name, lambda: load(name, **self._how).loaded)
            return Resident(name, Model(loaded), f"base {loaded.base.sha256} {loaded.init_sha256}")
        stamp = self._stamp(name)
        with self._lock:
            held = self._personas.get(name)
            if held is not None and held.stamp == stamp:
                self._personas.move_to_end(name)
                return held
        try:
            made = self._read(name, stamp)
        except FileNotFoundError:
            raise self._unknown(name) from None
        except StorageError as error:
            raise self._unknown(name) if error.problems[0].code == "missing" else error from None
        self._keep(made)
        return made

    @property
    def _how(self) -> dict[str, Any]:
        options = self._options
        return {"device": self._device, "offline": options.offline, "dtype": options.dtype}

    def _stamp(self, name: str) -> FileStamp:
        stamp = self._files.stamp(name)
        if stamp is None:
            raise self._unknown(name)
        return stamp

    def _unknown(self, name: str) -> ConfigError:
        known = [*self._files.stamps(), *(record.name for record in bases.on_disk())]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "GET /v1/models lists all"
        return ConfigError(f"unknown model {shown(name)}", hint=hint, code="model_not_found")

    def _read(self, name: str, stamp: FileStamp) -> Resident:
        content = self._files.read(name)
        artefact = persona_artefact.read(path_in(self._store, name), content)
        loaded = self._loaded(str(artefact.model), lambda: model_of(artefact, self._device, self._options))
        artefact.check_fits(loaded)
        agent = persona_on(loaded, artefact)
        cache = 0 if agent.cache is None else agent.cache.keys.nbytes + agent.cache.tokens.nbytes
        held = sum(value.nbytes for value in agent.weights.values()) + cache
        plain, _, number = name.partition("@")
        version = int(number or self._files.current_version(plain))
        return Resident(name, agent, hashlib.sha256(content).hexdigest(), version, stamp, held)

    def _loaded(self, key: str, make: Callable[[], LoadedModel]) -> LoadedModel:
        with self._loading:
            if key not in self._bases:
                self._bases[key] = make()
            return self._bases[key]

    def _keep(self, resident: Resident) -> None:
        with self._lock:
            before = self._personas.pop(resident.name, None)
            self.bytes += resident.bytes - (before.bytes if before else 0)
            self._personas[resident.name] = resident
            while self.bytes > self._most_bytes and len(self._personas) > 1:
                self.bytes -= self._personas.popitem(last=False)[1].bytes

    def forget_deleted(self) -> list[str]:
        """Let go of personas whose files are gone or were written anew; return their keys."""
        with self._lock:
            held = list(self._personas.values())
        gone = [one for one in held if self._files.stamp(one.name) != one.stamp]
        with self._lock:
            for one in gone:
                if self._personas.get(one.name) is one:
                    del self._personas[one.name]
                    self.bytes -= one.bytes
        return [one.key for one in gone]

    def is_there(self, resident: Resident) -> bool:
        """Return whether a persona of this name is still in the store, be it another version."""
        return resident.stamp is None or self._files.stamp(resident.name) is not None

    def served(self) -> list[ServedModel]:
        """Return bases and personas by name; reads no file of a persona."""
        made = [ServedModel(record.name, 0, is_persona=False) for record in bases.on_disk()]
        return made + [ServedModel(name, int(stamp.changed)) for name, stamp in self._files.stamps().items()]

    def find(self, name: str) -> ServedModel:
        """Return a base, a persona or a version, with its base; ConfigError ``model_not_found`` with the nearest."""
        if is_base(name):
            return ServedModel(name, 0, is_persona=False)
        stamp = self._stamp(name)
        with self._lock:
            held = self._personas.get(name)
        if held is not None and held.stamp == stamp:
            return ServedModel(name, int(stamp.changed), held.agent.loaded.base.name)
        try:
            model = persona_artefact.read_about(path_in(self._store, name), self._files.read(name))["model"]
        except (MenuraError, FileNotFoundError):  # damaged: it is there, and says so when it is asked to reply
            model = {}
        return ServedModel(name, int(stamp.changed), str(model.get("base") or model.get("name", "")))


def is_base(name: str) -> bool:
    """Return whether a name is that of a base on this machine, or of the default one."""
    return name == DEFAULT or any(record.name == name for record in bases.on_disk())
