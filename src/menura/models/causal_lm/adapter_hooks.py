"""Adapters are attached to a network's modules as forward hooks; the network's code does not change.

A fresh network must equal its base (MAMLviaPP, Eq. 2) and still be able to learn; the checks test both.

Shape letters: ``…`` any leading dimensions, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from menura.errors import DataError, MismatchError
from menura.models.causal_lm.hf_modules import feed_forward_end, input_maps, key_value_maps, sublayers, widths
from menura.models.causal_lm.prompt_vectors import PromptVectors, attention_maps
from menura.models.layers.adapters import Adapter, Adapters, Houlsby, Ia3, Lora

Hook = Callable[..., Any]
NEAR = 1e-3  # share of the largest logit by which a near-zero initialisation may differ (spec E1)
ROUNDING = 1e-4  # share of the largest logit that another summation order may change


class Attachment:
    """The adapters of a network's upper layers (``adapters``, by layer and sublayer), and whether they are active."""

    def __init__(self, settings: Adapters, blocks: Sequence[nn.Module], width: int) -> None:
        self.settings = settings
        self.adapters = nn.ModuleDict()
        self._working = True
        attach = {"houlsby": self._houlsby, "lora": self._lora, "ia3": self._ia3, "prompt": self._prompt}
        first = settings.first_layer(len(blocks))
        for index, block in enumerate(blocks[first:], start=first):
            if settings.kind != "none":
                self.adapters[str(index)] = nn.ModuleDict(attach[settings.kind](block, width))

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Switch the adapters off while the block runs, so that the network is its base."""
        before, self._working = self._working, False
        try:
            yield
        finally:
            self._working = before

    def _houlsby(self, block: nn.Module, width: int) -> dict[str, nn.Module]:
        made: dict[str, nn.Module] = {}
        for name, part in sublayers(block).items():
            made[name] = Houlsby(width, self.settings.bottleneck, self.settings.init)
            part.register_forward_hook(self._at_work(partial(_behind, made[name])))
        return made

    def _lora(self, block: nn.Module, width: int) -> dict[str, nn.Module]:
        del width
        made: dict[str, nn.Module] = {}
        for name, part in input_maps(block).items():
            made[name] = Lora(*widths(part), self.settings.rank)
            part.register_forward_hook(self._at_work(partial(_behind, made[name])))
        return made

    def _ia3(self, block: nn.Module, width: int) -> dict[str, nn.Module]:
        del width
        made: dict[str, nn.Module] = {}
        for name, (part, scaled) in key_value_maps(block).items():
            made[name] = Ia3(scaled)
            part.register_forward_hook(self._at_work(partial(_scaled_output, made[name])))
        name, part = feed_forward_end(block)
        made[name] = Ia3(widths(part)[0])
        part.register_forward_pre_hook(self._at_work(partial(_scaled_input, made[name])))
        return made

    def _prompt(self, block: nn.Module, width: int) -> dict[str, nn.Module]:
        attention = sublayers(block)["attention"]
        maps = attention_maps(attention)
        made = PromptVectors(width, self.settings.num_virtual_tokens, maps.heads)
        # The hidden states may be a keyword argument, as in Llama.
        attention.register_forward_hook(self._at_work(partial(_reading, made, maps)), with_kwargs=True)
        return {"attention": made}

    def _at_work(self, hook: Hook) -> Hook:
        return partial(_unless_resting, self, hook)


def _unless_resting(attachment: Attachment, hook: Hook, *given: Any) -> Any:
    return hook(*given) if attachment._working else None


def _behind(adapter: nn.Module, part: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> Any:
    """Apply an adapter to a module's output."""
    del part
    given = inputs[0] if inputs else None
    return _replaced(output, partial(adapter, given))


def _scaled_output(adapter: nn.Module, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    del part, inputs
    scaled: Tensor = adapter(output)
    return scaled


def _scaled_input(adapter: nn.Module, part: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    del part
    return (adapter(inputs[0]), *inputs[1:])


def _reading(adapter: nn.Module, maps: Any, part: nn.Module, inputs: tuple[Tensor, ...], *rest: Any) -> Any:
    """Apply prompt vectors to an attention's output: the last of ``rest``, after the keyword inputs if any."""
    del part
    hidden = inputs[0] if inputs else rest[0]["hidden_states"]
    return _replaced(rest[-1], partial(adapter, maps, hidden))


def _replaced(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change an output; some attention modules return theirs in a tuple."""
    if isinstance(output, tuple):
        return (change(output[0]), *output[1:])
    return change(output)


# What must hold for fresh adapters of every kind


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


def check_can_learn(module: nn.Module, source: str = "") -> None:
    """Raise DataError if an adapter is all zero: a point that no gradient leaves (spec E2).

    The error names ``source``, where the weights came from.
    """
    for name, adapter in adapters_in(module):
        if not adapter.can_learn():
            kind = type(adapter).__name__
            raise DataError(
                f"{name}: all weights of this {kind} are zero, so only a bias could ever learn", place=source
            )


def neutral_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return weights by name under which no adapter in a module changes anything, whatever the others are."""
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
