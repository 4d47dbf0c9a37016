from dataclasses import replace
from typing import Any

import pytest
import torch
from small_plato import EXCHANGES, LATENTS, alone, nll, plato

from menura.errors import ConfigError
from menura.models.dialogue_model import FitsReplies, Loss
from menura.models.layers.transformer import Masked
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato
from menura.models.plato.reply_clusters import ReplyReader, k_means

RIVALLED = tuple(replace(e, negatives=(EXCHANGES[place - 1],)) for place, e in enumerate(EXCHANGES))
REPLIES = [tuple(range(first, first + length)) for first in range(9, 60, 3) for length in (1, 2, 4)]


def lowered(model: Plato, exchanges: Any = RIVALLED, progress: float = 0.0) -> Loss:
    with model.dropout(3, progress):
        return model.loss(model.batch(exchanges))


def fitted(**settings: Any) -> Plato:
    model = plato(targets="clusters", **settings)
    model.fit_replies(REPLIES, 0)
    return model


# Clusters


def test_k_means_finds_directions_that_lie_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    axes = torch.eye(4, dtype=torch.float64)
    points = torch.nn.functional.normalize(
        axes.repeat_interleave(30, 0) + 0.1 * torch.randn(120, 4, generator=generator, dtype=torch.float64), dim=-1
    )
    centroids = k_means(points, 4, generator)
    assert sorted((centroids @ axes.T).argmax(-1).tolist()) == [0, 1, 2, 3]
    numbers = (points @ centroids.T).argmax(-1).view(4, 30)
    assert all(len(set(each.tolist())) == 1 for each in numbers)
    torch.testing.assert_close(centroids.norm(dim=-1), torch.ones(4, dtype=torch.float64))


def test_a_centroid_is_the_direction_of_the_mean_of_its_points() -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.nn.functional.normalize(torch.randn(60, 3, generator=generator, dtype=torch.float64), dim=-1)
    centroids = k_means(points, 2, generator)
    nearest = (points @ centroids.T).argmax(-1)
    for number in (0, 1):
        mean = points[nearest == number].mean(0)
        torch.testing.assert_close(centroids[number], mean / mean.norm())


def test_more_clusters_than_different_points_are_no_error() -> None:
    centroids = k_means(torch.eye(2).repeat(3, 1), 5, torch.Generator().manual_seed(0))
    assert centroids.shape == (5, 2)
    assert torch.isfinite(centroids).all()


def test_a_replys_mean_is_over_its_own_tokens_alone() -> None:
    model = plato()
    reader = ReplyReader.copied(model.embeddings, model.body, model.layout)
    found = reader.means([(20, 21, 22), (23,)])
    for row, ids in zip(found, [(20, 21, 22), (23,)], strict=True):
        read = alone(ids)
        zero_turn = replace(read, turn=torch.zeros_like(read.turn))  # a reply's turn is 0
        every = torch.ones(1, 1, len(ids), len(ids), dtype=torch.bool)
        states = model.body(model.embeddings(zero_turn), [Masked(every, plain=True)] * 2)
        torch.testing.assert_close(row, states[0].mean(0))


def test_clusters_stay_when_the_weights_move_and_are_no_part_of_them() -> None:
    model = fitted()
    assert model.clusters is not None
    before, names = model.clusters.of(REPLIES), set(model.state_dict())
    assert names == set(plato().state_dict())
    with torch.no_grad():
        for value in model.parameters():
            value.normal_()
    assert torch.equal(model.clusters.of(REPLIES), before)
    assert len(set(before.tolist())) > 1


def test_the_same_seed_fits_the_same_clusters() -> None:
    one, other = fitted().clusters, fitted().clusters
    assert one is not None
    assert other is not None
    assert torch.equal(one.centroids, other.centroids)


def test_a_model_without_targets_fits_nothing() -> None:
    assert isinstance(plato(), FitsReplies)
    for model in (plato(), plato(num_latents=0, targets="clusters")):
        model.fit_replies(REPLIES, 0)
        assert model.clusters is None


# The objective under targets


def test_first_each_reply_is_learnt_and_recognised_under_its_clusters_number() -> None:
    model = fitted(selection_weight=0.0, bow_weight=0.0, target_weight=7.0)
    assert model.clusters is not None
    numbers = model.clusters.of([e.reply for e in EXCHANGES]).tolist()
    loss = lowered(model, EXCHANGES, progress=0.49)
    wanted = torch.stack([nll(model, e, model.latent[number]) for e, number in zip(EXCHANGES, numbers, strict=True)])
    torch.testing.assert_close(loss.nll, wanted)
    told = model.latent_nll(model.batch(EXCHANGES))
    rows = torch.arange(len(EXCHANGES))
    recognition, prior = -told.log_posterior[rows, numbers].mean(), -told.log_prior[rows, numbers].mean()
    torch.testing.assert_close(loss.parts["recognition"], recognition)
    torch.testing.assert_close(loss.parts["prior"], prior)
    torch.testing.assert_close(loss.total, wanted.mean() + 7 * recognition + prior)


def test_later_the_posterior_takes_over_as_if_there_had_been_no_targets() -> None:
    assert torch.equal(lowered(fitted(), progress=0.5).total, lowered(plato(), progress=0.5).total)
    assert "recognition" not in lowered(fitted(), progress=0.5).parts
    assert "recognition" in lowered(fitted(target_share=1.0), progress=0.99).parts


def test_hard_em_learns_each_reply_under_its_best_latent_alone() -> None:
    model = plato(sampling="hard_em", selection_weight=0.0, bow_weight=0.0, target_weight=2.0)
    loss = lowered(model, EXCHANGES)
    each = torch.stack([torch.stack([nll(model, e, slot) for slot in model.latent]) for e in EXCHANGES])
    torch.testing.assert_close(loss.nll, each.min(1).values)
    told = model.latent_nll(model.batch(EXCHANGES))
    recognition = -told.log_posterior[torch.arange(len(EXCHANGES)), each.argmin(1)].mean()
    torch.testing.assert_close(loss.parts["recognition"], recognition)
    loss.nll.sum().backward()
    assert model.latent.grad is not None
    moved = {number for number in range(LATENTS) if model.latent.grad[number].abs().sum() > 0}
    assert moved == set(each.argmin(1).tolist())


def test_hard_em_chooses_without_dropout() -> None:
    model = plato(sampling="hard_em", dropout=0.5, double=False)
    best = model.latent_nll(model.batch(EXCHANGES)).nll.argmin(1)
    drawn = []
    told = model._told

    def watched(exchanges: Any, heads: Any, **more: Any) -> Any:
        drawn.append((model.training, heads.shape[1]))
        return told(exchanges, heads, **more)

    model._told = watched  # type: ignore[method-assign]
    loss = lowered(model)
    assert drawn == [(False, LATENTS), (True, 1)]
    assert model.training is False
    assert loss.parts["recognition"] > 0
    assert best.shape == (len(EXCHANGES),)


def test_hard_em_under_a_prefix_that_depends_on_the_latent_is_the_same_rule() -> None:
    model = plato(sampling="hard_em", visibility="prefix", selection_weight=0.0)
    each = torch.stack([torch.stack([nll(model, e, slot) for slot in model.latent]) for e in EXCHANGES])
    torch.testing.assert_close(lowered(model, EXCHANGES).nll, each.min(1).values)


def test_none_of_it_is_on_by_default_or_in_a_preset() -> None:
    for preset in ("fixed", "release", "paper"):
        config = PlatoConfig(preset=preset)
        assert (config.targets, config.pieces, config.num_layers, config.recognition) == (
            "none",
            "base",
            0,
            "bidirectional",
        )
        assert config.rules.sampling != "hard_em"
        assert (config.mutual_info_weight, config.entropy_weight) == (0, 0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"target_share": 1.5}, "target_share: 1.5, must be between 0 and 1"),
        ({"target_weight": -1.0}, "target_weight: -1.0, must not be negative"),
        ({"min_count": 0}, "min_count: 0, must be at least 1"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        PlatoConfig(**settings)
