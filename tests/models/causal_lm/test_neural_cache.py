"""A person's own words are mixed into each distribution, by how like the state is to those they were said in."""

from dataclasses import replace

import pytest
import torch
from made_up import QUERY, SUPPORT, Variant, read_by_their_own_network

from menura.adaptation.own_words import cache_of
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError, EpisodeError
from menura.models.dialogue_model import caching
from menura.models.layers.neural_cache import NeuralCache

SHARP = 1e-3  # states of a network that learnt nothing are nearly alike


def test_the_mixture_is_that_of_grave_et_al_with_cosine() -> None:
    torch.manual_seed(3)
    states, keys, logits = torch.randn(5, 8), torch.randn(7, 8), torch.randn(5, 11)
    tokens = torch.tensor([1, 4, 4, 9, 1, 0, 10])
    cache = NeuralCache.of(keys, tokens).weighing(0.3)
    torch.testing.assert_close(cache.keys, torch.nn.functional.normalize(keys), rtol=1e-3, atol=1e-3)
    mixed = cache.mixed(logits, states).exp()
    for row in range(5):
        cosines = [float(states[row] @ key / states[row].norm()) for key in cache.keys]
        shares = (torch.tensor(cosines) / 0.02).softmax(0)
        wanted = 0.7 * logits[row].softmax(0)
        for share, token in zip(shares, tokens, strict=True):
            wanted[token] += 0.3 * share
        torch.testing.assert_close(mixed[row], wanted)
    torch.testing.assert_close(mixed.sum(1), torch.ones(5))


def test_logits_of_any_shape_are_mixed_alike() -> None:
    torch.manual_seed(3)
    states, cache = torch.randn(2, 3, 8), NeuralCache.of(torch.randn(4, 8), torch.tensor([0, 1, 2, 2]))
    logits = torch.randn(2, 3, 5)
    mixed = cache.mixed(logits, states)
    torch.testing.assert_close(mixed[1, 2], cache.mixed(logits[1, 2], states[1, 2]))


def test_what_the_person_said_becomes_likelier_and_nothing_stays_behind() -> None:
    toy = Variant().toy()
    support = toy.dialogues(SUPPORT)
    own, other = toy.batch(SUPPORT), toy.batch(QUERY)
    before = toy.model.loss(own).nll
    cache = replace(cache_of(toy.model, {}, support), weight=0.5, temperature=SHARP)
    with caching(toy.model, cache):
        with_cache = toy.model.loss(own).nll
        elsewhere = toy.model.loss(other).nll
    assert (with_cache < before).all()
    assert not torch.equal(elsewhere, toy.model.loss(other).nll)
    assert torch.equal(toy.model.loss(own).nll, before)


@pytest.mark.parametrize("network", ["tiny", "gpt2"])
def test_loss_and_step_by_step_decoding_mix_alike(network: str) -> None:
    toy = Variant(network).toy(double=True)
    cache = cache_of(toy.model, {}, toy.dialogues(SUPPORT)).weighing(0.3)
    batch = toy.batch(QUERY)
    with torch.no_grad(), caching(toy.model, cache):
        whole = toy.model.loss(batch).nll
        torch.testing.assert_close(toy.model.reply_nll(batch), whole, rtol=1e-6, atol=1e-6)
        for row, exchange in enumerate(batch.exchanges):
            log_probs, state = toy.model.step(
                toy.model.prefill(toy.model.batch([exchange])), torch.tensor([exchange.prefix[-1]])
            )
            nll = 0.0
            for token in exchange.reply:
                nll -= float(log_probs[0, token])
                log_probs, state = toy.model.step(state, torch.tensor([token]))
            assert nll == pytest.approx(float(whole[row]), rel=1e-6)


def test_a_networks_own_forward_pass_mixes_alike() -> None:
    toy = Variant().toy()
    support, batch = toy.dialogues(SUPPORT), toy.batch(QUERY)
    cache = cache_of(toy.model, {}, support)
    with caching(toy.model, cache):
        fast = toy.model.loss(batch).nll
    with read_by_their_own_network():
        toy = Variant().toy()
        cache = cache_of(toy.model, {}, support)
        with caching(toy.model, cache):
            torch.testing.assert_close(toy.model.loss(batch).nll, fast, rtol=1e-4, atol=1e-4)


def test_a_cache_that_weighs_nearly_everything_repeats_the_person() -> None:
    toy = Variant().toy()
    support = toy.dialogues(SUPPORT)
    first = support[0][0]
    with caching(toy.model, replace(cache_of(toy.model, {}, support), weight=0.999, temperature=SHARP)):
        prompt = toy.model.batch([first])
        (said,) = generate(toy.model, prompt, Greedy(), end=(toy.end,), max_new_tokens=200, seeds=[0])
    assert tuple(said) == first.reply[:-1]


def test_weights_of_a_persona_make_the_keys() -> None:
    toy = Variant().toy()
    weights = {name: value + 0.1 for name, value in toy.model.named_parameters() if value.requires_grad}
    own, bare = (cache_of(toy.model, given, toy.dialogues(SUPPORT)) for given in (weights, {}))
    assert torch.equal(own.tokens, bare.tokens)
    assert not torch.allclose(own.keys, bare.keys)
    torch.testing.assert_close(own.keys.norm(dim=1), torch.ones(len(own.tokens)), rtol=1e-3, atol=1e-3)


def test_what_takes_no_cache_says_so() -> None:
    with pytest.raises(ConfigError, match="takes no cache"):
        cache_of(Variant(model="seq2seq").toy().model, {}, ())
    with pytest.raises(EpisodeError, match="at least one reply"):
        cache_of(Variant().toy().model, {}, ())
    for weight in (0.0, 1.0, -0.1):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            NeuralCache(torch.ones(1, 2), torch.zeros(1, dtype=torch.long), weight)
