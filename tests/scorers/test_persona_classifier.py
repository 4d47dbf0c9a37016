"""A classifier of personas learns from their replies, each persona weighing the same, and ranks who wrote another."""

import pytest
import torch
from small_scorers import encoder

from menura.errors import EpisodeError
from menura.scorers.persona_classifier import PENALTY, PersonaClassifier, _embedded

REPLIES = {
    "ann": ("tea", "tea please", "rain and tea", "more tea"),
    "bo": ("we row", "row under the moon"),
    "cy": (),
}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> PersonaClassifier:
    return PersonaClassifier.trained(REPLIES, str(encoder(tmp_path_factory.mktemp("scorers") / "encoder")))


def test_it_knows_what_it_learnt_and_nobody_without_replies(classifier: PersonaClassifier) -> None:
    assert classifier.personas == ("ann", "bo")
    assert classifier.replies == 6
    assert classifier.ranks(["tea please", "we row", "tea"], ["ann", "bo", "cy"]) == [0, 0, None]
    assert classifier.ranks(["tea please"], ["bo"]) == [1]


def test_its_log_probabilities_are_normalised_and_do_not_depend_on_the_batch(classifier: PersonaClassifier) -> None:
    texts = ["tea", "row under the moon", "rain"]
    together = classifier.log_probs(texts)
    assert torch.allclose(together.exp().sum(-1), torch.ones(3))
    apart = torch.cat([classifier.log_probs([text]) for text in texts])
    assert torch.allclose(together, apart, atol=1e-5)


def test_it_is_at_the_minimum_of_its_loss(classifier: PersonaClassifier) -> None:
    """The gradient of the convex objective, by autograd over the definition, is zero at what was found."""
    weight, bias = classifier.weight.clone().requires_grad_(), classifier.bias.clone().requires_grad_()
    loss = PENALTY * weight.square().sum()
    for label, persona in enumerate(classifier.personas):
        states = _embedded(classifier.network, classifier.tokenizer, REPLIES[persona])
        loss = loss - (states @ weight + bias).log_softmax(-1)[:, label].mean() / len(classifier.personas)
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.abs().max() < 1e-3


def test_one_persona_cannot_be_told_from_others() -> None:
    with pytest.raises(EpisodeError, match="fewer than two personas"):
        PersonaClassifier.trained({"ann": ("tea",), "bo": ()})
