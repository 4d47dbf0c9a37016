"""A ranker, read from a run's folder, ranks candidates (PLATO, A14)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from menura.artefacts import tensors
from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange, Ids
from menura.errors import MismatchError
from menura.models.layers.ranker import Ranker
from menura.models.plato.model import Plato

FILE = "ranker.safetensors"


def load_ranker(path: Path, model_sha256: str = "") -> Ranker:
    """Read a run's ranker, or a file; MismatchError if it was fitted to weights other than ``model_sha256``."""
    path = path / FILE if path.is_dir() else path
    made_for = tensors.metadata(path).get("model_sha256", "")
    if model_sha256 and made_for != model_sha256:
        told = f"the ranker was fitted to weights {made_for[:12]}, these are {model_sha256[:12]}"
        raise MismatchError(told, place=str(path), hint="fit it again")
    found = tensors.load(path)
    weight = found.get("out.weight", torch.zeros((1, 0)))
    ranker = Ranker(weight.shape[-1])
    tensors.check_same_shape(found, ranker.state_dict(), "ranker")
    ranker.load_state_dict(found)
    return ranker.eval()


@torch.no_grad()
def scores(model: Plato, ranker: Ranker, exchanges: Sequence[EncodedExchange], replies: Sequence[Ids]) -> Tensor:
    """Return (N,) scores of replies, each to its exchange, end token included; the higher the better."""
    found: Tensor = ranker(model.recognised(list(zip(exchanges, replies, strict=True))).float())
    return found


def rank_by(model: Plato, ranker: Ranker) -> Callable[[Batch], Tensor]:
    """Return the ranking function for ``decoding.candidates``: exchanges with candidates as replies become scores."""
    return lambda spoken: scores(model, ranker, spoken.exchanges, [exchange.reply for exchange in spoken.exchanges])
