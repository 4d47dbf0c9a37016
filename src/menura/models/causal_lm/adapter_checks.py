"""The start of every kind of adapter: the network must be its base (MAMLviaPP, Eq. 2), and must be able to leave it."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from menura.errors import DataError, MismatchError
from menura.models.layers.adapters import Adapter, Adapters

NEAR = 1e-3  # share of the largest logit by which a near-zero start may differ (spec E1)
ROUNDING = 1e-4  # share of the largest logit that another order of the same sums may make


def check_identity(adapted: Tensor, resting: Tensor, settings: Adapters) -> None:
    """Compare logits with the adapters at work and at rest; MismatchError if they differ.

    Not by one bit for an identity start, by a thousandth of the largest logit for a near-zero one.
    """
    allowed = NEAR * float(resting.abs().max()) if settings.init == "near-zero" else 0.0
    difference = float((adapted - resting).abs().max())
    if difference <= allowed:  # false for what is not a number
        return
    bound = f"by {allowed:.3g} at most" if allowed else "not at all"
    raise MismatchError(
        f"with fresh {settings.kind} adapters the logits differ from the base's by {difference:.3g}; "
        f"they must differ {bound}",
        hint="use --set model.adapters.init=identity" if allowed else "",
    )


def check_reading(ours: Tensor, network: Tensor) -> None:
    """Compare our logits with those of the network's own forward pass; MismatchError beyond rounding.

    A base whose logits are not its last hidden state times its output embedding (soft-capped or scaled ones) would be
    scored wrongly.
    """
    difference, largest = float((ours - network).abs().max()), float(network.abs().max())
    if not difference <= ROUNDING * largest:
        raise MismatchError(
            f"the logits differ from the base's own by {difference:.3g}, where its largest is {largest:.3g}",
            hint="this base computes its logits in a way that is not supported",
        )


def check_can_learn(module: nn.Module, place: str = "") -> None:
    """Raise DataError if an adapter is all zero: a point that no gradient leaves (spec E2).

    ``place`` is where the weights came from.
    """
    for name, adapter in adapters_in(module):
        if not adapter.can_learn():
            kind = type(adapter).__name__
            raise DataError(
                f"{name}: all weights of this {kind} are zero, so only a bias could ever learn", place=place
            )


def neutral_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return weights by name under which no adapter in a module changes anything, whatever its other weights are."""
    found = {}
    for name, adapter in adapters_in(module):
        for key, value in adapter.neutral.items():
            parameter = module.get_parameter(f"{name}.{key}" if name else key)
            found[f"{name}.{key}" if name else key] = torch.full_like(parameter, value)
    return found


def adapters_in(module: nn.Module) -> Iterator[tuple[str, Adapter]]:
    """Yield the adapters of a module, by name."""
    for name, part in module.named_modules():
        if isinstance(part, Adapter):
            yield name, part
