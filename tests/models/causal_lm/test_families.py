"""Every family of bases is read as transformers reads it: packed, scored, step by step, in any company."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from counts import count
from families import (
    FAMILIES,
    FAST,
    LENGTHS,
    RECURRENT,
    SHAPES,
    VOCABULARY,
    WINDOW,
    chosen,
    exactly,
    exchanges,
    model,
    near,
    network,
    own_logits,
    own_nll,
    own_states,
    shared_context,
)
from torch import Tensor
from transformers import GenerationConfig

from menura.adaptation.weights import adaptable_parameters
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError, MismatchError
from menura.models.causal_lm import backbone
from menura.models.causal_lm.backbone import FastBackbone, HFBackbone, RecomputedBackbone, backbone_name, backbone_of
from menura.models.causal_lm.base_checks import check_starts_as_base
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.hf_modules import blocks_of
from menura.models.causal_lm.hf_networks import max_positions
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters

ALL = [*FAMILIES, *SHAPES]
WINDOWS = ("mistral", "gemma2", "gemma3", "qwen2-windows")
DEFAULT = {"target_modules": "all-linear"}  # LoRA on all linear maps is what every family can carry
KINDS = ["lora", "none"][: count(full_count=2, quick_count=1)]  # a base alone is read by the losses' test, too
NO_END = VOCABULARY - 1  # a token that is taken for the end, so that every reply is as long as allowed


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exactly():
        yield


def stacked(exchange_nll: list[float]) -> Tensor:
    return torch.tensor(exchange_nll)


@pytest.mark.parametrize("name", ALL)
def test_a_family_is_read_the_way_that_it_is_known_by(name: str) -> None:
    made = network(name)
    found = type(backbone_of(made, blocks_of(made.base_model, made.config.num_hidden_layers), 0))
    wanted = FastBackbone if name in FAST else RecomputedBackbone if name in RECURRENT else HFBackbone
    assert found is wanted
    assert ("fast" in backbone_name(made), "recomputed" in backbone_name(made)) == (name in FAST, name in RECURRENT)


@pytest.mark.parametrize("kind", ["none", "lora"])
@pytest.mark.parametrize("name", chosen(ALL, ("mistral", "gemma3", "granite", "mamba", "lfm2")))
def test_losses_scores_and_final_states_are_those_of_the_networks_own_pass(name: str, kind: str) -> None:
    made = model(name, kind, **(DEFAULT if kind == "lora" else {}))
    rows = [row for row in exchanges() if row.reply]
    wanted = stacked([own_nll(made, row) for row in rows])
    assert max(LENGTHS) > 2 * WINDOW
    assert near(made.loss(made.batch(rows)).nll.detach(), wanted)
    assert near(made.reply_nll(made.batch(rows)), wanted)
    context = shared_context()
    batch, wanted = made.batch(context), stacked([own_nll(made, row) for row in context])
    ends = torch.stack([own_states(made, row.ids)[-1] for row in context])
    assert near(made.reply_nll(batch), wanted)
    with torch.no_grad():
        nll, states = made.read(batch, len(context))
    assert near(nll, wanted)
    assert near(states, ends)
    one = [row for row in context if row.prefix == context[0].prefix]
    assert near(made.reply_ends(made.batch(one)), ends[: len(one)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", chosen(ALL, ("mistral", "gemma3", "smollm3", "mamba", "bigcode")))
def test_steps_after_a_cache_are_those_of_the_networks_own_pass(name: str, kind: str) -> None:
    made = model(name, kind, **(DEFAULT if kind == "lora" else {}))
    prefixes = [row.prefix for row in exchanges()]
    batch = made.batch(exchanges())
    with torch.no_grad():
        scores, state = made.prefill_logits(batch)
        assert_own(made, scores, prefixes)
        again, _ = made.step_logits(made.prefill(batch), batch.prefix.ids[:, -1])
        assert near(again, scores)
        # All rows, then in another order, one of them twice, then some that are equally long.
        for at, rows in enumerate((range(6), (5, 1, 1, 0), (3, 0), (0, 0))):
            state = made.reorder_cache(state, torch.tensor(list(rows)))
            last = torch.arange(len(rows)) + 90 + at
            prefixes = [(*prefixes[row], int(token)) for row, token in zip(rows, last, strict=True)]
            scores, state = made.step_logits(state, last)
            assert_own(made, scores, prefixes)


def assert_own(made: CausalLm, scores: Tensor, prefixes: list[tuple[int, ...]]) -> None:
    assert near(scores, torch.stack([own_logits(made, prefix)[-1] for prefix in prefixes]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", chosen([*FAMILIES], ("gemma2", "lfm2")))
def test_greedy_replies_are_those_of_transformers(name: str, kind: str) -> None:
    made = model(name, kind, **(DEFAULT if kind == "lora" else {}))
    batch = made.batch(exchanges((50, 9, 50, 31)))
    ours = generate(made, batch, Greedy(), end=NO_END, max_new_tokens=12, seeds=range(4))
    asked = GenerationConfig(max_new_tokens=12, do_sample=False, eos_token_id=NO_END, pad_token_id=0)
    made.network.generation_config = asked
    for row, reply in zip(batch.exchanges, ours, strict=True):
        ids = torch.tensor([row.prefix])
        theirs = made.network.generate(ids, attention_mask=torch.ones_like(ids), generation_config=asked)
        assert reply == [token for token in theirs[0, ids.shape[1] :].tolist() if token != NO_END]


@pytest.mark.parametrize("name", chosen(ALL, ("mistral", "mamba", "qwen3moe")))
def test_order_company_and_padding_change_nothing(name: str) -> None:
    made = model(name, "lora", **DEFAULT)
    rows = [row for row in exchanges() if row.reply]
    with torch.no_grad():
        together = made.loss(made.batch(rows)).nll
        assert near(made.loss(made.batch(rows[::-1])).nll.flip(0), together)
        assert near(torch.cat([made.loss(made.batch([row])).nll for row in rows]), together)
        logits, _ = made.prefill_logits(made.batch(rows))
        alone = torch.cat([made.prefill_logits(made.batch([row]))[0] for row in rows])
    assert near(logits, alone)


@pytest.mark.parametrize("name", chosen(ALL, (*WINDOWS, "falcon", "opt-projected")))
def test_gradients_are_those_of_the_networks_own_pass(name: str) -> None:
    made = model(name, "lora", **DEFAULT, layers="upper")
    rows = [row for row in exchanges() if row.reply]
    parameters = list(adaptable_parameters(made).values())
    assert made.lower_is_frozen
    ours = torch.autograd.grad(made.loss(made.batch(rows)).nll.sum(), parameters)
    total = torch.zeros(())
    for row in rows:
        scores = made.network(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0].log_softmax(-1)
        start = len(row.prefix) - 1
        total = total - scores[torch.arange(start, start + len(row.reply)), torch.tensor(row.reply)].sum()
    theirs = torch.autograd.grad(total, parameters, allow_unused=True)
    for found, wanted in zip(ours, theirs, strict=True):
        assert near(found, torch.zeros_like(found) if wanted is None else wanted)
    made.lower_is_frozen = False
    whole = torch.autograd.grad(made.loss(made.batch(rows)).nll.sum(), parameters, allow_unused=True)
    assert all(near(found, other) for found, other in zip(ours, whole, strict=True) if other is not None)


@pytest.mark.parametrize("name", chosen(sorted(FAST), WINDOWS[:1]))
@pytest.mark.parametrize("layers", ["all", "upper"])
def test_padded_tensors_give_the_loss_and_both_derivatives(name: str, layers: str) -> None:
    if name in FAST:
        made = model(name, "lora", **DEFAULT, layers=layers)
        made.check_padded()
        batch = made.batch([row for row in exchanges() if row.reply])
        parameters = list(adaptable_parameters(made).values())
        found = []
        for given in (batch, made.padded(batch)):
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                loss = made.loss(given).total
                slopes = torch.autograd.grad(loss, parameters, create_graph=True)
                curve = torch.autograd.grad(sum(slope.pow(2).sum() for slope in slopes), parameters)
            found.append((loss, *slopes, *curve))
        assert all(near(ours.detach(), wanted.detach()) for ours, wanted in zip(*found, strict=True))


@pytest.mark.parametrize("name", sorted(set(ALL) - FAST))
def test_padded_tensors_are_refused_where_layers_are_not_known(name: str) -> None:
    with pytest.raises(ConfigError, match="only layers of the fast backbone can be compiled"):
        model(name).check_padded()


@pytest.mark.parametrize("name", ["mistral", "gemma3"])
def test_tokens_before_the_window_change_nothing_and_those_in_it_do(name: str) -> None:
    # Through more than one layer a token sees further than its window.
    one_layer = {"num_hidden_layers": 1, **({"layer_types": ["sliding_attention"]} if name == "gemma3" else {})}
    made = CausalLm(network(name, **one_layer), CausalLmConfig("x", adapters=Adapters("none"))).double()
    (row,) = exchanges((WINDOW + 10,))
    first_seen = len(row.prefix) - WINDOW
    found = []
    for at in (None, first_seen - 1, first_seen):
        ids = row.prefix if at is None else changed(row.prefix, at)
        with torch.no_grad():
            whole, _ = made.prefill_logits(made.batch([replace(row, context=ids)]))
            _, state = made.prefill_logits(made.batch([replace(row, context=ids[:-1])]))
            stepped, _ = made.step_logits(state, torch.tensor(ids[-1:]))
            scored = made.reply_nll(made.batch([replace(row, context=ids, reply=(9,))]))
        found.append((whole, stepped, scored))
    assert first_seen > 0
    for before, outside, inside in zip(*found, strict=True):
        assert near(outside, before, 1e-14)
        assert not near(inside, before, 1e-6)


def changed(ids: tuple[int, ...], at: int) -> tuple[int, ...]:
    return (*ids[:at], ids[at] + 1, *ids[at + 1 :])


# The check when a base is loaded


@pytest.mark.parametrize("name", chosen(ALL, ("gemma2", "granite", "mamba", "lfm2", "qwen3moe")))
def test_every_family_passes_the_check_at_load(name: str) -> None:
    check_starts_as_base(model(name, "lora", moved=False, **DEFAULT), list(range(5, 30)))


def test_a_cache_that_is_not_what_it_is_taken_for_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "is_recurrent", lambda network: False)
    with pytest.raises(MismatchError, match="MambaForCausalLM: read token by token, beside another sequence"):
        check_starts_as_base(model("mamba"), list(range(5, 30)))


def test_one_token_of_a_base_is_too_few_to_step() -> None:
    check_starts_as_base(model("gpt2"), [7])


# Heads


@pytest.mark.parametrize("name", ["gemma2", "granite", "gpt2", "opt"])
def test_tokens_of_the_chat_formats_own_have_the_head_of_all_others(name: str) -> None:
    made = CausalLm(network(name), CausalLmConfig("x", "special", adapters=Adapters("none"))).double()
    assert made.special_rows is not None
    table = made.network.get_output_embeddings().weight
    with torch.no_grad():
        made.special_rows.copy_(table[10:16])
        scores = made.logits(torch.arange(5, 40)[None])[0]
    assert scores.shape[1] == VOCABULARY + 6
    assert near(scores[:, VOCABULARY:], scores[:, 10:16])
    assert near(scores[:, :VOCABULARY], own_logits(made, range(5, 40)))


def test_suppressed_tokens_are_never_said_and_change_no_score() -> None:
    made = model("tinyllama", "houlsby")
    batch = made.batch([row for row in exchanges() if row.reply])
    with torch.no_grad():
        said = generate(made, batch, Greedy(), end=NO_END, max_new_tokens=6, seeds=range(len(batch)))
        before = made.loss(batch).nll, made.reply_nll(batch), made.step(made.prefill(batch), batch.prefix.ids[:, -1])[0]
        made.suppress_ids = tuple({token for reply in said for token in reply})
        again = generate(made, batch, Greedy(), end=NO_END, max_new_tokens=6, seeds=range(len(batch)))
        after = made.loss(batch).nll, made.reply_nll(batch), made.step(made.prefill(batch), batch.prefix.ids[:, -1])[0]
        logits, state = made.prefill_logits(batch)
        further, _ = made.step_logits(state, torch.full((len(batch),), 90))
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not {token for reply in again for token in reply} & set(made.suppress_ids)
    for scores in (logits, further):
        assert torch.isinf(scores).nonzero()[:, 1].unique().tolist() == sorted(made.suppress_ids)


# Positions


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("gpt2", 64),
        ("opt", 512),
        ("tinyllama", None),
        ("llama-yarn", None),
        ("gemma3", None),
        ("bloom", None),
        ("mamba", None),
        ("bigcode", 512),
    ],
)
def test_learnt_positions_bound_what_is_read(name: str, wanted: int | None) -> None:
    made = model(name, double=False)
    assert max_positions(made.network) == wanted
    if wanted is not None:
        with torch.no_grad():
            made.logits(torch.randint(3, 250, (1, wanted)))
            with pytest.raises(IndexError):
                made.logits(torch.randint(3, 250, (1, wanted + 1)))


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotations_that_change_with_the_length_are_bounded_by_their_original_length(kind: str) -> None:
    rotation = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
    if kind == "longrope":
        rotation |= {"short_factor": [1.0] * 4, "long_factor": [3.0] * 4, "original_max_position_embeddings": 40}
    sizes = {"rope_parameters": rotation, "max_position_embeddings": 160 if kind == "longrope" else 40}
    made = CausalLm(network("llama3", **sizes), CausalLmConfig("x", adapters=Adapters("none"))).double()
    assert (backbone_name(made.network), max_positions(made.network)) == ("own forward pass", 40)
    rows = exchanges((40, 12, 39))
    wanted = stacked([own_nll(made, row) for row in rows])
    assert near(made.loss(made.batch(rows)).nll.detach(), wanted)
    beyond = exchanges((50, 12))
    far = made.loss(made.batch(beyond)).nll.detach()
    assert not near(far, stacked([own_nll(made, row) for row in beyond])), "else there would be nothing to bound"


def test_counts_are_reduced_in_quick_runs_only() -> None:
    assert len(chosen(ALL)) == count(full_count=len(ALL), quick_count=-(-len(ALL) // 6))
