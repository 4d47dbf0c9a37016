"""A base in bfloat16 with adapters in float32: every reading runs, and stays near float32."""

from dataclasses import replace

import pytest
import torch
from families import FAMILIES, chosen, exchanges, model, network, shared_context
from torch import Tensor

from menura.adaptation.weights import adaptable_parameters
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError
from menura.models.causal_lm.adapter_bank import AdapterBank
from menura.models.causal_lm.base_checks import check_starts_as_base
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.model import CausalLm
from menura.models.causal_lm.p2_bot import P2Bot, P2BotConfig
from menura.models.causal_lm.transfer_transfo import TransferTransfo, TransferTransfoConfig
from menura.models.layers.adapters import Adapters

NEAR = 0.03  # of the largest NLL; bfloat16 has 8 bits
WAYS = [("gpt2", kind) for kind in ("houlsby", "lora", "ia3", "prompt")]
WAYS += [("tinyllama", kind) for kind in ("houlsby", "lora", "ia3", "prompt")]
WAYS += [(name, "lora") for name in chosen([*FAMILIES], ("mistral", "gemma3", "mamba", "lfm2")) if name != "mamba"]


def halved(made: CausalLm) -> CausalLm:
    made.network.bfloat16()
    return made


def both(name: str, kind: str) -> tuple[CausalLm, CausalLm]:
    """Make a model twice from weights that bfloat16 holds exactly; the second has its base in bfloat16."""
    ours, wanted = (model(name, kind, double=False) for _ in range(2))
    wanted.network.bfloat16().float()
    return halved(ours), wanted


def apart(ours: Tensor, wanted: Tensor) -> float:
    assert ours.dtype == wanted.dtype == torch.float32
    return float((ours - wanted).detach().abs().max() / wanted.detach().abs().max())


@pytest.mark.parametrize(("name", "kind"), WAYS)
def test_all_that_is_computed_runs_and_stays_near_float32(name: str, kind: str) -> None:
    ours, wanted = both(name, kind)
    rows = [row for row in exchanges() if row.reply]
    assert {p.dtype for p in adaptable_parameters(ours).values()} == {torch.float32}
    assert (ours.network.dtype, ours.dtype) == (torch.bfloat16, torch.float32)
    found = []
    for made in (ours, wanted):
        batch, context = made.batch(rows), made.batch(shared_context())
        loss = made.loss(batch)
        slopes = torch.autograd.grad(loss.total, list(adaptable_parameters(made).values()))
        with torch.no_grad():
            log_probs, state = made.step(made.prefill(batch), batch.prefix.ids[:, -1])
            further, _ = made.step_logits(made.reorder_cache(state, torch.tensor([3, 0, 0])), torch.tensor([7, 8, 9]))
            nll, ends = made.read(context, len(context))
        found.append([loss.nll, made.reply_nll(batch), made.reply_nll(context), nll, log_probs, further, ends])
        assert all(bool(slope.isfinite().all()) for slope in slopes)
    for ours_, wanted_ in zip(*found, strict=True):
        assert 0 < apart(ours_, wanted_) < NEAR * (10 if ours_.dim() > 1 else 1)


@pytest.mark.parametrize("name", ["tinyllama", "gpt2", "mamba", "gemma2"])
def test_the_check_at_load_allows_for_rounding(name: str) -> None:
    settings = Adapters("lora", rank=3, target_modules="all-linear")
    made = CausalLm(network(name).bfloat16(), CausalLmConfig("x", adapters=settings)).eval()
    check_starts_as_base(made, list(range(5, 40)))


@pytest.mark.parametrize("settings", [{"adapters": Adapters("none")}, {"train_base": True}])
def test_a_base_in_half_precision_is_not_trained(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="the base is in bfloat16, in which its weights cannot be trained"):
        CausalLm(network("tinyllama").bfloat16(), CausalLmConfig("x", **settings))


def test_padded_tensors_give_the_same_loss() -> None:
    made = halved(model("tinyllama", "lora", double=False))
    batch = made.batch(exchanges((60,) * 7, replies=43))
    wanted, found = (made.loss(given) for given in (batch, made.padded(batch)))
    assert int(found.tokens.sum()) == int(wanted.tokens.sum()) == 301, "a count that bfloat16 would round"
    assert found.total.dtype == torch.float32
    assert apart(found.total[None], wanted.total[None]) < NEAR


@pytest.mark.parametrize("name", ["tinyllama", "gpt2", "olmo2"])
@pytest.mark.parametrize("kind", ["houlsby", "lora", "ia3"])
def test_personas_in_one_batch_keep_their_adapters_in_float32(name: str, kind: str) -> None:
    ours, wanted = both(name, kind)
    batch = ours.batch(exchanges((40, 9, 40)))
    found = []
    for made in (ours, wanted):
        bank = AdapterBank.of([{n: p.detach() * s for n, p in adaptable_parameters(made).items()} for s in (0.5, 1.5)])
        with torch.no_grad(), made.using_adapters(bank, (1, 0, 1)):
            scores, state = made.prefill_logits(batch)
            found.append((scores, made.step_logits(state, torch.tensor([7, 8, 9]))[0]))
            generate(made, batch, Greedy(), end=287, max_new_tokens=3, seeds=range(3))
    assert all(apart(one, other) < 10 * NEAR for one, other in zip(*found, strict=True))


def test_own_tokens_types_and_heads_are_float32_over_it() -> None:
    base = network("tinyllama").bfloat16()
    made = CausalLm(base, CausalLmConfig("x", "special", adapters=Adapters("lora", rank=3)))
    assert made.special_rows is not None
    assert made.special_rows.dtype == torch.float32
    rows = [row for row in exchanges() if row.reply]
    made.loss(made.batch(rows)).total.backward()
    assert bool(made.special_rows.grad.any())  # type: ignore[union-attr]
    typed = TransferTransfo(
        network("tinyllama").bfloat16(), TransferTransfoConfig("x", adapters=Adapters("lora", rank=3))
    )
    assert typed.lm.token_type_embeddings is not None
    assert {p.dtype for p in adaptable_parameters(typed).values()} == {torch.float32}
    typed.loss(typed.batch(rows)).total.backward()
    typed.reply_scores(typed.batch(rows[:1]))
    bot = P2Bot(network("tinyllama").bfloat16(), P2BotConfig("x", adapters=Adapters("lora", rank=3)))
    compared = [replace(row, facts=(5, 6, 7), negatives=(replace(rows[1], facts=(8, 9)),)) for row in rows[:2]]
    loss = bot.loss(bot.batch(compared))
    loss.total.backward()
    assert {"choice", "receiver"} <= loss.parts.keys()
