from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy, assert_same_bits, part, snapshot, stir
from small_plato import END, EXCHANGES, LATENTS, OPENS, PIECES, WAYS, bert, nll, plato, said

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.adaptation.weights import PersonaWeights, loss_with, selected_parameters, swapped_weights
from menura.artefacts.loading import LoadOptions
from menura.batches.encode import EncodedEpisode
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError
from menura.models.dialogue_model import (
    ChoosesReplies,
    HasDropout,
    HasLatents,
    HasNegatives,
    Loss,
    RanksReplies,
)
from menura.models.layers.transformer import Sizes
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato
from menura.registry import load_model

RIVALLED = tuple(replace(e, negatives=(EXCHANGES[place - 1],)) for place, e in enumerate(EXCHANGES))


def lowered(model: Plato, exchanges: tuple = RIVALLED, seed: int = 3, progress: float = 1.0) -> Loss:
    with model.dropout(seed, progress):
        return model.loss(model.batch(exchanges))


def test_it_can_do_what_a_model_with_latents_can() -> None:
    model = plato()
    for ability in (ChoosesReplies, HasDropout, HasLatents, HasNegatives, RanksReplies):
        assert isinstance(model, ability)
    assert model.chooses
    assert not plato(num_latents=0).chooses
    assert not plato(selection_weight=0.0).chooses


# Settings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"context": "uni"}, "context: uni, but the latent stands at position 0.*latents=0"),
        ({"context": "block_bi", "visibility": "prefix"}, "block_bi keeps what was read.*visibility=response_only"),
        ({"context": "block_bi", "preset": "release"}, "block_bi keeps what was read"),
        ({"init": "base", "hidden_size": 8}, "weights fit its own sizes only.*init=random"),
        ({"max_length": 31}, "max_length: 31, must be at least 32"),
        ({"num_roles": 1}, "num_roles: 1, must be at least 2"),
        ({"max_turns": 1}, "max_turns: 1, must be at least 2"),
        ({"max_utterance_tokens": 0}, "max_utterance_tokens: 0, must be at least 1"),
        ({"max_reply_tokens": 0}, "max_reply_tokens: 0, must be at least 1"),
        ({"max_facts": 0}, "max_facts: 0, must be at least 1"),
        ({"max_fact_tokens": -1}, "max_fact_tokens: -1, must be at least 0"),
        ({"num_negatives": 0}, "num_negatives: 0, must be at least 1"),
        ({"num_latents": -1}, "num_latents: -1, must be at least 0"),
        ({"adapter_bottleneck": -1}, "adapter_bottleneck: -1, must be at least 0"),
        ({"top_latents": -1}, "top_latents: -1, must be at least 0"),
        ({"vocab_size": -5}, "vocab_size: -5, must be at least 0"),
        ({"dropout": 1.0}, "dropout: 1.0, must be at least 0 and below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing: -0.1, must be at least 0 and below 1"),
        ({"selection_weight": -1.0}, "selection_weight: -1.0, must not be negative"),
        ({"bow_weight": -1.0}, "bow_weight: -1.0, must not be negative"),
        ({"mutual_info_weight": -1.0}, "mutual_info_weight: -1.0, must not be negative"),
        ({"temperature": 0.0}, "temperature: 0, must be above 0"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        PlatoConfig(**settings)


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="a width of 10 cannot be shared by 4 heads"):
        Sizes(97, hidden_size=10, num_heads=4)


def test_what_is_set_stands_above_the_preset() -> None:
    release = PlatoConfig(preset="release").rules
    assert (release.visibility, release.temperature, release.max_fact_tokens, release.biases) == (
        "prefix",
        0.67,
        16,
        False,
    )
    given = PlatoConfig(preset="release", visibility="response_only", temperature=0.9, max_fact_tokens=5).rules
    assert (given.visibility, given.temperature, given.max_fact_tokens) == ("response_only", 0.9, 5)
    assert replace(given, visibility="prefix", temperature=0.67, max_fact_tokens=16) == release
    assert PlatoConfig(context="block_bi").rules.numbering == "from_start"


def test_what_is_over_the_caps_is_cut_and_counted(tmp_path: Path) -> None:
    bert(tmp_path)
    config = PlatoConfig(
        base=str(tmp_path), max_utterance_tokens=4, max_reply_tokens=3, max_turns=3, max_facts=2, max_fact_tokens=2
    )
    encoder = load_model(config).encoder
    talk = part("d", "tea", "hi", "a b c d e f", "i like", "a b c", "a b c d e", facts=("i like tea", "a", "b"))
    exchange = encoder.exchange(list(talk.exchanges())[-1])

    def turn_profiles(ids: tuple[int, ...]) -> str:
        return encoder.tokenizer.decode([token for token in ids if not PIECES[token].startswith("[unused")])

    assert turn_profiles(exchange.context) == "i like a b c"
    assert turn_profiles(exchange.facts) == "i like a"
    assert turn_profiles(exchange.reply) == "a b c"
    assert dict(encoder.cut) == {"turns": 3, "facts": 1, "fact tokens": 1, "reply tokens": 2}
    assert encoder.cut_text == "1 fact tokens, 1 facts, 2 reply tokens, 3 turns"
    middle = encoder.exchange(list(talk.exchanges())[1])
    assert turn_profiles(middle.context) == "hi c d e f"
    assert encoder.cut["utterance tokens"] == 2


# Training


def test_the_same_seed_leaves_out_the_same_and_no_other_stream_is_touched() -> None:
    model = plato(dropout=0.3)
    before = snapshot(model)
    nll_of = [lowered(model, seed=seed).nll.detach() for seed in (3, 3, 4)]
    assert torch.equal(nll_of[0], nll_of[1])
    assert not torch.equal(nll_of[0], nll_of[2])
    assert_same_bits(model, before, "a training pass")
    assert not model.training
    assert torch.equal(model.loss(model.batch(EXCHANGES)).nll, model.loss(model.batch(EXCHANGES)).nll)


@pytest.mark.parametrize("way", WAYS)
def test_units_are_left_out_in_training_alone(way: str) -> None:
    full, thinned = (plato(dropout=share, sampling="argmax", **WAYS[way]) for share in (0.0, 0.3))
    batch = full.batch(RIVALLED)
    assert torch.equal(full.loss(batch).nll, thinned.loss(batch).nll)
    assert (lowered(full).nll - lowered(thinned).nll).abs().min() > 1e-3


@pytest.mark.parametrize("preset", ["fixed", "release", "paper"])
def test_the_gradient_reaches_all_that_learns(preset: str) -> None:
    model = plato(preset=preset, negatives="corpus", adapter_bottleneck=3)
    rows = tuple(replace(e, facts=e.facts or (44, END)) for e in RIVALLED)
    lowered(model, rows).total.backward()
    reached = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    assert reached == {name for name, _ in model.named_parameters()}


def test_without_latent_there_is_nothing_beside_the_network() -> None:
    model = plato(num_latents=0)
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"embeddings", "body"}
    assert model.num_negatives == 0
    loss = lowered(model)
    assert not loss.parts
    assert torch.equal(loss.nll, model.loss(model.batch(EXCHANGES)).nll)


def test_the_temperature_falls_over_the_first_half_of_training() -> None:
    model = plato(sampling="gumbel_soft", prior="uniform")
    found = [float(lowered(model, progress=progress).total.detach()) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert len(set(found)) == 3
    assert found[2] == found[3]
    fixed = [plato(sampling="gumbel_soft", prior="uniform", preset="paper") for _ in range(2)]
    assert len({float(lowered(m, progress=p).total.detach()) for m, p in zip(fixed, (0.0, 1.0), strict=True)}) == 1


def test_the_prior_learns_what_recognition_says_and_moves_nothing_else() -> None:
    learned, uniform = plato(prior="learned"), plato(prior="uniform")
    uniform.load_state_dict({n: v for n, v in learned.state_dict().items() if not n.startswith("prior.")})
    for model in (learned, uniform):
        lowered(model).total.backward()
    slopes = dict(learned.named_parameters())
    for name, value in uniform.named_parameters():
        assert slopes[name].grad is not None
        torch.testing.assert_close(slopes[name].grad, value.grad, rtol=1e-9, atol=1e-12)
    told = learned.latent_nll(learned.batch(EXCHANGES))
    wanted = (told.log_posterior.exp() * (told.log_posterior - told.log_prior)).sum(1).mean()
    assert float(lowered(learned).parts["prior"]) == pytest.approx(float(wanted.detach()), rel=1e-10)


def test_the_prior_comes_to_say_what_recognition_says() -> None:
    model = plato(visibility="response_only")
    moving = [model.prior.asks, *model.prior.out.parameters()]  # type: ignore[union-attr]
    steps = torch.optim.Adam(moving, lr=0.05)
    first = float(lowered(model).parts["prior"])
    for _ in range(30):
        steps.zero_grad()
        lowered(model, EXCHANGES).total.backward(inputs=moving)
        steps.step()
    assert float(lowered(model).parts["prior"]) < 0.3 * first


def test_uncertainty_and_usage_are_rewarded_by_their_weights() -> None:
    plain, entropy, usage = (
        float(lowered(plato(**about)).total.detach())
        for about in ({}, {"entropy_weight": 0.3}, {"mutual_info_weight": 0.3})
    )
    model = plato()
    posterior = model.latent_nll(model.batch(EXCHANGES)).log_posterior.detach()
    certain = -(posterior.exp() * posterior).sum(1).mean()
    mean = posterior.exp().mean(0)
    assert plain - entropy == pytest.approx(0.3 * float(certain), rel=1e-9)
    assert plain - usage == pytest.approx(0.3 * float(-(mean * mean.log()).sum() - certain), rel=1e-9)
    assert float(lowered(model).parts["information"]) == pytest.approx((plain - usage) / 0.3, rel=1e-9)


def test_labels_are_smoothed_in_training_alone() -> None:
    plain, smooth = plato(sampling="argmax"), plato(sampling="argmax", label_smoothing=0.2)
    batch = plain.batch(EXCHANGES)
    assert torch.equal(plain.loss(batch).nll, smooth.loss(batch).nll)
    assert (lowered(plain).nll - lowered(smooth).nll).abs().min() > 1e-3


def test_enumerating_expects_over_what_recognition_says() -> None:
    model = plato(sampling="enumerate")
    told = model.latent_nll(model.batch(EXCHANGES))
    wanted = (told.log_posterior.exp() * told.nll).sum(1)
    torch.testing.assert_close(lowered(model).nll, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("how", ["argmax", "sample", "gumbel_st"])
def test_a_reply_is_taught_under_one_latent(how: str) -> None:
    model = plato(sampling=how)
    found = lowered(model).nll.detach()
    told = model.latent_nll(model.batch(EXCHANGES)).nll.detach()
    assert (found[:, None] - told).abs().min(-1).values.max() < 1e-9


# Latents, all of them


def test_learning_by_the_mixture_may_go_through_the_likeliest_latents_alone() -> None:
    model = plato(top_latents=2)
    batch = model.batch(EXCHANGES)
    told = model.latent_nll(batch)
    chosen = told.log_posterior.topk(2).indices
    wanted = -(told.log_prior - told.nll).gather(1, chosen).logsumexp(-1)
    torch.testing.assert_close(model.loss(batch).nll, wanted, rtol=1e-10, atol=1e-10)
    assert (model.loss(batch).nll >= told.mixture).all()
    with torch.no_grad():
        torch.testing.assert_close(model.loss(batch).nll, told.mixture, rtol=1e-10, atol=1e-10)
    for considered in (0, LATENTS, LATENTS + 3):
        torch.testing.assert_close(plato(top_latents=considered).loss(batch).nll, told.mixture, rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("way", ["prefix", "response_only"])
def test_what_a_latent_gives_a_reply_can_be_asked_alone(way: str) -> None:
    model = plato(**WAYS[way])
    batch = model.batch(EXCHANGES)
    told = model.latent_nll(batch)
    chosen = [4, 0, 2, 4]
    found = model.nll_under(batch, chosen)
    torch.testing.assert_close(found, told.nll[torch.arange(4), torch.tensor(chosen)], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.latent_prior(batch), told.log_prior, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(told.log_prior.exp().sum(-1), torch.ones(4).double())


@pytest.mark.parametrize("way", WAYS)
def test_replies_to_a_context_that_was_read_cost_what_they_cost_afresh(way: str) -> None:
    model = plato(**WAYS[way])
    replies = [replace(EXCHANGES[0], reply=reply) for reply in ((20, END), (21, 22, 23, END), (END,))]
    with torch.no_grad():
        begun = model.prefill(model.batch(EXCHANGES[:1]))
        wanted = model.loss(model.batch(replies)).nll
    torch.testing.assert_close(model.reply_nll(model.batch(replies), begun), wanted, rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_a_first_word_can_be_said_without_facts_and_without_context(way: str) -> None:
    model = plato(**WAYS[way])
    bare = replace(said((9,), reply=(20, 21)), context=(OPENS,), turns=())
    rows = [bare, EXCHANGES[0], bare]
    for some in (rows, rows[:1]):
        found = model.loss(model.batch(some)).nll
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found[0], found[-1] if len(some) > 1 else found[0], rtol=1e-10, atol=1e-10)
    if model.latents:
        each = torch.stack([nll(model, bare, slot) for slot in model.latent])
        told = model.latent_nll(model.batch(rows[:1]))
        torch.testing.assert_close(told.nll[0], each, rtol=1e-10, atol=1e-10)
        assert torch.isfinite(model.reply_scores(model.batch(rows))).all()
    assert generate(model, model.batch([bare]), Greedy(), end=END, max_new_tokens=4, seeds=[0])[0] is not None


# Adapting

PERSONAL = "latent,prior,adapters"
INNER = InnerLoop(lr=0.05, epochs=4, batch_size=2)
METHODS = {
    "finetune": Finetune(INNER, PERSONAL),
    "maml, first order": Maml(INNER, trainable=PERSONAL),
    "maml, exact": Maml(INNER, order="exact", trainable=PERSONAL),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
every_place = pytest.mark.parametrize("variant", ["plato", "plato-release", "plato-by-blocks"])


def lm_of(variant: str, *, double: bool = False) -> Toy:
    settings = {**VARIANTS[variant].settings, "adapter_bottleneck": 3, "prior": "learned"}
    return replace(VARIANTS[variant], settings=settings).toy(double=double)


def episode_of(toy: Toy) -> EncodedEpisode:
    return EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))


@every_method
@every_place
def test_adapting_a_part_lowers_support_loss_and_leaves_the_model_as_it_was(
    method: Finetune | Maml, variant: str
) -> None:
    toy = lm_of(variant)
    before, support = snapshot(toy.model), toy.batch(SUPPORT)
    weights = method.adapt(toy.model, toy.dialogues(SUPPORT))
    assert_same_bits(toy.model, before, "adapting")
    assert weights.keys() == selected_parameters(toy.model, PERSONAL).keys()
    assert {name.partition(".")[0] for name in weights} == {"latent", "prior", "body"}
    with torch.no_grad():
        unadapted, adapted = (loss_with(toy.model, w, support) for w in ({}, weights))
        assert float(adapted.total) < float(unadapted.total) - 0.01
        with swapped_weights(toy.model, weights):
            assert torch.equal(toy.model.loss(support).nll, adapted.nll)
    assert_same_bits(toy.model, before, "holding")


@every_method
def test_the_objective_reaches_all_that_trains(method: Finetune | Maml) -> None:
    toy = lm_of("plato")
    before = snapshot(toy.model)
    total = method.objective(toy.model, episode_of(toy)).total
    assert_same_bits(toy.model, before, "an objective")
    total.backward()
    reached = {name for name, value in toy.model.named_parameters() if value.grad is not None and value.grad.any()}
    assert {"latent", "prior.out.weight", "body.blocks.0.qkv.weight", "embeddings.token.weight"} <= reached


def test_the_exact_meta_gradient_is_the_central_difference() -> None:
    toy = lm_of("plato", double=True)
    method, episode = METHODS["maml, exact"], episode_of(toy)
    method.objective(toy.model, episode).total.backward()
    parameters = dict(toy.model.named_parameters())
    for name, place in (("latent", (0, 3)), ("body.blocks.1.qkv.weight", (5, 4))):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameters[name][place] += sign * 1e-5
            ends.append(float(method.objective(toy.model, episode).total.detach()))
            with torch.no_grad():
                parameters[name][place] -= sign * 1e-5
        slope = parameters[name].grad
        assert slope is not None
        assert float(slope[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-9)


def test_an_empty_support_set_leaves_the_base() -> None:
    toy = lm_of("plato")
    weights: PersonaWeights = METHODS["finetune"].adapt(toy.model, ())
    parameters = dict(toy.model.named_parameters())
    assert all(torch.equal(weight, parameters[name]) for name, weight in weights.items())


# Starting


def test_a_run_of_one_setting_starts_another_and_adapters_begin_as_nothing(tmp_path: Path) -> None:
    from menura.artefacts import tensors  # noqa: PLC0415

    bert(tmp_path / "bert")
    config = PlatoConfig(base=str(tmp_path / "bert"), num_latents=3)
    first = load_model(config).model
    stir(first)
    tensors.save(tmp_path / "best.safetensors", dict(first.named_parameters()), {})
    for size in (0, 4):
        loaded = load_model(
            replace(config, adapter_bottleneck=size, init_from=str(tmp_path / "best.safetensors")), LoadOptions(seed=9)
        )
        (exchange,) = loaded.encoder.dialogue(part("d", "hi", "i like tea"), "mira")
        found, wanted = (float(model.loss(model.batch([exchange])).nll.detach()) for model in (loaded.model, first))
        assert found == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(Exception, match="start"):
        load_model(replace(config, num_latents=4, init_from=str(tmp_path / "best.safetensors")))
