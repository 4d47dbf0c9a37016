"""What a persona remembers, beside its weights: its exchanges as text, and a cache of the words in them.

It is the only part of a persona's file that repeats what somebody wrote. So it is there on request alone, can be read,
redacted and deleted, and leaves in no export unless that is asked for.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from menura.artefacts import tensors
from menura.corpus.dialogue import Turn
from menura.errors import ConfigError, DataError, number_of
from menura.memory.recall import ExchangeMemory
from menura.models.layers.neural_cache import NeuralCache
from menura.tasks.task import Exchange

EXCHANGES = "assets/x_memory/ai/exchanges.jsonl"
CACHE = "assets/x_memory/ai/cache.safetensors"


@dataclass(frozen=True)
class RememberedExchanges:
    """A persona's exchanges, in the order in which they were said, and the cache of its words in some of them.

    ``places`` (N,) are the exchanges that the cached tokens are from, so that they are forgotten with them.
    """

    exchanges: tuple[Exchange, ...]
    cache: NeuralCache | None = field(default=None, repr=False)
    places: Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, exchanges: tuple[Exchange, ...], cache: NeuralCache | None = None, cached: tuple[Exchange, ...] = ()
    ) -> "RememberedExchanges":
        """Return a memory; ``cached`` is the exchange of each token of the cache."""
        if cache is None:
            return cls(exchanges)
        numbers = {_key(exchange): number for number, exchange in enumerate(exchanges)}
        places = torch.tensor([numbers[_key(exchange)] for exchange in cached])
        return cls(exchanges, cache, places)

    @property
    def cached(self) -> tuple[Exchange, ...]:
        """The exchange of each token of the cache."""
        return () if self.places is None else tuple(self.exchanges[place] for place in self.places.tolist())

    @cached_property
    def recall(self) -> ExchangeMemory:
        """The exchanges, to recall them by what is being answered."""
        return ExchangeMemory(self.exchanges)

    def summary(self, name: str) -> str:
        """Return what it keeps of a persona of this name, and what shows it, as text."""
        kept = number_of(len(self.exchanges), "exchange")
        return f"it remembers {kept}, word for word: menura persona memory {name} shows them and forgets"

    def without(self, forgotten: Collection[int]) -> "RememberedExchanges":
        """Return the memory without the exchanges at these places, and without their words in the cache."""
        kept = [place for place in range(len(self.exchanges)) if place not in forgotten]
        numbers = {place: number for number, place in enumerate(kept)}
        return self._keeping(tuple(self.exchanges[place] for place in kept), numbers)

    def rewritten(self, write: Callable[[str], str]) -> tuple["RememberedExchanges", int]:
        """Return the memory with each text rewritten, and how many exchanges changed.

        What changed is no longer in the cache: its tokens are of the old text.
        """
        written = tuple(_rewritten(exchange, write) for exchange in self.exchanges)
        same = {place: place for place, one in enumerate(written) if one == self.exchanges[place]}
        return self._keeping(written, same), len(written) - len(same)

    def _keeping(self, exchanges: tuple[Exchange, ...], numbers: Mapping[int, int]) -> "RememberedExchanges":
        """Return a memory of exchanges, with the cached tokens of those that ``numbers`` gives a new place alone."""
        if self.cache is None or self.places is None:
            return RememberedExchanges(exchanges)
        stays = torch.isin(self.places, torch.tensor(list(numbers), dtype=torch.long))
        if not stays.any():
            return RememberedExchanges(exchanges)
        places = torch.tensor([numbers[int(place)] for place in self.places[stays]])
        cache = replace(self.cache, keys=self.cache.keys[stays], tokens=self.cache.tokens[stays])
        return RememberedExchanges(exchanges, cache, places)

    def packed(self) -> dict[str, bytes]:
        """Return the files of a package, by name."""
        lines = (json.dumps(_as_json(exchange), ensure_ascii=False) for exchange in self.exchanges)
        files = {EXCHANGES: "".join(f"{line}\n" for line in lines).encode()}
        if self.cache is not None and self.places is not None:
            parts = {
                "keys": self.cache.keys.half(),
                "tokens": self.cache.tokens.int(),
                "places": self.places.int(),
                "weight": torch.tensor(self.cache.weight, dtype=torch.float64),
                "temperature": torch.tensor(self.cache.temperature, dtype=torch.float64),
            }
            files[CACHE] = save({name: part.detach().cpu().contiguous() for name, part in parts.items()})
        return files

    @classmethod
    def read(cls, files: Mapping[str, bytes], path: Path) -> "RememberedExchanges":
        """Return the memory in a package's files; DataError that names ``path`` for what is damaged."""
        try:
            exchanges = tuple(_exchange(json.loads(line)) for line in files[EXCHANGES].decode().splitlines())
            if CACHE not in files:
                return cls(exchanges)
            parts = tensors.parsed(files[CACHE], path)
            keys, tokens, places = parts["keys"].float(), parts["tokens"].long(), parts["places"].long()
            if (
                not (keys.ndim == 2 and tokens.shape == places.shape == keys.shape[:1])
                or not torch.isfinite(keys).all()
            ):
                raise ValueError("tensors that do not fit one another")
            cache = NeuralCache(keys, tokens, float(parts["weight"]), float(parts["temperature"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError("the memory is damaged", place=str(path), code="persona_damaged") from error
        return cls(exchanges, cache, places)


def sha256_of_memory(files: Mapping[str, bytes]) -> str:
    """Return a hash of a memory's files, empty where there are none."""
    if not files:
        return ""
    return hashlib.sha256(b"".join(hashlib.sha256(files[name]).digest() for name in sorted(files))).hexdigest()


def no_memory(of: str, hint: str) -> ConfigError:
    """Return the error for a persona that keeps none of what was said, where that is asked for."""
    return ConfigError(f"{of} has no memory: it keeps none of what was said", hint=hint, code="no_memory")


def _key(exchange: Exchange) -> tuple[str, tuple[Turn, ...], Turn]:
    """Return what tells exchanges apart: the dialogue, the turn before and the reply."""
    return exchange.dialogue_id, exchange.context[-1:], exchange.reply


def _rewritten(exchange: Exchange, write: Callable[[str], str]) -> Exchange:
    context = tuple(Turn(turn.speaker, write(turn.text)) for turn in exchange.context)
    return replace(exchange, context=context, reply=Turn(exchange.reply.speaker, write(exchange.reply.text)))


def _as_json(exchange: Exchange) -> dict[str, Any]:
    return {
        "dialogue": exchange.dialogue_id,
        "before": [[turn.speaker, turn.text] for turn in exchange.context],
        "reply": [exchange.reply.speaker, exchange.reply.text],
    }


def _exchange(line: Mapping[str, Any]) -> Exchange:
    before = tuple(_turn(*turn) for turn in line["before"])
    return Exchange(str(line["dialogue"]), before, _turn(*line["reply"]))


def _turn(speaker: str, text: str) -> Turn:
    if not (isinstance(speaker, str) and isinstance(text, str)):
        raise TypeError("text wanted")
    return Turn(speaker, text)
