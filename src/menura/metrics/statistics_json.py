"""What a metric gathered of each persona becomes JSON, and is read back: figures can be made again without the texts.

Words are replaced by hashes, so that no text of a data set is in the file. Metrics only compare them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy

from menura.errors import DataError
from menura.metrics.cider import Documents

OF_HASH = 8  # bytes
DATACLASSES: Mapping[str, type[Any]] = {"documents": Documents}


def as_json(gathered: Any) -> Any:
    """Return sufficient statistics (``Metric.gather``) as JSON: numbers in full, words as hashes.

    A set's elements become one hash each. Raises TypeError for a type that no metric gathers.
    """
    if gathered is None or isinstance(gathered, bool | int | float):
        return gathered
    if isinstance(gathered, str):
        return _hash(gathered)
    if isinstance(gathered, tuple | list):
        return [as_json(element) for element in gathered]
    if isinstance(gathered, frozenset | set):
        return {"set": sorted(_hash(repr(element)) for element in gathered)}
    if isinstance(gathered, numpy.ndarray):
        return {"array": gathered.ravel().tolist(), "shape": list(gathered.shape), "dtype": str(gathered.dtype)}
    if is_dataclass(gathered):
        name = next(name for name, kind in DATACLASSES.items() if isinstance(gathered, kind))
        return {name: [as_json(getattr(gathered, field.name)) for field in fields(gathered)]}
    raise TypeError(f"statistics of type {type(gathered).__name__} cannot be written")


def from_json(written: Any) -> Any:
    """Return the statistics that ``as_json`` wrote; lists are tuples, words hashes. Raises DataError for others."""
    if isinstance(written, list):
        return tuple(from_json(element) for element in written)
    if not isinstance(written, dict):
        return written
    if "set" in written:
        return frozenset(written["set"])
    if "array" in written:
        return numpy.array(written["array"], dtype=written["dtype"]).reshape(written["shape"])
    for name, kind in DATACLASSES.items():
        if name in written:
            return kind(*(from_json(element) for element in written[name]))
    raise DataError(f"statistics of an unknown kind: {', '.join(written)}", code="schema")


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", errors="surrogatepass"), digest_size=OF_HASH).hexdigest()
