import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from menura.errors import ConfigError
from menura.models.causal_lm.hf_modules import (
    blocks_of,
    feed_forward_end,
    key_value_maps,
    lora_maps,
    standing_in,
    sublayers,
    widths,
)
from menura.models.causal_lm.kv_cache import ROOM, empty_cache, selected
from menura.models.layers.adapters import Adapters


@pytest.mark.parametrize(("layers", "depth", "first"), [("all", 12, 0), ("upper", 12, 6), ("upper", 5, 2), (3, 12, 9)])
def test_the_first_adapted_layer(layers: str | int, depth: int, first: int) -> None:
    assert Adapters("houlsby", bottleneck=4, layers=layers).first_layer(depth) == first  # type: ignore[arg-type]
    assert Adapters("none", bottleneck=4, layers=layers).first_layer(depth) == 0  # type: ignore[arg-type]


def test_a_transposed_map_tells_its_widths() -> None:
    assert widths(nn.Linear(3, 5)) == (3, 5)
    assert widths(Conv1D(5, 3)) == (3, 5)


def test_a_layer_without_known_parts_is_refused_with_what_to_do() -> None:
    block = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="no attention and feed-forward part"):
        sublayers(block)
    for maps in (key_value_maps, feed_forward_end):
        with pytest.raises(ConfigError, match="no attention and feed-forward part"):
            maps(block)
    assert lora_maps(block, "query_value") == {}
    with pytest.raises(ConfigError, match="found no list of 7 layers"):
        blocks_of(block, 7)


def test_stand_ins_leave_even_after_an_error() -> None:
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    given = torch.ones(1, 2)
    wanted = [layer(given) for layer in layers]
    with standing_in(layers, [lambda hidden: hidden] * 2):
        assert all(layer(given) is given for layer in layers)
    with pytest.raises(ZeroDivisionError), standing_in(layers, [lambda hidden: hidden] * 2):
        _ = 1 / 0
    assert all(torch.equal(layer(given), before) for layer, before in zip(layers, wanted, strict=True))
    assert not any("forward" in vars(layer) for layer in layers)


def drawn(length: int, seed: int) -> torch.Tensor:
    return torch.randn(2, 3, length, 4, generator=torch.Generator().manual_seed(seed))


def test_a_cache_holds_all_it_was_given_however_it_grew() -> None:
    cache = empty_cache(1)
    pieces = [drawn(length, seed) for seed, length in enumerate([5, 1, ROOM, 1, 3 * ROOM, 1])]
    for piece in pieces:
        keys, values = cache.update(piece, -piece, 0)
    assert torch.equal(keys, torch.cat(pieces, 2))
    assert torch.equal(values, -torch.cat(pieces, 2))
    assert cache.get_seq_length() == sum(piece.shape[2] for piece in pieces)


def test_selected_rows_share_no_memory_with_where_they_came_from() -> None:
    cache = empty_cache(1)
    cache.update(drawn(5, 0), drawn(5, 1), 0)
    chosen = selected(cache, torch.tensor([1, 1, 0]))
    extra = torch.ones(3, 3, 1, 4)
    keys, _ = chosen.update(extra, extra, 0)
    assert torch.equal(keys, torch.cat([drawn(5, 0)[[1, 1, 0]], extra], 2))
    assert cache.get_seq_length() == 5
    kept, _ = cache.update(drawn(1, 2), drawn(1, 2), 0)
    assert torch.equal(kept, torch.cat([drawn(5, 0), drawn(1, 2)], 2))


def test_selecting_from_a_cache_that_read_nothing_gives_one_that_read_nothing() -> None:
    assert selected(empty_cache(2), torch.tensor([0, 0])).get_seq_length() == 0
