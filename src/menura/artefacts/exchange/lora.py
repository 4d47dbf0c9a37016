"""A persona's LoRA by the maps of the base's network, whatever our names are: W x + B A x, the scale within B.

Shape letters: R rank, D width.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from menura.adaptation.weights import RATES
from menura.artefacts import tensors
from menura.artefacts.bases.record import Base
from menura.artefacts.earlier_names import renamed_weights
from menura.artefacts.loaders.causal_lm import init_file
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.errors import ConfigError, MismatchError, Problem, shown
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.hf_modules import ALL_LINEAR, blocks_of, linear_maps, lora_maps

LAYER = re.compile(r"\.(\d+)\.")
MAX_RANK = 16  # what vLLM takes unless it is told otherwise
ADAPTERS = "adapters."  # begins the names of our adapters
WHY = {  # what an adapter is that no engine takes
    "houlsby": "Houlsby adapters stand behind a layer's parts, where no engine has a place for weights",
    "ia3": "(IA)3 scales keys, values and hidden units, for which no engine has a place",
    "prompt": "prompt vectors are read by attention, for which no engine has a place",
    "none": "it changed the base's own weights, all of them",
}


@dataclass(frozen=True)
class PortableLora:
    """LoRA relative to a base's own weights: (A (R, D_in), B (D_out, R)) by the name of a linear map in the network."""

    maps: Mapping[str, tuple[Tensor, Tensor]] = field(repr=False)

    @property
    def rank(self) -> int:
        """The rank, which is the same everywhere."""
        return next(iter(self.maps.values()))[0].shape[0]

    @property
    def target_modules(self) -> list[str]:
        """The last names of the maps, as peft and the engines list them."""
        return sorted({name.rpartition(".")[2] for name in self.maps})

    @property
    def layers(self) -> list[int]:
        """The layers that have a map, by the first number in the maps' names."""
        numbered = (LAYER.search(name) for name in self.maps)
        return sorted({int(match[1]) for match in numbered if match})


def reasons_to_stay(settings: Any) -> list[str]:
    """Return why the weights of a model with these settings cannot leave as LoRA; empty where they can."""
    if type(settings) is not CausalLmConfig:
        return [f"a {settings.name} has a network of its own, which no engine has"]
    reasons = [WHY[settings.adapters.kind]] if settings.adapters.kind in WHY else []
    if settings.train_base and settings.adapters.kind != "none":
        reasons.append(WHY["none"])
    return reasons + reasons_against_distilling(settings)


def reasons_against_distilling(settings: Any) -> list[str]:
    """Return why no LoRA on the base's own network could stand for such a model; empty where one could."""
    if type(settings) is not CausalLmConfig:
        return [f"a {settings.name} has a network of its own, which no engine has"]
    reasons = []
    if settings.reinit != "none":
        reasons.append("its network does not have the base's weights (model.reinit)")
    if settings.chat_format == "special":
        reasons.append("its chat format has tokens that the base has not (model.chat_format=special)")
    return reasons


def check_can_leave(persona: PersonaArtefact, settings: Any, to: str, max_rank: int = MAX_RANK) -> None:
    """Raise ConfigError, with all reasons, for a persona whose weights no engine could serve."""
    reasons = reasons_to_stay(settings)
    lost = reasons_against_distilling(settings)
    rank = settings.adapters.rank if not reasons else 0
    if rank > max_rank and to != "merged":
        reasons.append(f"LoRA of rank {rank}, and engines take {max_rank} unless they are told otherwise (--max-rank)")
    if not reasons:
        return
    distilled = (
        f"menura persona export {quote(persona.name)} --to {to} --distil --dialogues FILES trains LoRA of rank 8 to "
        "answer as it does, which takes some minutes and is not exact; what is lost is printed"
    )
    if rank > max_rank:  # with no other reason
        distilled = f"--max-rank {rank} where the engine is told so; else {distilled}"
    hint = "adapt it with LoRA on a base: menura adapt NAME FILES" if lost else distilled
    message = f"persona {shown(persona.name)} cannot leave as LoRA: "
    raise ConfigError.of([Problem("cannot_leave", message + reason, hint=hint) for reason in reasons])


def persona_lora(
    persona: PersonaArtefact, settings: CausalLmConfig, base: Base, network: PreTrainedModel
) -> PortableLora:
    """Return a persona's LoRA: its own values, and those of its initial checkpoint where it has none of its own.

    A persona's values take the place of the checkpoint's, so they are relative to the base alone. ``base`` is the
    record of the settings' base, ``network`` its network, weights or not. Raises MismatchError for another base or
    checkpoint, or maps that the base has not.
    """
    if persona.base_sha256 != base.sha256:
        message = (
            f"persona {persona.name!r} was made for base {persona.base_sha256[:12]}, {base.name} is {base.sha256[:12]}"
        )
        raise MismatchError(message, hint=f"adapt it again on this base: menura adapt {persona.name} FILES")
    return in_network(_whole(persona, settings, base), settings, network, f"persona {persona.name!r}")


def checkpoint_lora(settings: CausalLmConfig, base: Base, network: PreTrainedModel) -> PortableLora:
    """Return the LoRA of a base's own checkpoint; raises as ``persona_lora``."""
    path = init_file(settings, base)
    return in_network(renamed_weights(tensors.load(path)), settings, network, path.name)


def in_network(
    weights: Mapping[str, Tensor], settings: CausalLmConfig, network: PreTrainedModel, what: str
) -> PortableLora:
    """Return adapter weights by the network's names; MismatchError unless they are exactly those of these settings."""
    maps, extra = {}, {name for name in weights if not name.startswith(RATES)}
    missing = []
    for ours, module in places(network, settings):
        names = [f"{ADAPTERS}{ours}.{part}.weight" for part in ("down", "up")]
        extra -= set(names)
        if absent := [name for name in names if name not in weights]:
            missing += absent
            continue
        down, up = (weights[name].detach().float().cpu() for name in names)
        maps[module] = (down, up)
    if missing or extra:
        first = (missing or sorted(extra))[0]
        raise MismatchError(f"{what}: {len(missing)} tensors missing, {len(extra)} unknown (first {first})")
    return PortableLora(maps)


def places(network: PreTrainedModel, settings: CausalLmConfig) -> Iterator[tuple[str, str]]:
    """Yield each LoRA map as our adapters call it (``3.self_attn.q_proj``) and as the network does."""
    names = {id(module): name for name, module in network.named_modules()}
    for index, block in enumerate(blocks_of(network.base_model, network.config.num_hidden_layers)):
        if index >= settings.adapters.first_layer(network.config.num_hidden_layers):
            for ours, module in lora_maps(block, settings.adapters.target_modules).items():
                yield f"{index}.{ours}", names[id(module)]


def all_maps(network: PreTrainedModel) -> dict[str, tuple[int, str, nn.Module]]:
    """Return the layer, the name within it and the module of every linear map, by its name in the network."""
    names = {id(module): name for name, module in network.named_modules()}
    return {
        names[id(module)]: (index, ours, module)
        for index, block in enumerate(blocks_of(network.base_model, network.config.num_hidden_layers))
        for ours, module in linear_maps(block).items()
    }


def target_modules_of(names: set[str], network: PreTrainedModel) -> str:
    """Return the setting that means these maps of a layer (names within it): ``all-linear`` if they are all."""
    everywhere = {ours for _, ours, _ in all_maps(network).values()}
    return ALL_LINEAR if names == everywhere else ",".join(sorted(names))


def _whole(persona: PersonaArtefact, settings: CausalLmConfig, base: Base) -> Mapping[str, Tensor]:
    """Return the persona's weights, completed by those of the checkpoint that it began at."""
    if not settings.init_from:
        return persona.weights
    path = init_file(settings, base)
    initial = tensors.load(path)
    if tensors.content_sha256(initial) != persona.init_sha256:
        message = f"persona {persona.name!r} began at other weights than those of {path.name}"
        raise MismatchError(message, hint=f"adapt it again: menura adapt {persona.name} FILES")
    return {**renamed_weights(initial), **persona.weights}
