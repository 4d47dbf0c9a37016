"""A model with fresh adapters must equal its base (MAMLviaPP, Eq. 2), however it is read.

Shape letters: L tokens of a row, V vocabulary.
"""

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from menura.batches.encode import EncodedExchange
from menura.errors import ConfigError, MismatchError
from menura.models.causal_lm.adapter_hooks import adapters_in
from menura.models.layers.adapters import Adapters

if TYPE_CHECKING:
    from menura.models.causal_lm.model import CausalLm

NEAR = 1e-3  # share of the largest logit by which a near-zero initialisation may differ (spec E1)
ROUNDING = 1e-4  # share of the largest logit that another summation order may change,
HALF_ROUNDING = 5e-2  # and in half precision
STEPPED, STEPS = 12, 3  # tokens of the sequence that are read with a cache, and how many of them one by one


def check_starts_as_base(model: "CausalLm", ids: Sequence[int]) -> None:
    """Check on one sequence of the base's own vocabulary that the model initially equals its base (MAMLviaPP, Eq. 2).

    The adapters must be called and change no logit of it; the logits must be those of the network's own forward pass,
    of the whole sequence as step by step after a cache. MismatchError otherwise.
    """
    row = torch.tensor([list(ids)], device=model.device)
    with torch.no_grad():
        with noting_calls(model.adapters) as called:
            adapted = model.logits(row)
        with model._attachment.resting():
            resting = model.logits(row)
            network = model.network(input_ids=row, use_cache=False).logits
            words = network.shape[-1]
            check_reading(resting[..., :words], network)
            check_steps(model, row[0, :STEPPED])
    model.forget_lower()
    check_identity(adapted[..., :words], resting[..., :words], model._attachment.settings)
    check_called(model.adapters, called)


def check_steps(model: "CausalLm", ids: Tensor) -> None:
    """Read two rows of unequal length side by side, the last few tokens one by one, and compare with the whole rows.

    A network whose cache is more than keys and values would speak differently from how it is scored; MismatchError.
    """
    rows = [ids, ids[len(ids) // 3 :]]
    if len(rows[1]) <= STEPS:  # nothing of it would be left to prefill
        return
    batch = model.batch([EncodedExchange("", "", (), tuple(row[:-STEPS].tolist()), ()) for row in rows])
    whole = [model.network(input_ids=row[None], use_cache=False).logits[0, -STEPS - 1 :] for row in rows]
    state, last = model.prefill(batch), batch.prefix.ids[:, -1]
    for step in range(STEPS):
        log_probs, state = model.step(state, last)
        last = torch.stack([row[len(row) - STEPS + step] for row in rows])
        wanted = torch.stack([logits[step] for logits in whole]).log_softmax(-1)
        ours = log_probs[:, : wanted.shape[-1]].log_softmax(-1)  # without tokens of the chat format's own
        difference, largest, far = _apart(ours, wanted)
        if far:
            raise MismatchError(
                f"{type(model.network).__name__}: read token by token, beside another sequence, log-probabilities "
                f"differ by {difference:.3g} from those of the whole sequence, where the largest is {largest:.3g}",
                hint="this base keeps a state between tokens in a way that is not supported",
            )


def check_identity(adapted: Tensor, resting: Tensor, settings: Adapters) -> None:
    """Compare logits with the adapters active and switched off; MismatchError if they differ.

    An identity initialisation may differ by no bit, a near-zero one by a thousandth of the largest logit.
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
    """Compare our logits with those of the network's own forward pass; MismatchError beyond rounding."""
    difference, largest, far = _apart(ours, network)
    if far:
        raise MismatchError(
            f"the logits differ from the base's own by {difference:.3g}, where its largest is {largest:.3g}",
            hint="this base computes its logits in a way that is not supported",
        )


def _apart(ours: Tensor, network: Tensor) -> tuple[float, float, bool]:
    """Return the largest difference, the largest logit, and whether they are further apart than rounding explains."""
    difference, largest = float((ours - network).abs().max()), float(network.abs().max())
    rounding = HALF_ROUNDING if network.dtype in (torch.bfloat16, torch.float16) else ROUNDING
    return difference, largest, not difference <= rounding * largest  # true for what is not a number


@contextmanager
def noting_calls(adapters: nn.Module) -> Iterator[set[str]]:
    """Give a set to which the name of each adapter is added that is called while the block runs."""
    called: set[str] = set()

    def note(name: str, *inputs: Any) -> None:
        called.add(name)

    hooks = [
        adapters.get_submodule(name).register_forward_pre_hook(partial(note, name)) for name, _ in adapters_in(adapters)
    ]
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()


def check_called(adapters: nn.Module, called: Set[str]) -> None:
    """Raise MismatchError for an adapter on a module whose weights the network uses without calling it.

    Of a mixture's experts only those are called to which a token is sent.
    """
    missed = [n for n, _ in adapters_in(adapters) if n not in called and "experts" not in n.split(".")]
    if missed:
        maps = sorted({name.partition(".")[2] for name in called})
        raise MismatchError(
            f"adapter {missed[0]} is never used: the base computes with that module's weights in another way",
            hint=f"name those that it calls: --set model.adapters.target_modules={','.join(maps)}",
        )


def check_trainable(network: PreTrainedModel, *, train: bool) -> None:
    """Raise ConfigError for a base in half precision that is to be trained: small steps would be rounded away."""
    if train and network.dtype in (torch.bfloat16, torch.float16):
        raise ConfigError(
            f"the base is in {str(network.dtype).removeprefix('torch.')}, in which its weights cannot be trained",
            hint="use --dtype float32, or adapters",
        )
