"""Adapters are attached to a network's modules as forward hooks; the network's code does not change.

Shape letters: ``…`` any leading dimensions, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from menura.errors import ConfigError, DataError
from menura.models.causal_lm.hf_modules import (
    QUERY_VALUE,
    feed_forward_end,
    key_value_maps,
    linear_maps,
    lora_maps,
    sublayers,
    summed_sublayers,
    widths,
)
from menura.models.causal_lm.prompt_vectors import PromptVectors, attention_maps
from menura.models.layers.adapters import Adapter, Adapters, Houlsby, Ia3, Lora

Hook = Callable[..., Any]


class Attachment:
    """The adapters of a network's upper layers (``adapters``, by layer and sublayer), and whether they are active."""

    def __init__(self, settings: Adapters, blocks: Sequence[nn.Module], width: int) -> None:
        self.settings = settings
        self.adapters = nn.ModuleDict()
        self._working = True
        attach = {"houlsby": self._houlsby, "lora": self._lora, "ia3": self._ia3, "prompt": self._prompt}
        first = settings.first_layer(len(blocks))
        for index, block in enumerate(blocks[first:], start=first):
            if settings.kind != "none" and (made := attach[settings.kind](block, width)):
                self.adapters[str(index)] = _nested(made)
        if settings.kind == "lora" and not self.adapters:
            raise _no_maps(blocks[first:], settings.target_modules)

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
        for name, part in summed_sublayers(block).items():
            made[name] = Houlsby(width, self.settings.bottleneck, self.settings.init)
            part.register_forward_hook(self._at_work(partial(_behind, made[name])))
        return made

    def _lora(self, block: nn.Module, width: int) -> dict[str, nn.Module]:
        del width
        made: dict[str, nn.Module] = {}
        for name, part in lora_maps(block, self.settings.target_modules).items():
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


def _nested(made: dict[str, nn.Module]) -> nn.ModuleDict:
    """Return adapters whose names have dots as dictionaries in one another, as a name of a module has none."""
    nested = nn.ModuleDict()
    for name, adapter in made.items():
        *path, last = name.split(".")
        inner = nested
        for part in path:
            if part not in inner:
                inner[part] = nn.ModuleDict()
            inner = inner[part]  # type: ignore[assignment]  # a dictionary, made above
        inner[last] = adapter
    return nested


def _no_maps(blocks: Sequence[nn.Module], target_modules: str) -> ConfigError:
    there = sorted({name for block in blocks for name in linear_maps(block)})
    what = "attention query and value maps" if target_modules == QUERY_VALUE else f"linear maps {target_modules}"
    return ConfigError(
        f"{type(blocks[0]).__name__} has no {what} that LoRA could be added to",
        hint=f"use --set model.adapters.target_modules=all-linear, or some of {', '.join(there)}",
    )


def _unless_resting(attachment: Attachment, hook: Hook, *arguments: Any) -> Any:
    return hook(*arguments) if attachment._working else None


def _behind(adapter: nn.Module, part: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> Any:
    """Apply an adapter to a module's output."""
    del part
    first = inputs[0] if inputs else None
    return _replaced(output, partial(adapter, first))


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
    weights = {}
    for name, adapter in adapters_in(module):
        for key, value in adapter.neutral.items():
            parameter = module.get_parameter(f"{name}.{key}" if name else key)
            weights[f"{name}.{key}" if name else key] = torch.full_like(parameter, value)
    return weights


def adapters_in(module: nn.Module) -> Iterator[tuple[str, Adapter]]:
    """Yield the adapters of a module, by name."""
    for name, part in module.named_modules():
        if isinstance(part, Adapter):
            yield name, part
