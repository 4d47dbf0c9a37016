"""Acceptance checks E1 to E6 (MAMLviaPP) and the counts of B1. Numbers from specs, section 17."""

from dataclasses import replace

import pytest
import torch
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Variant, part, stir
from torch import Tensor, nn

from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.adaptation.weights import adaptable_parameters
from menura.artefacts.bases.base import without_weights
from menura.artefacts.tensors import content_sha256
from menura.batches.chat_format import CHAT_FORMATS, SPECIAL_TOKENS, ChatFormatName
from menura.batches.encode import EncodedEpisode, Encoder
from menura.batches.tokenizer import byte_tokenizer
from menura.decoding.sampling import Nucleus
from menura.errors import DataError, MismatchError
from menura.models.causal_lm.adapter_hooks import check_can_learn
from menura.models.causal_lm.base_checks import NEAR
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.model import CausalLm, check_starts_as_base
from menura.models.layers.adapters import Adapters
from menura.tasks.task import Exchange

WITH_ADAPTERS = [n for n, v in VARIANTS.items() if v.kind != "none" and v.model == "causal_lm"]
LAYOUT_NAMES: tuple[ChatFormatName, ...] = ("chat", "special", "plain")
OLD_IDS = tuple(byte_tokenizer().encode("the goat ate a clock. tick. the clock went on, in the goat."))


def logits(model: CausalLm) -> Tensor:
    """Return the logits (1, L, V) of a text of the base's own vocabulary, read the way ``loss`` reads."""
    with torch.no_grad():
        return model.logits(torch.tensor([OLD_IDS]))


def closed(model: CausalLm) -> dict[str, nn.Parameter]:
    """Return the parameters that keep fresh adapters from adding anything: W_up, factors, gates."""
    return {name: model.get_parameter(name) for name in model.neutral_weights()}


def gradients(model: CausalLm) -> dict[str, float]:
    """Return the largest gradient of each adapter tensor, by name."""
    found = {n: p.grad for n, p in model.named_parameters() if n.startswith("adapters.")}
    return {name: float(grad.abs().max()) for name, grad in found.items() if grad is not None}


# B1


@pytest.mark.parametrize("size", [8, 16, 64, 256])
def test_b1_gpt2_small_and_its_adapters_have_the_papers_counts(size: int) -> None:
    network = without_weights("gpt2-config")
    assert sum(p.numel() for p in network.parameters()) == 124_439_808
    model = CausalLm(network, CausalLmConfig(adapters=Adapters("houlsby", bottleneck=size)))
    added = sum(p.numel() for p in model.adapters.parameters())
    assert added == 24 * (1537 * size + 768) == {8: 313_536, 16: 608_640, 64: 2_379_264, 256: 9_461_760}[size]
    assert sum(p.numel() for p in adaptable_parameters(model).values()) == added


@pytest.mark.parametrize(
    ("adapters", "numbers", "bytes_in_half"),
    [
        (Adapters("lora", rank=1), 36_864, 73_728),  # on the attention input map
        (Adapters("lora", rank=1, layers=2), 6_144, 12_288),
        (Adapters("ia3"), 55_296, 110_592),
        (Adapters("prompt", num_virtual_tokens=10), 12 * (10 * 768 + 12), 184_608),
        (Adapters("prompt", num_virtual_tokens=10, layers=1), 10 * 768 + 12, 15_384),
    ],
)
def test_b1_other_adapters_of_gpt2_small_have_the_sizes_of_section_16(
    adapters: Adapters, numbers: int, bytes_in_half: int
) -> None:
    model = CausalLm(without_weights("gpt2-config"), CausalLmConfig(adapters=adapters))
    assert sum(p.numel() for p in adaptable_parameters(model).values()) == numbers
    assert 2 * numbers == bytes_in_half


# E1


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
@pytest.mark.parametrize("layers", ["all", "upper"])
@pytest.mark.parametrize("kind", ["houlsby", "lora", "ia3", "prompt"])
@pytest.mark.parametrize("network", ["tiny", "gpt2"])
def test_e1_fresh_adapters_change_no_bit_of_any_logit(
    network: str, kind: str, layers: str, layout: ChatFormatName
) -> None:
    variant = replace(VARIANTS["houlsby"], network=network, kind=kind, layers=layers, layout=layout)
    model = variant.toy(stirred=False).model
    bare = replace(variant, kind="none", layers="all", layout="chat").toy(stirred=False).model
    wanted = logits(bare)
    assert float((logits(model)[..., : wanted.shape[-1]] - wanted).abs().max()) == 0
    assert float(wanted.abs().max()) > 0.1
    with torch.no_grad():
        network = bare.network(input_ids=torch.tensor([OLD_IDS]), use_cache=False).logits
    assert torch.allclose(wanted, network, rtol=0, atol=1e-5 * float(network.abs().max()))
    check_starts_as_base(model, OLD_IDS)


@pytest.mark.parametrize("name", WITH_ADAPTERS)
def test_e1_small_adapters_change_logits_a_little(name: str) -> None:
    model = VARIANTS[name].toy(stirred=False).model
    before = logits(model)
    with torch.no_grad():
        for index, (key, weight) in enumerate(closed(model).items()):
            if not key.endswith("bias"):
                weight += 1e-3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(index))
    difference = float((logits(model) - before).abs().max())
    # W_up is multiplied by a W_down that is small too; a factor or a gate is not.
    bound = 1e-3 if VARIANTS[name].kind in ("houlsby", "lora") else 1e-2
    assert 0 < difference < bound * float(before.abs().max())


@pytest.mark.parametrize("network", ["tiny", "gpt2"])
def test_e1_a_near_zero_start_is_the_base_to_a_thousandth_and_learns_everywhere_at_once(network: str) -> None:
    toy = Variant(network, init="near-zero").toy(stirred=False)
    bare = Variant(network, kind="none").toy(stirred=False).model
    wanted = logits(bare)
    assert 0 < float((logits(toy.model) - wanted).abs().max()) < 1e-3 * float(wanted.abs().max())
    largest = {n: float(p.detach().abs().max()) for n, p in toy.model.adapters.named_parameters()}
    assert all(0 < value <= 2e-3 if n.endswith("weight") else value == 0 for n, value in largest.items())
    check_starts_as_base(toy.model, OLD_IDS)
    toy.model.loss(toy.batch(SUPPORT)).total.backward()
    assert all(value > 0 for value in gradients(toy.model).values())


def test_e1_a_near_zero_start_beyond_a_thousandth_is_refused() -> None:
    model = Variant(init="near-zero").toy(stirred=False).model
    with torch.no_grad():
        model.adapters["3"]["feed_forward"].up.bias += NEAR * 10  # type: ignore[index, operator, union-attr]  # untyped by ModuleDict
    with pytest.raises(MismatchError, match=r"with fresh houlsby adapters the logits differ .* at most"):
        check_starts_as_base(model, OLD_IDS)


def test_e1_a_base_that_changes_its_logits_afterwards_is_refused() -> None:
    model = VARIANTS["in-place"].toy(stirred=False).model
    check_starts_as_base(model, OLD_IDS)
    model.network.lm_head.register_forward_hook(lambda part, inputs, output: output)
    check_starts_as_base(model, OLD_IDS)
    model.network.register_forward_hook(lambda part, inputs, output: output | {"logits": output.logits * 0.99})
    with pytest.raises(MismatchError, match="differ from the base's own"):
        check_starts_as_base(model, OLD_IDS)


@pytest.mark.parametrize("name", WITH_ADAPTERS)
@pytest.mark.parametrize("value", [1e-3, float("nan")])
def test_e1_the_check_refuses_an_adapter_that_adds_something(name: str, value: float) -> None:
    model = VARIANTS[name].toy(stirred=False).model
    with torch.no_grad():
        list(closed(model).values())[-1].fill_(value)
    with pytest.raises(MismatchError, match="logits differ"):
        check_starts_as_base(model, OLD_IDS)


def test_e1_the_check_leaves_the_adapters_at_work() -> None:
    model = VARIANTS["houlsby"].toy(stirred=False).model
    check_starts_as_base(model, OLD_IDS)
    before = logits(model)
    stir(model)
    assert not torch.equal(logits(model), before)


@pytest.mark.parametrize("name", WITH_ADAPTERS)
def test_e1_bare_weights_make_trained_adapters_the_base_again(name: str) -> None:
    model = VARIANTS[name].toy(stirred=False).model
    before = logits(model)
    with torch.no_grad():
        for parameter in model.adapters.parameters():
            parameter += 0.1
    assert not torch.equal(logits(model), before)
    model.load_state_dict(model.neutral_weights(), strict=False)
    assert torch.equal(logits(model), before)


# E2


def test_e2_adapters_that_are_all_zero_learn_by_their_bias_alone_and_are_refused() -> None:
    toy = VARIANTS["houlsby"].toy(stirred=False)
    check_can_learn(toy.model)
    for parameter in toy.model.adapters.parameters():
        nn.init.zeros_(parameter)
    toy.model.loss(toy.batch(SUPPORT)).total.backward()
    moved = {name for name, value in gradients(toy.model).items() if value > 0}
    assert moved
    assert all(name.endswith("up.bias") for name in moved)
    with pytest.raises(DataError, match="are zero, so only a bias"):
        check_can_learn(toy.model)


@pytest.mark.parametrize("name", ["lora", "gpt2-lora", "prompt"])
def test_e2_other_adapters_that_are_all_zero_learn_nothing_and_are_refused(name: str) -> None:
    toy = VARIANTS[name].toy(stirred=False)
    check_can_learn(toy.model)
    for parameter in toy.model.adapters.parameters():
        nn.init.zeros_(parameter)
    toy.model.loss(toy.batch(SUPPORT)).total.backward()
    assert set(gradients(toy.model).values()) == {0.0}
    with pytest.raises(DataError, match="are zero"):
        check_can_learn(toy.model)


@pytest.mark.parametrize("name", ["ia3", "gpt2-ia3"])
def test_e2_factors_learn_from_wherever_they_are(name: str) -> None:
    toy = VARIANTS[name].toy(stirred=False)
    for value in (1.0, 0.0):
        toy.model.zero_grad()
        for parameter in toy.model.adapters.parameters():
            nn.init.constant_(parameter, value)
        toy.model.loss(toy.batch(SUPPORT)).total.backward()
        moved = [number > 0 for number in gradients(toy.model).values()]
        assert all(moved) if value else any(moved)
        check_can_learn(toy.model)


@pytest.mark.parametrize(
    "name", ["houlsby", "houlsby-upper", "lora", "prompt", "gpt2-houlsby", "gpt2-lora", "gpt2-prompt"]
)
def test_e2_what_stands_behind_a_closed_gate_moves_from_the_second_step_on(name: str) -> None:
    toy = VARIANTS[name].toy(stirred=False)
    gates = set(closed(toy.model))
    outer = torch.optim.SGD(toy.model.adapters.parameters(), lr=0.1)
    for step in (1, 2):
        outer.zero_grad()
        toy.model.loss(toy.batch(SUPPORT)).total.backward()
        largest = gradients(toy.model)
        assert gates < largest.keys()
        assert all(largest[n] > 0 for n in gates)
        behind = [n for n in largest if n not in gates]
        assert all((largest[n] > 0) == (step == 2) for n in behind)
        outer.step()


# E3

E3_NAMES = ["houlsby", "lora-upper", "special", "in-place", "train-base", "gpt2-houlsby", "ia3", "prompt-upper"]


@pytest.mark.parametrize("order", ["first", "exact"])
@pytest.mark.parametrize("name", E3_NAMES)
def test_e3_ten_outer_steps_move_the_base_only_where_it_trains(name: str, order: str) -> None:
    toy = VARIANTS[name].toy(stirred=False)
    model, variant = toy.model, VARIANTS[name]
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    method = Maml(InnerLoop(lr=0.01, batch_size=2), order=order)  # type: ignore[arg-type]
    base = content_sha256(model.network.state_dict())
    added = {n: p.detach().clone() for n, p in model.named_parameters() if not n.startswith("network.")}
    outer = torch.optim.Adam(list(adaptable_parameters(model).values()), lr=1e-2)
    losses = []
    for _ in range(10):
        outer.zero_grad()
        loss = method.objective(model, episode)
        loss.total.backward()
        outer.step()
        losses.append(loss.total.item())
    assert losses[-1] < losses[0]
    assert (content_sha256(model.network.state_dict()) == base) == (variant.kind != "none" and not variant.train_base)
    unmoved = [n for n, p in model.named_parameters() if n in added and torch.equal(p, added[n])]
    assert not unmoved
    assert bool(added) == (variant.kind != "none")


# E4


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_e4_exactly_the_reply_and_its_end_carry_loss(layout: ChatFormatName) -> None:
    toy = replace(VARIANTS["houlsby"], layout=layout).toy()
    dialogue = part("d", "good day", "hello there", "and how is the goat?", "asleep", facts=FACTS)
    batch = toy.batch([dialogue])
    labels = batch.packed.labels
    replies = [toy.encoder.reply_ids(text) for text in ("hello there", "asleep")]
    assert labels.token.tolist() == [token for reply in replies for token in reply]
    assert batch.reply_lengths.tolist() == [len(reply) for reply in replies]
    assert len(batch.packed.ids) == 1, "the replies of one dialogue are read in one row"
    assert torch.equal(batch.packed.ids[labels.row, labels.position], labels.token)
    for index, exchange in enumerate(batch.exchanges):
        positions = labels.position[labels.exchange == index].tolist()
        assert positions == list(range(len(exchange.prefix), len(exchange.ids))), "the prefix carries no loss"


# E5


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_e5_cutting_keeps_the_facts_and_the_whole_reply(layout: ChatFormatName) -> None:
    tokenizer = byte_tokenizer()
    if layout == "special":
        tokenizer = tokenizer.adding(SPECIAL_TOKENS)
    long, short = (Encoder(tokenizer, CHAT_FORMATS[layout](tokenizer), limit) for limit in (4096, 200))
    lines = [f"line {index} of a long talk about clocks" for index in range(40)]
    exchange = list(part("d", *lines, facts=FACTS).exchanges())[-1]
    whole, cut = long.exchange(exchange), short.exchange(exchange)
    assert (cut.facts, cut.reply) == (whole.facts, whole.reply)
    assert len(cut.ids) <= 200 < len(whole.ids)
    assert cut.context == whole.context[-len(cut.context) :], "what is kept is the end"
    assert short.cut["turns"] > 0
    assert long.cut["turns"] == 0


def test_e5_a_last_turn_too_long_is_cut_from_the_left() -> None:
    tokenizer = byte_tokenizer()
    encoder = Encoder(tokenizer, CHAT_FORMATS["chat"](tokenizer), 100)
    spoken = list(part("d", "x" * 300 + "the very end", "a reply", facts=FACTS).exchanges())[0]
    cut = encoder.exchange(Exchange(spoken.dialogue_id, spoken.context, spoken.reply, spoken.facts))
    assert len(cut.ids) == 100
    assert tokenizer.decode(cut.reply) == "a reply"
    assert tokenizer.decode(cut.context).endswith("the very end\nassistant\n")
    assert encoder.cut["tokens"] > 200


# E6


def test_e6_the_nucleus_keeps_the_token_that_crosses_p() -> None:
    log_probs = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64).log()
    count = 38_000
    # Uniform numbers evenly spread turn shares of draws into probabilities.
    uniform = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    drawn = Nucleus(0.92).choose(log_probs.expand(count, -1), uniform)
    shares = [float((drawn == token).double().mean()) for token in range(4)]
    assert shares == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0.0], abs=1e-4)
    assert set(Nucleus(1e-9).choose(log_probs.expand(count, -1), uniform).tolist()) == {0}
    full = Nucleus(1.0).choose(log_probs.expand(count, -1), uniform)
    assert [float((full == token).double().mean()) for token in range(4)] == pytest.approx(
        [0.5, 0.3, 0.15, 0.05], abs=1e-4
    )
