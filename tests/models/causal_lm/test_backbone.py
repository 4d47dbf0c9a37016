from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from counts import count
from made_up import QUERY, SUPPORT, VARIANTS, in_double, part, read_by_their_own_network, stir
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.adaptation.weights import adaptable_parameters, loss_with
from menura.batches.batch import Batch
from menura.batches.collate import Labels
from menura.batches.encode import EncodedEpisode, EncodedExchange
from menura.batches.varlen import SequenceLayout, packed_chunks
from menura.models.causal_lm import attention
from menura.models.causal_lm.backbone import FastBackbone, HFBackbone, backbone_of
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.functional_layers import AttentionInputs
from menura.models.causal_lm.hf_modules import blocks_of
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters

LLAMA = partial(
    LlamaConfig,
    vocab_size=259,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    initializer_range=0.2,
    bos_token_id=None,
    eos_token_id=None,
)
GPT2 = partial(
    GPT2Config,
    vocab_size=259,
    n_positions=512,
    n_embd=32,
    n_layer=2,
    n_head=4,
    initializer_range=0.2,
    bos_token_id=None,
    eos_token_id=None,
)
NEOX = partial(
    GPTNeoXConfig,
    vocab_size=259,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    initializer_range=0.2,
    bos_token_id=None,
    eos_token_id=None,
)
ROPE = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
KNOWN: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": LLAMA,
    "llama-biased": partial(LLAMA, attention_bias=True, mlp_bias=True, num_key_value_heads=4),
    "gpt2": GPT2,
    "gpt2-scaled": partial(GPT2, scale_attn_by_inverse_layer_idx=True, activation_function="gelu"),
}
UNKNOWN: dict[str, Callable[[], PretrainedConfig]] = {
    "gpt2-upcast": partial(GPT2, reorder_and_upcast_attn=True),
    "gpt2-crossed": partial(GPT2, add_cross_attention=True),
    "neox": NEOX,
}
KINDS = ["none", "houlsby", "lora", "ia3", "prompt"]
PARTS = (
    *SUPPORT,
    *QUERY,
    part("x", "a very long thing to say about goats", "no", "why?", "because"),
    part("y", "a", "b"),
)
# One layout's exchanges serve all networks here: each is over the same bytes.
TALK = VARIANTS["gpt2-in-place"].toy()


def network(make: Callable[[], PretrainedConfig]) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return AutoModelForCausalLM.from_config(make()).eval()


def model_of(make: Callable[[], PretrainedConfig], kind: str, layers: Any = "all", *, double: bool = True) -> CausalLm:
    torch.manual_seed(7)
    model = CausalLm(
        network(make),
        CausalLmConfig("x", adapters=Adapters(kind, bottleneck=4, rank=4, num_virtual_tokens=4, layers=layers)),
    ).eval()  # type: ignore[arg-type]
    stir(model)
    return in_double(model) if double else model


def both(form: str, kind: str, layers: Any = "all", *, double: bool = True) -> tuple[CausalLm, CausalLm]:
    """Make a model twice; the second is read by its network's own forward pass."""
    with read_by_their_own_network():
        theirs = model_of(KNOWN[form], kind, layers, double=double)
    return model_of(KNOWN[form], kind, layers, double=double), theirs


def exchanges(parts: Sequence[Any] = PARTS) -> list[EncodedExchange]:
    return [exchange for dialogue in TALK.dialogues(parts) for exchange in dialogue]


def near(found: Tensor, wanted: Tensor, double: bool) -> bool:
    return float((found - wanted).detach().norm()) <= (1e-12 if double else 2e-6) * float(wanted.detach().norm())


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", KNOWN)
def test_loss_and_gradient_are_those_of_the_networks_own_pass(form: str, kind: str, double: bool) -> None:
    found = [nll_and_gradient(model, model.batch(exchanges())) for model in both(form, kind, double=double)]
    for ours, wanted in zip(*found, strict=True):
        assert near(ours, wanted, double)


def nll_and_gradient(model: CausalLm, batch: Batch) -> tuple[Tensor, Tensor]:
    loss = model.loss(batch)
    gradients = torch.autograd.grad(loss.total, list(adaptable_parameters(model).values()))
    return loss.nll, torch.cat([gradient.reshape(-1) for gradient in gradients])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["llama", "gpt2"])
def test_the_exact_meta_gradient_is_that_of_the_networks_own_pass(form: str, kind: str) -> None:
    episode = EncodedEpisode("mira", TALK.dialogues(SUPPORT), TALK.dialogues(QUERY))
    found = []
    for order in ("exact", "first"):
        method = Maml(InnerLoop(lr=0.05, epochs=2, batch_size=2), order=order)
        for model in both(form, kind):
            total = method.objective(model, episode).total
            slopes = torch.autograd.grad(total, list(adaptable_parameters(model).values()))
            found.append(torch.cat([slope.reshape(-1) for slope in slopes]))
    assert near(found[0], found[1], double=True)
    assert near(found[2], found[3], double=True)
    assert not torch.allclose(found[0], found[2], rtol=1e-3), "the second order must matter for this to be a test"


@pytest.mark.parametrize("kind", ["houlsby", "lora", "ia3", "prompt"])
@pytest.mark.parametrize("form", ["llama", "gpt2"])
def test_kept_lower_layers_give_what_reading_all_layers_gives(form: str, kind: str) -> None:
    model = model_of(KNOWN[form], kind, 1)
    assert model.lower_is_frozen
    kept, again = (nll_and_gradient(model, model.batch(exchanges())) for _ in range(2))
    assert torch.equal(kept[0], again[0])
    assert torch.equal(kept[1], again[1])
    model.lower_is_frozen = False
    whole = nll_and_gradient(model, model.batch(exchanges()))
    assert near(kept[0], whole[0], double=True)
    assert near(kept[1], whole[1], double=True)


def test_what_is_kept_of_a_row_depends_on_no_other_row() -> None:
    model = model_of(KNOWN["llama"], "houlsby", 1, double=False)
    rows = exchanges()
    model.loss(model.batch(rows))
    together = dict(model._kept)
    for row, lower in together.items():
        model.forget_lower()
        assert torch.equal(model._lower(row), lower)
    assert len(together) > 3


@pytest.mark.parametrize("form", ["llama", "gpt2"])
def test_no_padded_token_goes_through_any_map_and_only_labels_through_the_last_layers_end(form: str) -> None:
    model = model_of(KNOWN[form], "houlsby")
    seen: Counter[str] = Counter()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":

            def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                seen[name] += inputs[0].numel() // inputs[0].shape[-1]

            module.register_forward_hook(count)
    batch = model.batch(exchanges())
    tokens, labels = sum(map(len, batch.packed.rows)), len(batch.packed.labels.token)
    model.loss(batch)
    first, last = (
        ("network.model.layers.0", "network.model.layers.1")
        if form == "llama"
        else tuple(f"network.transformer.h.{index}" for index in range(2))
    )
    assert {count for name, count in seen.items() if name.startswith(first)} == {tokens}
    asking = {count for name, count in seen.items() if name.startswith(last) and is_asking(name)}
    ending = {count for name, count in seen.items() if name.startswith(last) and not is_asking(name)}
    assert (asking, ending) == ({tokens}, {labels})
    assert seen["network.lm_head"] == seen["adapters.1.feed_forward.up"] == labels < tokens
    assert seen["adapters.0.feed_forward.up"] == tokens


def is_asking(name: str) -> bool:
    return name.rsplit(".", 1)[-1] in ("q_proj", "k_proj", "v_proj", "c_attn")


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["llama", "gpt2"])
def test_step_by_step_is_that_of_the_networks_own_pass(form: str, kind: str, double: bool) -> None:
    with torch.no_grad():
        ours, theirs = (torch.stack(steps(model)) for model in both(form, kind, double=double))
    assert near(ours, theirs, double)


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("form", ["llama-biased", "gpt2-scaled"])
def test_attention_by_hand_is_that_of_the_networks_own_pass(
    form: str, double: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand, masked = attention._attended_by_hand, []

    def counted(asked: AttentionInputs, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        masked.append(mask is not None)
        return by_hand(asked, keys, values, mask)

    monkeypatch.setattr(attention, "_attended_by_hand", counted)
    monkeypatch.setattr(attention, "LEAST_WIDTH", 1)
    with torch.no_grad():
        ours, theirs = both(form, "houlsby", double=double)
        wanted = torch.stack(steps(theirs))
        assert near(torch.stack(steps(ours)), wanted, double)
        assert not masked, "few numbers are not worth it"
        monkeypatch.setattr(attention, "MANY_NUMBERS", 0)
        assert near(torch.stack(steps(ours)), wanted, double)
        assert set(masked) == {True, False}
        masked.clear()
        monkeypatch.setattr(attention, "SHORT_PRODUCT", 0)
        assert near(torch.stack(steps(ours)), wanted, double)
        assert not masked, "long products are not worth it"


def test_heads_that_share_keys_do_not_attend_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_cheaper_by_hand", lambda keys: True)
    with torch.no_grad():
        ours, theirs = (torch.stack(steps(model)) for model in both("llama", "none"))
    assert near(ours, theirs, double=True)


def steps(model: CausalLm) -> list[Tensor]:
    """Read some tokens in all rows, then in some, then in rows of one length, and score replies after them."""
    rows = exchanges()
    short = EncodedExchange("p", "d", (), (65,), (66, 67))  # nothing of it is read by ``begin``
    batch = model.batch([*rows, short])
    found, state = [], model.prefill(batch)
    last = batch.prefix.ids[:, -1]
    for chosen in (range(len(batch)), range(len(batch)), [4, 1, 1, 7], [2], [0, 0]):
        log_probs, state = model.step(state, last)
        found.append(log_probs.sum(0))
        state = model.reorder_cache(state, torch.tensor(list(chosen)))
        last = torch.arange(len(chosen)) + 70
    candidates = [replace(row, reply=reply) for row in rows[:2] for reply in ((66, 67, 68), (69,), (70, 71))]
    return [*found, model.reply_nll(model.batch(candidates)).repeat(50)[: len(found[0])]]


def test_rows_that_are_left_full_need_no_mask() -> None:
    model = model_of(KNOWN["llama"], "none")
    batch = model.batch(exchanges())
    with torch.no_grad():
        state = model.prefill(batch)
    assert state.mask is not None
    longest = int(state.mask.sum(1).argmax())
    assert model.reorder_cache(state, torch.tensor([longest, longest])).mask is None
    assert model.reorder_cache(state, torch.tensor([longest, 0])).mask is not None
    assert model.prefill(model.batch(batch.exchanges[:1])).mask is None


@pytest.mark.parametrize("form", KNOWN)
def test_a_network_that_is_known_is_read_the_fast_way(form: str) -> None:
    made = network(KNOWN[form])
    assert isinstance(backbone_of(made, blocks_of(made.base_model, 2), 0), FastBackbone)


@pytest.mark.parametrize("name", UNKNOWN)
def test_any_other_network_is_read_by_its_own_pass(name: str) -> None:
    made = network(UNKNOWN[name])
    assert isinstance(backbone_of(made, [], 0), HFBackbone)


def test_a_network_that_is_not_known_has_the_loss_it_says_itself() -> None:
    model = model_of(NEOX, "houlsby")
    for exchange, nll in zip(exchanges(), model.loss(model.batch(exchanges())).nll.tolist(), strict=True):
        ids = torch.tensor([exchange.ids])
        wanted = ids.masked_fill(torch.arange(ids.shape[1]) < len(exchange.prefix), -100)
        with torch.no_grad():
            mean = model.network(input_ids=ids, labels=wanted, use_cache=False).loss
        assert nll == pytest.approx(float(mean) * len(exchange.reply), rel=1e-6)  # the network's own loss is float32
    kept = model_of(NEOX, "houlsby", 1)
    found = kept.loss(kept.batch(exchanges())).nll
    kept.lower_is_frozen = False
    assert near(kept.loss(kept.batch(exchanges())).nll, found, double=True)


@pytest.mark.parametrize("form", ["llama", "gpt2"])
def test_hooks_of_others_run_too(form: str) -> None:
    models = both(form, "houlsby")
    batch = models[0].batch(exchanges())
    before = models[0].loss(batch).nll
    for name in ("mlp", "mlp.down_proj" if form == "llama" else "mlp.c_proj"):
        hooked = [blocks_of(model.network.base_model, 2)[0].get_submodule(name) for model in models]
        handles = [part.register_forward_hook(lambda part, inputs, output: output * 1.5) for part in hooked]
        ours, wanted = (model.loss(batch).nll for model in models)
        assert not torch.allclose(ours, before)
        assert near(ours, wanted, double=True)
        for handle in handles:
            handle.remove()
    assert torch.equal(models[0].loss(batch).nll, before)


@pytest.mark.parametrize("form", ["llama", "gpt2"])
def test_weights_that_stand_in_are_those_that_are_read(form: str) -> None:
    model, theirs = both(form, "none")
    batch = model.batch(exchanges())
    before = model.loss(batch).nll
    moved = {name: value.detach() * 1.1 for name, value in adaptable_parameters(model).items()}
    ours = loss_with(model, moved, batch).nll
    assert torch.equal(model.loss(batch).nll, before)
    assert near(ours, loss_with(theirs, moved, batch).nll, double=True)
    assert not torch.allclose(ours, before)


@pytest.mark.parametrize("form", ["llama", "gpt2"])
def test_half_precision_products_stay_near(form: str) -> None:
    model = model_of(KNOWN[form], "houlsby", double=False)
    batch = model.batch(exchanges())
    wanted = nll_and_gradient(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = nll_and_gradient(model, batch)
        with torch.no_grad():
            log_probs, state = model.step(model.prefill(batch), batch.prefix.ids[:, -1])
            model.step(state, batch.prefix.ids[:, -1])
    for ours, exact, most in zip(found, wanted, (0.02, 0.1), strict=True):
        assert 0 < float((ours - exact).detach().norm() / exact.detach().norm()) < most
    assert bool(torch.isfinite(log_probs).all())


def test_passes_hold_as_many_neighbours_as_fit() -> None:
    rows = [(1, 2, 3, 4, 5), (6, 7, 8), (9, 9), (8,)]
    labels = Labels(
        *map(torch.tensor, ([3, 0, 0, 2, 1], [0, 3, 4, 1, 1], [-1, 2, 3, 0, 0], [8, 4, 5, 9, 7], [2, 0, 0, 1, 1]))
    )
    made = list(packed_chunks(rows, labels, 5))
    assert [part.ids for part in made] == [((1, 2, 3, 4, 5),), ((6, 7, 8), (9, 9)), ((8,),)]
    assert [part.rows.lengths for part in made] == [(5,), (3, 2), (1,)]
    assert made[1].packed.tolist() == [6, 7, 8, 9, 9]
    assert made[1].label_index.tolist() == [4, 1]
    assert made[1].predict_index.tolist() == [3, 0]
    assert made[1].labels.tolist() == [9, 7]
    assert [place.tolist() for place in made[0].ends] == [[4], [0]]
    assert [len(part.ids) for part in packed_chunks(rows, labels, 1)] == [1, 1, 1, 1]
    assert [len(part.ids) for part in packed_chunks(rows, labels, 11)] == [4]


def test_rows_tell_where_their_tokens_stand() -> None:
    rows = SequenceLayout((3, 0, 2, 2), torch.device("cpu"))
    assert rows.positions.tolist() == [0, 1, 2, 0, 1, 0, 1]
    assert rows.row.tolist() == [0, 0, 0, 2, 2, 3, 3]
    assert rows.starts.tolist() == [0, 3, 3, 5]
    assert rows.runs == ((1, 3), (1, 0), (2, 2))


def alternatives() -> list[EncodedExchange]:
    """Return exchanges, each with two other replies, one of which begins as the real one does."""
    others = ((1, 2, 3), (4,))
    return [
        replace(exchange, reply=reply)
        for exchange in exchanges()
        for reply in (exchange.reply, others[0], (*exchange.reply[:1], *others[1]))
    ]


@pytest.mark.parametrize("layers", ["all", "upper"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [*KNOWN][:: count(full_count=1, quick_count=2)])
def test_many_replies_to_shared_contexts_read_at_once_are_as_if_each_was_read_alone(
    form: str, kind: str, layers: str
) -> None:
    lean, network = both(form, kind, layers)
    said, results = alternatives(), []
    assert lean.batch(said).prefix_tree.branches != ()
    for model in (lean, network):
        nll, ends = model.read(model.batch(said), len(said) - 2)
        assert (nll.shape, ends.shape) == ((len(said) - 2,), (len(said), 32))
        gradient = torch.autograd.grad(nll.sum() + ends.sin().sum(), list(adaptable_parameters(model).values()))
        results.append((nll, ends, *gradient))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    alone = torch.stack([lean.loss(lean.batch([exchange])).nll[0] for exchange in said[:-2]])
    torch.testing.assert_close(results[0][0], alone, rtol=1e-11, atol=1e-11)
