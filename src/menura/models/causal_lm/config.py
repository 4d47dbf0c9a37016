"""Settings of a causal language model that replies as a persona (MAMLviaPP)."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from menura.batches.chat_format import ChatFormatName
from menura.errors import ConfigError
from menura.models.layers.adapters import Adapters


@dataclass(frozen=True)
class CausalLmConfig:
    """Settings of a causal language model that replies as a persona.

    ``base`` is a name of ``menura base list``, a folder or a hub id. ``chat_format`` auto is the one that the base was
    trained in, by its chat template. Without adapters all weights adapt (in-place);
    with them only the adapters do (extra-place), unless ``train_base`` (the paper's "phi not fixed").
    ``init_from`` names initial adapter weights: a file, or ``shipped``; empty is the identity initialisation of Eq. 2.
    ``reinit`` drops the pretrained weights (MAMLviaPP's REINIT): random weights in the ``same`` network, or, as
    ``small``, in a network of four layers 256 wide over the same vocabulary.
    """

    name: ClassVar[str] = "causal_lm"

    base: str = "smollm2-135m"
    chat_format: ChatFormatName = "auto"
    max_length: int = 512  # tokens a sequence, reply included
    adapters: Adapters = field(default_factory=Adapters)
    train_base: bool = False
    init_from: str = ""
    reinit: Literal["none", "same", "small"] = "none"

    def __post_init__(self) -> None:
        """Refuse a length in which no exchange fits."""
        if self.max_length < 32:
            raise ConfigError(f"model.max_length: {self.max_length}, must be at least 32 tokens")


def without_adapters(config: CausalLmConfig) -> CausalLmConfig:
    """Return the in-place variant: no adapters, all weights adapt."""
    return replace(config, adapters=replace(config.adapters, kind="none"))
