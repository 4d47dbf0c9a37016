"""Hidden states of a frozen BERT, beside the token embeddings or in their place.

Shape letters: B rows, S tokens, W width of the encoder, e width of embeddings.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from menura.errors import ConfigError
from menura.models.layers.transformer import Masked, Sizes, Transformer

FeaturesAs = Literal["concat", "replace"]


class FrozenEncoder(nn.Module):
    """Ids in, hidden states out. It is no submodule of a model: it is not trained, counted or saved.

    ``weights`` have the names that ``artefacts.pretrained`` gives; ``rows`` (V,) map a model's ids to the encoder's.
    ``layer`` counts from 0, the embeddings, or from -1, the last. ``opens`` is the encoder's [CLS] id.
    """

    def __init__(
        self, sizes: Sizes, weights: Mapping[str, Tensor], rows: Sequence[int], layer: int, opens: int
    ) -> None:
        super().__init__()
        if not -sizes.num_layers - 1 <= layer <= sizes.num_layers:
            told = f"model.features_layer: {layer}, the encoder has layers 0 (embeddings) to {sizes.num_layers}"
            raise ConfigError(told, hint="--set model.features_layer=-1 is the uppermost")
        self.width, self.positions, self.depth, self.opens = (
            sizes.hidden_size,
            sizes.max_positions,
            layer % (sizes.num_layers + 1),
            opens,
        )
        self.rows: Tensor
        self.register_buffer("rows", torch.tensor(list(rows), dtype=torch.long))
        tables = {name: weights[f"embeddings.{name}.weight"] for name in ("token", "position", "role")}
        self.tables = nn.ParameterDict({name: nn.Parameter(table.clone()) for name, table in tables.items()})
        self.norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.epsilon)
        self.body = Transformer(sizes)
        self.norm.load_state_dict({part: weights[f"embeddings.norm.{part}"] for part in ("weight", "bias")})
        self.body.load_state_dict({n.removeprefix("body."): w for n, w in weights.items() if n.startswith("body.")})
        self.requires_grad_(requires_grad=False).eval()

    @torch.no_grad()
    def forward(self, ids: Tensor, real: Tensor) -> Tensor:
        """Return hidden states (B, S, W) of a model's ids (B, S); [CLS] is prepended to each text."""
        read = torch.cat([ids.new_full((len(ids), 1), self.opens), self.rows[ids]], 1)
        seen = nn.functional.pad(real, (1, 0), value=True)
        places = torch.arange(read.shape[1], device=ids.device)
        x = self.norm(self.tables["token"][read] + self.tables["position"][places] + self.tables["role"][0])
        attend = Masked(seen[:, None, None].expand(-1, -1, read.shape[1], -1))
        for block in self.body.blocks[: self.depth]:
            x = block(x, attend)
        states: Tensor = x[:, 1:]
        return states


class FrozenFeatures(nn.Module):
    """A map from an encoder's states, with ``concat`` joined to the token embeddings, to embeddings.

    Only the map is part of the model; ``reads`` sets the encoder.
    """

    def __init__(self, embedded: int, width: int, way: FeaturesAs) -> None:
        super().__init__()
        self.way = way
        self.map = nn.Linear(width + embedded * (way == "concat"), embedded)
        self._encoder: list[FrozenEncoder] = []  # in a list, so that it is not registered as a submodule

    def reads(self, encoder: FrozenEncoder) -> None:
        """Use this encoder."""
        self._encoder = [encoder]

    def forward(self, ids: Tensor, real: Tensor, table: Tensor) -> Tensor:
        """Return embeddings (B, S, e) of ids (B, S) with token embeddings ``table`` (B, S, e)."""
        states = self._encoder[0].to(ids.device)(ids, real).to(table.dtype)
        mapped: Tensor = self.map(torch.cat([table, states], -1) if self.way == "concat" else states)
        return mapped
