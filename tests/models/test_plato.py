from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Voice, assert_same_bits, part, snapshot, stir
from small_plato import END, EXCHANGES, LATENTS, OPENS, PIECES, WAYS, bert, nats, plato, said

from menura.adaptation.descent import Descent
from menura.adaptation.maml import Maml
from menura.adaptation.plain import Finetune
from menura.adaptation.weights import PersonaWeights, adapting, holding, loss_with
from menura.artefacts.loaded import load_model
from menura.batches.encode import EncodedEpisode
from menura.decoding.choice import Greedy
from menura.decoding.generate import generate
from menura.errors import ConfigError
from menura.models.dialogue_model import (
    ChoosesReplies,
    DropsOut,
    HasLatents,
    LearnsFromRivals,
    Loss,
    RanksReplies,
)
from menura.models.parts.transformer import Sizes
from menura.models.plato import Plato
from menura.models.plato_settings import PlatoConfig

RIVALLED = tuple(replace(e, rivals=(EXCHANGES[place - 1],)) for place, e in enumerate(EXCHANGES))


def lowered(model: Plato, exchanges: tuple = RIVALLED, seed: int = 3, progress: float = 1.0) -> Loss:
    with model.dropping(seed, progress):
        return model.loss(model.batch(exchanges))


def test_it_can_do_what_a_model_with_latents_can() -> None:
    model = plato()
    for ability in (ChoosesReplies, DropsOut, HasLatents, LearnsFromRivals, RanksReplies):
        assert isinstance(model, ability)
    assert model.chooses
    assert not plato(latents=0).chooses
    assert not plato(selection_weight=0.0).chooses


# Settings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"context": "uni"}, "context: uni, but the latent stands at position 0.*latents=0"),
        ({"context": "block_bi", "visibility": "prefix"}, "block_bi keeps what was read.*visibility=response_only"),
        ({"context": "block_bi", "preset": "release"}, "block_bi keeps what was read"),
        ({"init": "base", "width": 8}, "weights fit its own sizes only.*init=random"),
        ({"init": "base", "layers": 1}, "weights fit its own sizes only"),
        ({"limit": 31}, "limit: 31, must be at least 32"),
        ({"roles": 1}, "roles: 1, must be at least 2"),
        ({"turns": 1}, "turns: 1, must be at least 2"),
        ({"utterance": 0}, "utterance: 0, must be at least 1"),
        ({"reply": 0}, "reply: 0, must be at least 1"),
        ({"facts": 0}, "facts: 0, must be at least 1"),
        ({"fact_tokens": -1}, "fact_tokens: -1, must be at least 0"),
        ({"wrong_replies": 0}, "wrong_replies: 0, must be at least 1"),
        ({"latents": -1}, "latents: -1, must be at least 0"),
        ({"adapter_size": -1}, "adapter_size: -1, must be at least 0"),
        ({"considered": -1}, "considered: -1, must be at least 0"),
        ({"vocabulary": -5}, "vocabulary: -5, must be at least 0"),
        ({"dropout": 1.0}, "dropout: 1.0, must be at least 0 and below 1"),
        ({"smoothing": -0.1}, "smoothing: -0.1, must be at least 0 and below 1"),
        ({"selection_weight": -1.0}, "selection_weight: -1.0, must not be negative"),
        ({"bag_weight": -1.0}, "bag_weight: -1.0, must not be negative"),
        ({"usage": -1.0}, "usage: -1.0, must not be negative"),
        ({"temperature": 0.0}, "temperature: 0, must be above 0"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        PlatoConfig(**settings)


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="a width of 10 cannot be shared by 4 heads"):
        Sizes(97, width=10, heads=4)


def test_what_is_set_stands_above_the_preset() -> None:
    release = PlatoConfig(preset="release").rules
    assert (release.visibility, release.temperature, release.fact_tokens, release.biases) == ("prefix", 0.67, 16, False)
    given = PlatoConfig(preset="release", visibility="response_only", temperature=0.9, fact_tokens=5).rules
    assert (given.visibility, given.temperature, given.fact_tokens) == ("response_only", 0.9, 5)
    assert replace(given, visibility="prefix", temperature=0.67, fact_tokens=16) == release
    assert PlatoConfig(context="block_bi").rules.numbering == "from_start"


def test_what_is_over_the_caps_is_cut_and_counted(tmp_path: Path) -> None:
    bert(tmp_path)
    config = PlatoConfig(base=str(tmp_path), utterance=4, reply=3, turns=3, facts=2, fact_tokens=2)
    encoder = load_model(config).encoder
    talk = part("d", "tea", "hi", "a b c d e f", "i like", "a b c", "a b c d e", facts=("i like tea", "a", "b"))
    exchange = encoder.exchange(list(talk.exchanges())[-1])

    def said_by(ids: tuple[int, ...]) -> str:
        return encoder.tokens.decode([token for token in ids if not PIECES[token].startswith("[unused")])

    assert said_by(exchange.context) == "i like a b c"
    assert said_by(exchange.facts) == "i like a"
    assert said_by(exchange.reply) == "a b c"
    assert dict(encoder.cut) == {"turns": 3, "facts": 1, "fact tokens": 1, "reply tokens": 2}
    assert encoder.cut_text == "1 fact tokens, 1 facts, 2 reply tokens, 3 turns"
    middle = encoder.exchange(list(talk.exchanges())[1])
    assert said_by(middle.context) == "hi c d e f"
    assert encoder.cut["utterance tokens"] == 2


# Training


def test_the_same_seed_leaves_out_the_same_and_no_other_stream_is_touched() -> None:
    model = plato(dropout=0.3)
    before = snapshot(model)
    nats_of = [lowered(model, seed=seed).nats.detach() for seed in (3, 3, 4)]
    assert torch.equal(nats_of[0], nats_of[1])
    assert not torch.equal(nats_of[0], nats_of[2])
    assert_same_bits(model, before, "a training pass")
    assert not model.training
    assert torch.equal(model.loss(model.batch(EXCHANGES)).nats, model.loss(model.batch(EXCHANGES)).nats)


@pytest.mark.parametrize("way", WAYS)
def test_units_are_left_out_in_training_alone(way: str) -> None:
    full, thinned = (plato(dropout=share, sampling="argmax", **WAYS[way]) for share in (0.0, 0.3))
    batch = full.batch(RIVALLED)
    assert torch.equal(full.loss(batch).nats, thinned.loss(batch).nats)
    assert (lowered(full).nats - lowered(thinned).nats).abs().min() > 1e-3


@pytest.mark.parametrize("preset", ["fixed", "release", "paper"])
def test_the_gradient_reaches_all_that_learns(preset: str) -> None:
    model = plato(preset=preset, negatives="corpus", adapter_size=3)
    rows = tuple(replace(e, facts=e.facts or (44, END)) for e in RIVALLED)
    lowered(model, rows).total.backward()
    reached = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    assert reached == {name for name, _ in model.named_parameters()}


def test_without_latent_there_is_nothing_beside_the_network() -> None:
    model = plato(latents=0)
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"embeddings", "body"}
    assert model.rivals == 0
    loss = lowered(model)
    assert not loss.parts
    assert torch.equal(loss.nats, model.loss(model.batch(EXCHANGES)).nats)


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
    told = learned.latent_nats(learned.batch(EXCHANGES))
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
        float(lowered(plato(**about)).total.detach()) for about in ({}, {"entropy": 0.3}, {"usage": 0.3})
    )
    model = plato()
    posterior = model.latent_nats(model.batch(EXCHANGES)).log_posterior.detach()
    certain = -(posterior.exp() * posterior).sum(1).mean()
    mean = posterior.exp().mean(0)
    assert plain - entropy == pytest.approx(0.3 * float(certain), rel=1e-9)
    assert plain - usage == pytest.approx(0.3 * float(-(mean * mean.log()).sum() - certain), rel=1e-9)
    assert float(lowered(model).parts["information"]) == pytest.approx((plain - usage) / 0.3, rel=1e-9)


def test_labels_are_smoothed_in_training_alone() -> None:
    plain, smooth = plato(sampling="argmax"), plato(sampling="argmax", smoothing=0.2)
    batch = plain.batch(EXCHANGES)
    assert torch.equal(plain.loss(batch).nats, smooth.loss(batch).nats)
    assert (lowered(plain).nats - lowered(smooth).nats).abs().min() > 1e-3


def test_enumerating_expects_over_what_recognition_says() -> None:
    model = plato(sampling="enumerate")
    told = model.latent_nats(model.batch(EXCHANGES))
    wanted = (told.log_posterior.exp() * told.nats).sum(1)
    torch.testing.assert_close(lowered(model).nats, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("how", ["argmax", "sample", "gumbel_st"])
def test_a_reply_is_taught_under_one_latent(how: str) -> None:
    model = plato(sampling=how)
    found = lowered(model).nats.detach()
    told = model.latent_nats(model.batch(EXCHANGES)).nats.detach()
    assert (found[:, None] - told).abs().min(-1).values.max() < 1e-9


# Latents, all of them


def test_learning_by_the_mixture_may_go_through_the_likeliest_latents_alone() -> None:
    model = plato(considered=2)
    batch = model.batch(EXCHANGES)
    told = model.latent_nats(batch)
    chosen = told.log_posterior.topk(2).indices
    wanted = -(told.log_prior - told.nats).gather(1, chosen).logsumexp(-1)
    torch.testing.assert_close(model.loss(batch).nats, wanted, rtol=1e-10, atol=1e-10)
    assert (model.loss(batch).nats >= told.mixture).all()
    with torch.no_grad():
        torch.testing.assert_close(model.loss(batch).nats, told.mixture, rtol=1e-10, atol=1e-10)
    for considered in (0, LATENTS, LATENTS + 3):
        torch.testing.assert_close(plato(considered=considered).loss(batch).nats, told.mixture, rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("way", ["prefix", "response_only"])
def test_what_a_latent_gives_a_reply_can_be_asked_alone(way: str) -> None:
    model = plato(**WAYS[way])
    batch = model.batch(EXCHANGES)
    told = model.latent_nats(batch)
    chosen = [4, 0, 2, 4]
    found = model.nats_under(batch, chosen)
    torch.testing.assert_close(found, told.nats[torch.arange(4), torch.tensor(chosen)], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.latent_prior(batch), told.log_prior, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(told.log_prior.exp().sum(-1), torch.ones(4).double())


@pytest.mark.parametrize("way", WAYS)
def test_replies_to_a_context_that_was_read_cost_what_they_cost_afresh(way: str) -> None:
    model = plato(**WAYS[way])
    replies = [replace(EXCHANGES[0], reply=reply) for reply in ((20, END), (21, 22, 23, END), (END,))]
    with torch.no_grad():
        begun = model.begin(model.batch(EXCHANGES[:1]))
        wanted = model.loss(model.batch(replies)).nats
    torch.testing.assert_close(model.reply_nats(model.batch(replies), begun), wanted, rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_a_first_word_can_be_said_without_facts_and_without_context(way: str) -> None:
    model = plato(**WAYS[way])
    bare = replace(said((9,), reply=(20, 21)), context=(OPENS,), turns=())
    rows = [bare, EXCHANGES[0], bare]
    for some in (rows, rows[:1]):
        found = model.loss(model.batch(some)).nats
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found[0], found[-1] if len(some) > 1 else found[0], rtol=1e-10, atol=1e-10)
    if model.latents:
        each = torch.stack([nats(model, bare, slot) for slot in model.latent])
        told = model.latent_nats(model.batch(rows[:1]))
        torch.testing.assert_close(told.nats[0], each, rtol=1e-10, atol=1e-10)
        assert torch.isfinite(model.reply_scores(model.batch(rows))).all()
    assert generate(model, model.batch([bare]), Greedy(), end=END, limit=4, seeds=[0])[0] is not None


# Adapting

PERSONAL = "latent,prior,adapters"
INNER = Descent(rate=0.05, epochs=4, batch=2)
METHODS = {
    "finetune": Finetune(INNER, PERSONAL),
    "maml, first order": Maml(INNER, adapts=PERSONAL),
    "maml, exact": Maml(INNER, order="exact", adapts=PERSONAL),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
every_place = pytest.mark.parametrize("variant", ["plato", "plato-release", "plato-by-blocks"])


def voice_of(variant: str, *, double: bool = False) -> Voice:
    settings = {**VARIANTS[variant].settings, "adapter_size": 3, "prior": "learned"}
    return replace(VARIANTS[variant], settings=settings).voice(double=double)


def episode_of(voice: Voice) -> EncodedEpisode:
    return EncodedEpisode("mira", voice.dialogues(SUPPORT), voice.dialogues(QUERY))


@every_method
@every_place
def test_adapting_a_part_lowers_support_loss_and_leaves_the_model_as_it_was(
    method: Finetune | Maml, variant: str
) -> None:
    voice = voice_of(variant)
    before, support = snapshot(voice.model), voice.batch(SUPPORT)
    weights = method.adapt(voice.model, voice.dialogues(SUPPORT))
    assert_same_bits(voice.model, before, "adapting")
    assert weights.keys() == adapting(voice.model, PERSONAL).keys()
    assert {name.partition(".")[0] for name in weights} == {"latent", "prior", "body"}
    with torch.no_grad():
        unadapted, adapted = (loss_with(voice.model, w, support) for w in ({}, weights))
        assert float(adapted.total) < float(unadapted.total) - 0.01
        with holding(voice.model, weights):
            assert torch.equal(voice.model.loss(support).nats, adapted.nats)
    assert_same_bits(voice.model, before, "holding")


@every_method
def test_the_objective_reaches_all_that_trains(method: Finetune | Maml) -> None:
    voice = voice_of("plato")
    before = snapshot(voice.model)
    total = method.objective(voice.model, episode_of(voice)).total
    assert_same_bits(voice.model, before, "an objective")
    total.backward()
    reached = {name for name, value in voice.model.named_parameters() if value.grad is not None and value.grad.any()}
    assert {"latent", "prior.out.weight", "body.blocks.0.qkv.weight", "embeddings.token.weight"} <= reached


def test_the_exact_meta_gradient_is_the_central_difference() -> None:
    voice = voice_of("plato", double=True)
    method, episode = METHODS["maml, exact"], episode_of(voice)
    method.objective(voice.model, episode).total.backward()
    parameters = dict(voice.model.named_parameters())
    for name, place in (("latent", (0, 3)), ("body.blocks.1.qkv.weight", (5, 4))):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameters[name][place] += sign * 1e-5
            ends.append(float(method.objective(voice.model, episode).total.detach()))
            with torch.no_grad():
                parameters[name][place] -= sign * 1e-5
        slope = parameters[name].grad
        assert slope is not None
        assert float(slope[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-9)


def test_an_empty_support_set_leaves_the_base() -> None:
    voice = voice_of("plato")
    weights: PersonaWeights = METHODS["finetune"].adapt(voice.model, ())
    parameters = dict(voice.model.named_parameters())
    assert all(torch.equal(weight, parameters[name]) for name, weight in weights.items())


# Starting


def test_a_run_of_one_setting_starts_another_and_adapters_begin_as_nothing(tmp_path: Path) -> None:
    from menura.artefacts import tensors  # noqa: PLC0415

    bert(tmp_path / "bert")
    config = PlatoConfig(base=str(tmp_path / "bert"), latents=3)
    first = load_model(config).model
    stir(first)
    tensors.save(tmp_path / "best.safetensors", dict(first.named_parameters()), {})
    for size in (0, 4):
        loaded = load_model(replace(config, adapter_size=size, start=str(tmp_path / "best.safetensors")), seed=9)
        (exchange,) = loaded.encoder.dialogue(part("d", "hi", "i like tea"), "mira")
        found, wanted = (float(model.loss(model.batch([exchange])).nats.detach()) for model in (loaded.model, first))
        assert found == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(Exception, match="start"):
        load_model(replace(config, latents=4, start=str(tmp_path / "best.safetensors")))
