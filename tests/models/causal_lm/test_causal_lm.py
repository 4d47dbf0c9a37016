from dataclasses import replace
from typing import Any

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, gpt2, part
from torch import nn

from menura.adaptation.weights import adaptable_parameters
from menura.batches.encode import EncodedExchange
from menura.errors import ConfigError
from menura.models.catalogue import counted
from menura.models.causal_lm import model as causal_lm
from menura.models.causal_lm.config import CausalLmConfig, without_adapters
from menura.models.causal_lm.hf_modules import blocks_of
from menura.models.causal_lm.model import CausalLm
from menura.models.dialogue_model import HasFrozenLower, RanksReplies
from menura.models.layers.adapters import Adapters


@pytest.mark.parametrize("network", ["tiny", "gpt2"])
def test_the_loss_is_what_the_network_itself_says(network: str) -> None:
    toy = replace(VARIANTS["in-place"], network=network).toy(double=True)
    batch = toy.batch(SUPPORT + QUERY)
    for exchange, nll in zip(batch.exchanges, toy.model.loss(batch).nll.tolist(), strict=True):
        ids = torch.tensor([exchange.ids])
        wanted = ids.masked_fill(torch.arange(ids.shape[1]) < len(exchange.prefix), -100)
        with torch.no_grad():
            mean = toy.model.network(input_ids=ids, labels=wanted, use_cache=False).loss
        assert nll == pytest.approx(float(mean) * len(exchange.reply), rel=1e-6)  # the network's own loss is float32


@pytest.mark.parametrize(
    ("name", "moving"),
    [
        ("houlsby", {"adapters"}),
        ("lora", {"adapters"}),
        ("special", {"adapters", "special_rows"}),
        ("in-place", {"network"}),
        ("train-base", {"adapters", "network"}),
    ],
)
def test_what_adapts_is_what_the_settings_say(name: str, moving: set[str]) -> None:
    model = VARIANTS[name].toy().model
    assert {key.split(".")[0] for key in adaptable_parameters(model)} == moving
    assert {count.part for count in counted(model) if count.adapting} == moving
    assert sum(c.parameters for c in counted(model)) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("layers", "held"), [("all", "0123"), ("upper", "23"), (1, "3"), (4, "0123")])
def test_adapters_stand_in_the_layers_asked_for(layers: str | int, held: str) -> None:
    model = replace(VARIANTS["houlsby"], layers=layers).toy().model  # type: ignore[arg-type]
    assert "".join(model.adapters) == held
    assert all(set(parts) == {"attention", "feed_forward"} for parts in model.adapters.values())  # type: ignore[call-overload]


def test_lora_stands_on_query_and_value_or_on_the_map_that_fuses_them() -> None:
    assert set(VARIANTS["lora"].toy().model.adapters["0"]) == {"q_proj", "v_proj"}  # type: ignore[call-overload]
    assert set(VARIANTS["gpt2-lora"].toy().model.adapters["0"]) == {"c_attn"}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 31}, "model.max_length: 31"),
        ({"adapters": {"bottleneck": 0}}, "adapters.bottleneck: 0"),
        ({"adapters": {"kind": "lora", "layers": 0}}, "adapters.layers: 0"),
    ],
)
def test_settings_that_make_no_model_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CausalLmConfig("tiny", **{**settings, "adapters": Adapters(**settings.get("adapters", {}))})


def test_more_adapted_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="adapters.layers: 3, the base has 2"):
        CausalLm(gpt2(), CausalLmConfig(adapters=Adapters(layers=3)))


def test_the_in_place_variant_differs_in_its_adapters_only() -> None:
    config = CausalLmConfig("tiny", "plain", 64, Adapters("lora", rank=3, layers="upper"))
    assert without_adapters(config) == replace(config, adapters=Adapters("none", rank=3, layers="upper"))


def test_a_causal_lm_has_both_optional_abilities() -> None:
    model = VARIANTS["houlsby-upper"].toy().model
    assert isinstance(model, RanksReplies)
    assert isinstance(model, HasFrozenLower)


def test_kept_lower_layers_are_used_until_forgotten() -> None:
    toy = VARIANTS["houlsby-upper"].toy()
    batch = toy.batch(SUPPORT)
    before = toy.model.loss(batch).nll
    with torch.no_grad():
        next(blocks_of(toy.model.network.base_model, 4)[0].parameters()).mul_(2)
    assert torch.equal(toy.model.loss(batch).nll, before)
    toy.model.forget_lower()
    changed = toy.model.loss(batch).nll
    assert not torch.allclose(changed, before)
    toy.model.lower_is_frozen = False
    assert torch.allclose(toy.model.loss(batch).nll, changed)


def test_what_is_kept_of_the_lower_layers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = VARIANTS["houlsby-upper"].toy()
    batch = toy.batch(SUPPORT + QUERY)
    wanted = toy.model.loss(batch).nll
    whole = toy.model._kept_bytes
    assert whole == sum(kept.nbytes for kept in toy.model._kept.values()) > 0
    toy.model.forget_lower()
    monkeypatch.setattr(causal_lm, "KEPT_BYTES", whole // 2)
    assert torch.equal(toy.model.loss(batch).nll, wanted)
    assert 0 < toy.model._kept_bytes <= whole // 2
    assert toy.model._kept_bytes == sum(kept.nbytes for kept in toy.model._kept.values())


def test_old_ids_and_own_ids_are_told_apart() -> None:
    toy = VARIANTS["special"].toy()
    table = toy.model.network.get_input_embeddings().weight
    ids = torch.tensor([[5, 258, 259, 264]])
    rows = toy.model._embedded(ids)[0]
    assert toy.model.special_rows is not None
    assert torch.equal(rows, torch.stack([table[5], table[258], toy.model.special_rows[0], toy.model.special_rows[5]]))
    batch = toy.batch(SUPPORT)
    assert toy.model.step(toy.model.prefill(batch), batch.prefix.ids[:, -1])[0].shape[1] == 259 + 6


def test_own_rows_differ_from_each_other_from_the_start() -> None:
    rows = VARIANTS["special"].toy(stirred=False).model.special_rows
    assert rows is not None
    assert float(torch.pdist(rows.detach()).min()) > 0


def test_a_prefix_of_one_token_can_be_replied_to() -> None:
    toy = VARIANTS["houlsby"].toy(double=True)
    rows = [EncodedExchange("p", "d", (), (65,), (66, 67)), EncodedExchange("p", "d", (), (65, 68), (66,))]
    for given in (rows, rows[:1]):
        batch = toy.model.batch(given)
        assert toy.model.reply_nll(batch).tolist() == pytest.approx(toy.model.loss(batch).nll.tolist(), rel=1e-10)


def test_a_long_reading_grows_its_cache_without_a_change() -> None:
    toy = VARIANTS["gpt2-houlsby"].toy(double=True)
    batch = toy.batch([part("d", "x" * 30, "y" * 250)])
    assert toy.model.reply_nll(batch).item() == pytest.approx(toy.model.loss(batch).nll.item(), rel=1e-10)
    state, last = toy.model.prefill(batch), batch.prefix.ids[:, -1]
    total = 0.0
    with torch.no_grad():
        for token in batch.reply.ids[0]:
            log_probs, state = toy.model.step(state, last)
            total -= float(log_probs[0, token])
            last = token[None]
    assert total == pytest.approx(toy.model.loss(batch).nll.item(), rel=1e-10)


def test_a_network_without_a_list_of_layers_is_refused() -> None:
    network = gpt2()
    network.transformer.h = nn.ModuleList(list(network.transformer.h)[:1])
    with pytest.raises(ConfigError, match="found no list of 2 layers"):
        CausalLm(network, CausalLmConfig())
