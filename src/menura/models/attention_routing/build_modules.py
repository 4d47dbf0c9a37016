"""AR's settings become its modules (spec B2 to B8)."""

from collections.abc import Sequence

import torch
from torch import nn

from menura.batches.speaker_profile import PADDING
from menura.errors import ConfigError
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.frozen_encoder import FrozenFeatures
from menura.models.attention_routing.layers import FactorFeedForward, RoutedLayer, SharedAttention, feed_forward
from menura.models.attention_routing.memory import PersonaMemory


def memory(config: AttentionRoutingConfig, words: int) -> PersonaMemory:
    """Return a key-value memory over a profile's ``words``."""
    tied = config.hop_tying == "layer_wise"
    return PersonaMemory(words, config.hidden_size, config.hops, amplified=config.rules.amplified_hops, layer_wise=tied)


def projections(config: AttentionRoutingConfig, streams: Sequence[str]) -> nn.ModuleDict:
    """Return maps from embeddings to the layers' width, one for all streams or one each; none if widths are equal."""
    embedded, width = config.embedded, config.hidden_size
    if embedded == width:
        return nn.ModuleDict()
    names = ("all",) if config.rules.shared_projection else streams
    return nn.ModuleDict({name: nn.Linear(embedded, width) for name in names})


def layer(config: AttentionRoutingConfig) -> RoutedLayer:
    """Return one of the different layers."""
    network = feed_forward(config.network, (config.hidden_size, config.intermediate_size, config.rank), config.dropout)
    if isinstance(network, FactorFeedForward):
        network.recomputed = not config.keep_activations
    attention = SharedAttention(config.hidden_size, config.num_heads, config.dropout)
    skip = config.rules.normed_skip
    return RoutedLayer(attention, network, rezero=config.rezero, normed_skip=skip, bias=config.bias)


def features(config: AttentionRoutingConfig) -> FrozenFeatures:
    """Return the map of a pretrained encoder's states; ConfigError if their width is not set."""
    if not config.features_width:
        told = f"model.features_width: how wide are the states of {config.pretrained_features}?"
        raise ConfigError(told, hint="--set model.features_width=384 is MiniLM's")
    return FrozenFeatures(config.embedded, config.features_width, config.features_as)


def gates(config: AttentionRoutingConfig) -> nn.Parameter | None:
    """Return (encoder | decoder, L, attention | network) gates, or fewer if shared; all are initially 0."""
    if not config.rezero:
        return None
    shapes = {"per_model": (1,), "per_layer": (config.different,), "per_sublayer": (2, config.num_layers, 2)}
    return nn.Parameter(torch.zeros(shapes[config.gating]))


def unused(config: AttentionRoutingConfig) -> nn.ParameterList:
    """Return weights that a public program has and counts, but never uses."""
    width, inner, layers = config.hidden_size, config.intermediate_size, config.different
    shapes: list[tuple[int, ...]] = []
    if config.unused == "stubs":
        shapes += [(inner, width), (inner,)] * layers
    elif config.unused == "norms":  # the ones of two norms and a gate that the layer does not have itself
        shapes += [(width,)] * (4 if config.rezero else 2) * layers
        shapes += [] if config.rezero else [(1,)] * layers
    return nn.ParameterList(nn.Parameter(torch.zeros(shape), requires_grad=False) for shape in shapes)


def init_weights(model: nn.Module) -> None:
    """Initialise matrices with Xavier's uniform distribution, vectors with their usual values, padding with zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding):
            with torch.no_grad():
                module.weight[PADDING] = 0
