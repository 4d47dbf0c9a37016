"""States of a BERT that nothing moves, to be read beside a table's rows or in their place.

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
    """Ids in, states out. It is part of no model: nothing of it trains, is counted or is saved.

    ``weights`` have the names that ``artefacts.pretrained`` gives; ``rows`` (V,) are its rows of a model's tokens.
    ``layer`` counts from 0, the embeddings, or from -1, the uppermost. ``opens`` is the row that begins a text.
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
        """Return states (B, S, W) of a model's ids (B, S); each text is read as a whole, behind what opens one."""
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
    """A map from an encoder's states, and from the table's rows beside them (``concat``), to embeddings.

    Only the map is part of the model; the encoder is given by ``reads`` once there is one.
    """

    def __init__(self, embedded: int, width: int, way: FeaturesAs) -> None:
        super().__init__()
        self.way = way
        self.map = nn.Linear(width + embedded * (way == "concat"), embedded)
        self._encoder: list[FrozenEncoder] = []  # in a list, so that it is no module of this one

    def reads(self, encoder: FrozenEncoder) -> None:
        """Read this encoder's states."""
        self._encoder = [encoder]

    def forward(self, ids: Tensor, real: Tensor, table: Tensor) -> Tensor:
        """Return embeddings (B, S, e) of ids (B, S), whose rows of the table are ``table`` (B, S, e)."""
        states = self._encoder[0].to(ids.device)(ids, real).to(table.dtype)
        mapped: Tensor = self.map(torch.cat([table, states], -1) if self.way == "concat" else states)
        return mapped
