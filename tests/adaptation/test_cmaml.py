"""CMAML as a method: how a persona's structure is found, what is adapted, and the steps that tasks take together."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, assert_same_bits, snapshot
from private_toys import EPISODES, SIZES, PrivateNet, any_structure
from torch import Tensor
from toys import NET_EPISODE, TanhNet, flat, gradient, points, slope

from menura.adaptation.catalogue import METHODS
from menura.adaptation.cmaml import Cmaml
from menura.adaptation.inner_loop import InnerLoop, mini_batches
from menura.adaptation.inner_step import InnerProblem
from menura.adaptation.joint_inner_loop import JointTrajectory, LearnsJointly, iterate_joint_loop
from menura.adaptation.l1_penalty import Penalty, l1_finetuned_copy
from menura.adaptation.maml import Maml
from menura.adaptation.masked_adam import moving_only
from menura.adaptation.masks import PersonaMask, Threshold, full_mask, jaccard, masked_weights, with_zeros
from menura.adaptation.weights import adaptable_parameters, loss_with, trainable_parameters
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError, NumericalError

INNER = InnerLoop(lr=0.1, epochs=2, batch_size=2)


def ours(model: PrivateNet) -> list[PersonaMask]:
    return [any_structure(model, seed) for seed in range(len(EPISODES))]


def copied(model: PrivateNet, method: Cmaml) -> dict[str, Tensor]:
    """Return the first persona's copy that is fine-tuned towards few weights, as the method's settings have it."""
    batches = mini_batches(model, EPISODES[0].support, method.inner.batch_size)
    penalty = Penalty(frozenset(full_mask(model).names), method.l1_weight, method.l1_step)
    problem = InnerProblem(model, method.inner.lr, adam=False)
    return l1_finetuned_copy(
        problem, adaptable_parameters(model), batches, replace(method.inner, epochs=method.prune_epochs), penalty
    )


# The copy that is fine-tuned towards few weights


@pytest.mark.parametrize("kind", ["subgradient", "proximal"])
def test_a_step_of_the_copy_goes_down_the_loss_and_the_sum_of_private_magnitudes(kind: Any) -> None:
    model, batch = PrivateNet(), PrivateNet().batch(points("s", 4, 1))
    with torch.no_grad():
        model.private[1].weight[0, 0] = 0.0
        model.private[1].weight[0, 1] = 1e-4
    start, names = adaptable_parameters(model), frozenset(full_mask(model).names)
    found = l1_finetuned_copy(
        InnerProblem(model, 0.1, adam=False), start, [batch], InnerLoop(lr=0.1), Penalty(names, 0.01, kind)
    )
    slopes = torch.autograd.grad(model.loss(batch).total, list(start.values()))
    for (name, value), by_loss in zip(start.items(), slopes, strict=True):
        down = value.detach() - 0.1 * by_loss
        if name in names:
            down = {
                "subgradient": down - 0.1 * 0.01 * value.detach().sign(),
                "proximal": torch.nn.functional.softshrink(down, 0.1 * 0.01),
            }[kind]
        assert torch.allclose(found[name], down, rtol=0, atol=1e-15), name


def test_the_copy_takes_the_steps_of_adam_when_told_to() -> None:
    model, batches = PrivateNet(), [PrivateNet().batch(points("s", 4, seed)) for seed in (1, 2)]
    names = frozenset(full_mask(model).names)
    found = l1_finetuned_copy(
        InnerProblem(model, 0.05, adam=True),
        adaptable_parameters(model),
        batches,
        InnerLoop(lr=0.05, epochs=3),
        Penalty(names, 0.02, "subgradient"),
    )
    peer = PrivateNet()
    peer.load_state_dict(model.state_dict())
    adam = torch.optim.Adam(peer.parameters(), lr=0.05)
    for step in range(6):
        adam.zero_grad()
        private = sum(value.abs().sum() for name, value in peer.named_parameters() if name in names)
        (peer.loss(batches[step % 2]).total + 0.02 * private).backward()
        adam.step()
    for name, value in peer.named_parameters():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-6), name


def test_edges_may_be_kept_by_their_change_or_by_what_the_loss_would_be_without_them() -> None:
    model = PrivateNet()
    settings: dict[str, Any] = {"threshold": "quantile", "keep_share": 0.3, "l1_weight": 0.0, "prune_epochs": 3}
    methods = {by: Cmaml(INNER, prune_by=by, **settings) for by in ("magnitude", "change", "saliency")}  # type: ignore[arg-type]
    copy, start = copied(model, methods["change"]), adaptable_parameters(model)
    found = {by: method.find_mask(model, EPISODES[0].support) for by, method in methods.items()}
    leaves = {name: value.detach().clone().requires_grad_() for name, value in copy.items()}
    batches = mini_batches(model, EPISODES[0].support, INNER.batch_size)
    sum(loss_with(model, leaves, batch).total for batch in batches).backward()  # type: ignore[union-attr]
    for layer in range(1, len(found["change"].layers) - 1):
        name = found["change"].layers[layer].weight_name
        scores = {
            "magnitude": copy[name],
            "change": copy[name] - start[name].detach(),
            "saliency": leaves[name].grad * copy[name],
        }
        for by, score in scores.items():
            assert score is not None
            strong, edges = Threshold("quantile", keep_share=0.3).strong(score), found[by].layers[layer].edges()
            alive = found[by].layers[layer + 1].edges().any(0)
            assert torch.equal(edges, strong & alive[:, None]), f"{by} of {name}"
    assert not torch.equal(found["change"].layers[1].edges(), found["saliency"].layers[1].edges())


def test_the_copy_has_a_learning_rate_of_its_own() -> None:
    model = PrivateNet()
    settings: dict[str, Any] = {"prune_by": "change", "gamma": 0.01, "prune_epochs": 1}
    usual, slower = (Cmaml(INNER, prune_lr=rate, **settings) for rate in (0.0, INNER.lr / 1000))
    kept = [method.find_mask(model, NET_EPISODE.support).density()["private.1.weight"] for method in (usual, slower)]
    assert kept[0] > 0
    assert kept[1] == 0, "nothing changes by as much as gamma"


def test_the_proximal_copy_has_zeros_where_the_subgradient_s_only_comes_near() -> None:
    model = PrivateNet()
    counts = {}
    for kind in ("subgradient", "proximal"):
        copy = copied(model, Cmaml(INNER, l1_weight=0.5, l1_step=kind, prune_epochs=10))  # type: ignore[arg-type]
        counts[kind] = sum(int((copy[name] == 0).sum()) for name in full_mask(model).names)
    assert counts["proximal"] > 10
    assert counts["subgradient"] == 0


def test_more_sparsity_leaves_fewer_edges_and_the_model_as_it_was() -> None:
    model = PrivateNet()
    before = snapshot(model)
    kept = []
    for sparsity in (0.0, 0.1, 0.4):
        mask = Cmaml(INNER, l1_weight=sparsity, l1_step="proximal", gamma=0.2).find_mask(model, NET_EPISODE.support)
        kept.append(sum(int(layer.edges().sum()) for layer in mask.layers))
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == 3
    assert_same_bits(model, before)


def test_personas_that_say_other_things_keep_other_weights() -> None:
    model, method = PrivateNet(), Cmaml(INNER, gamma=0.1, l1_weight=0.02, prune_epochs=20)
    masks = [method.find_mask(model, episode.support) for episode in EPISODES]
    assert jaccard(masks[0], method.find_mask(model, EPISODES[0].support)) == 1
    assert 0 < jaccard(masks[0], masks[1]) < 0.95


# One persona


def test_a_persona_is_learnt_from_the_meta_weights_within_its_structure() -> None:
    model, method = PrivateNet(), Cmaml(replace(INNER, epochs=1, batch_size=0), gamma=0.2, l1_weight=0.1)
    weights, mask = method.adapted(model, EPISODES[0].support)
    kept = mask.kept()
    assert any((~there).any() for there in kept.values())
    leaves = {name: value.detach().requires_grad_() for name, value in adaptable_parameters(model).items()}
    batch = model.batch(EPISODES[0].support[0])
    slopes = torch.autograd.grad(loss_with(model, with_zeros(leaves, kept), batch).total, list(leaves.values()))
    for (name, value), by_loss in zip(leaves.items(), slopes, strict=True):
        wanted = torch.where(kept.get(name, torch.tensor(True)), value.detach() - 0.1 * by_loss, 0.0)
        assert torch.allclose(weights[name], wanted, rtol=0, atol=1e-15), name


def test_with_private_weights_alone_a_persona_holds_nothing_else_and_still_learns() -> None:
    toy = VARIANTS["seq2spg"].toy(double=True)
    names = full_mask(toy.model).names
    method = Cmaml(replace(INNER, lr=0.5), gamma=0.3, l1_weight=0.05, trainable=",".join(names))
    method.attach(toy.model)
    weights, mask = method.adapted(toy.model, toy.dialogues(SUPPORT))
    assert weights.keys() == set(names)
    bare = masked_weights({name: adaptable_parameters(toy.model)[name].detach() for name in names}, mask)
    support = toy.batch(SUPPORT)
    losses = [float(loss_with(toy.model, each, support).total.detach()) for each in (bare, weights)]
    assert losses[1] < losses[0]


def test_in_joint_training_what_does_not_adapt_still_learns_from_the_query() -> None:
    model = PrivateNet()
    names = full_mask(model).names
    total, _ = Cmaml(INNER, trainable=",".join(names)).joint_objective(model, EPISODES[:2], [full_mask(model)] * 2)
    by_query = dict(
        zip(
            adaptable_parameters(model),
            torch.autograd.grad(total, list(adaptable_parameters(model).values())),
            strict=True,
        )
    )
    assert by_query["shared.weight"].abs().sum() > 0
    walk = JointTrajectory(
        InnerProblem(model, 0.1, adam=False),
        adaptable_parameters(model),
        [full_mask(model)],
        exact=False,
        trainable_names=frozenset(names),
    )
    walk.step({0: model.batch(EPISODES[0].support[0])})
    assert torch.equal(walk.weights(0)["shared.weight"], model.shared.weight)
    assert not torch.equal(walk.weights(0)["private.1.weight"], model.private[1].weight)


def test_private_weights_that_would_not_adapt_are_refused() -> None:
    with pytest.raises(ConfigError, match="trainable: private.0 leaves out private.1.bias"):
        Cmaml(trainable="private.0").attach(PrivateNet())


def test_as_the_public_program_a_persona_is_learnt_on_from_the_copy_and_what_is_cut_off_still_acts() -> None:
    model, method = PrivateNet(), Cmaml(INNER, gamma=0.3, l1_weight=0.1, preset="repo")
    weights, mask = method.adapted(model, EPISODES[0].support)
    copy, kept = copied(model, method), mask.kept()
    assert set(kept) == {f"private.{n}.weight" for n in range(4)} | {f"private.{n}.bias" for n in range(3)}
    for name, there in kept.items():
        assert torch.equal(weights[name][~there], copy[name][~there])
    assert any(bool(copy[name][~there].any()) for name, there in kept.items())
    assert not torch.equal(weights["shared.weight"], copy["shared.weight"])


def test_an_empty_support_leaves_the_base_whole() -> None:
    model = PrivateNet()
    for support in ((), ((),)):
        weights, mask = Cmaml(INNER, gamma=0.2).adapted(model, support)
        assert all(torch.equal(weights[name], value) for name, value in adaptable_parameters(model).items())
        assert not {w.data_ptr() for w in weights.values()} & {p.data_ptr() for p in model.parameters()}
        assert mask.kept() == {}


def test_the_watch_sees_the_steps_that_stay() -> None:
    seen: list[tuple[int, int, float]] = []
    Cmaml(INNER).adapt(PrivateNet(), EPISODES[0].support, lambda *news: seen.append(news))
    assert [(done, steps) for done, steps, _ in seen] == [(n, 8) for n in range(1, 9)]  # two epochs of seven by two
    assert seen[-1][2] < seen[0][2]


@pytest.mark.parametrize("name", ["seq2spg", "seq2spg-prime"])
def test_a_seq2spg_adapts_within_its_structure_and_comes_back_as_it_was(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    method, support = Cmaml(INNER, gamma=0.3, l1_weight=0.05), toy.batch(SUPPORT)
    method.attach(toy.model)
    before = snapshot(toy.model)
    weights, mask = method.adapted(toy.model, toy.dialogues(SUPPORT))
    assert_same_bits(toy.model, before)
    bare = masked_weights({n: v.detach() for n, v in adaptable_parameters(toy.model).items()}, mask)
    losses = [float(loss_with(toy.model, w, support).total.detach()) for w in (bare, weights)]
    assert losses[1] < losses[0] - 0.01
    assert all(not weights[name][~there].any() for name, there in mask.kept().items())
    assert any(0 < share < 1 for share in mask.density().values())


def test_the_exact_joint_gradient_of_a_seq2spg_is_the_central_difference() -> None:
    toy = VARIANTS["seq2spg"].toy(double=True)
    model, parts = toy.model, [toy.dialogues(SUPPORT), toy.dialogues(QUERY)]
    episodes = [EncodedEpisode("a", parts[0], parts[1]), EncodedEpisode("b", parts[1], parts[0][1:])]
    method = Cmaml(replace(INNER, batch_size=2), order="exact", gamma=0.3)
    masks = [method.find_mask(model, episode.support) for episode in episodes]
    assert jaccard(*masks) < 1

    def total() -> torch.Tensor:
        return method.joint_objective(model, episodes, masks)[0]

    found = flat(gradient(model, total()))
    stream = torch.Generator().manual_seed(1)
    for _ in range(2):
        direction = torch.randn(len(found), generator=stream, dtype=torch.float64)
        direction /= direction.norm()
        assert float(found @ direction) == pytest.approx(slope(model, total, direction, 1e-5), rel=1e-5)


# Tasks together


@pytest.mark.parametrize("order", ["first", "exact"])
def test_every_task_takes_its_own_steps_and_shares_those_of_the_private_weights_while_it_has_any(order: str) -> None:
    """The lock-step, written out with whole lists: supports of 7, 3 and 5 in batches of two are 8, 4 and 6 steps."""
    model = PrivateNet()
    masks = ours(model)
    private = set(masks[0].names)
    exact = order == "exact"
    batches = [mini_batches(model, e.support, 2) for e in EPISODES]
    own = [dict(adaptable_parameters(model)) for _ in EPISODES]
    pool = {name: value for name, value in adaptable_parameters(model).items() if name in private}
    for step in range(8):
        slopes: dict[int, dict[str, torch.Tensor]] = {}
        for task in range(3):
            if step < 2 * len(batches[task]):
                here = {**own[task], **pool}
                loss = loss_with(
                    model, masked_weights(here, masks[task]), batches[task][step % len(batches[task])]
                ).total
                grads = torch.autograd.grad(loss, list(here.values()), create_graph=True)
                slopes[task] = dict(zip(here, grads, strict=True))
        for task, slope_of in slopes.items():
            own[task] = {name: value - 0.1 * slope_of[name] for name, value in own[task].items()}
        for name in pool:
            owners = sum(masks[t].kept().get(name, torch.ones(pool[name].shape)).double() for t in slopes)
            assert isinstance(owners, torch.Tensor)
            pool[name] = pool[name] - 0.1 * sum(s[name] for s in slopes.values()) / owners.clamp(min=1)
    totals = [
        loss_with(model, masked_weights({**own[t], **pool}, masks[t]), model.batch(e.query[0])).total
        for t, e in enumerate(EPISODES)
    ]
    value, losses = Cmaml(INNER, order=order).joint_objective(model, EPISODES, masks)  # type: ignore[arg-type]
    assert [float(loss.total) for loss in losses] == pytest.approx([float(t.detach()) for t in totals], abs=1e-14)
    assert not any(loss.total.requires_grad or loss.nll.requires_grad for loss in losses)
    if exact:
        wanted = flat(gradient(model, torch.stack(totals).sum()))
        assert float((flat(gradient(model, value)) - wanted).abs().max()) < 1e-13


def test_first_order_is_the_gradient_where_the_tasks_end_added_up() -> None:
    model, masks = PrivateNet(), ours(PrivateNet())
    walk = JointTrajectory(InnerProblem(model, 0.1, adam=False), adaptable_parameters(model), masks, exact=False)
    for _ in iterate_joint_loop(walk, [mini_batches(model, e.support, 2) for e in EPISODES], INNER):
        pass
    wanted = torch.zeros(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    for place, episode in enumerate(EPISODES):
        leaves = {name: value.clone().requires_grad_() for name, value in walk.weights(place).items()}
        slopes = torch.autograd.grad(
            loss_with(model, leaves, model.batch(episode.query[0])).total, list(leaves.values())
        )
        kept = masks[place].kept()
        wanted += flat(with_zeros(dict(zip(leaves, slopes, strict=True)), kept))
    found = flat(gradient(model, Cmaml(INNER).joint_objective(model, EPISODES, masks)[0]))
    assert float((found - wanted).abs().max()) < 1e-14


def test_as_the_public_program_tasks_share_no_step_and_the_query_sees_all_weights() -> None:
    model, masks = PrivateNet(), ours(PrivateNet())
    method = Cmaml(INNER, preset="repo")
    _, losses = method.joint_objective(model, EPISODES, masks)
    for episode, mask, loss in zip(EPISODES, masks, losses, strict=True):
        weights, kept = {n: v.detach() for n, v in adaptable_parameters(model).items()}, mask.kept()
        batches = mini_batches(model, episode.support, 2)
        for batch in batches * 2:
            leaves = {name: value.requires_grad_() for name, value in weights.items()}
            slopes = torch.autograd.grad(loss_with(model, leaves, batch).total, list(leaves.values()))
            held = with_zeros(dict(zip(leaves, slopes, strict=True)), kept)
            weights = {name: (value - 0.1 * held[name]).detach() for name, value in leaves.items()}
        wanted = float(loss_with(model, weights, model.batch(episode.query[0])).total)
        assert float(loss.total) == pytest.approx(wanted, abs=1e-14)
    assert method.outer_step_masks(model, masks) == {}


def test_the_objective_of_one_task_is_joint_learning_alone() -> None:
    model, method = PrivateNet(), Cmaml(INNER, gamma=0.2)
    mask = method.find_mask(model, EPISODES[0].support)
    alone = method.objective(model, EPISODES[0])
    together, (loss,) = method.joint_objective(model, EPISODES[:1], [mask])
    assert torch.equal(alone.nll, loss.nll)
    assert torch.equal(flat(gradient(model, alone.total)), flat(gradient(model, together)))


@pytest.mark.parametrize("order", ["first", "exact"])
def test_without_a_private_part_it_is_maml(order: str) -> None:
    model = TanhNet()
    found = Cmaml(INNER, order=order).objective(model, NET_EPISODE)  # type: ignore[arg-type]
    wanted = Maml(INNER, order=order).objective(model, NET_EPISODE)  # type: ignore[arg-type]
    assert float((flat(gradient(model, found.total)) - flat(gradient(model, wanted.total))).abs().max()) < 1e-14
    assert torch.equal(
        flat(Cmaml(INNER).adapt(model, NET_EPISODE.support)), flat(Maml(INNER).adapt(model, NET_EPISODE.support))
    )


def test_a_loss_that_is_no_number_names_its_dialogues() -> None:
    model, masks = PrivateNet(), ours(PrivateNet())
    with pytest.raises(NumericalError, match=r"inner step \d+: the loss is not finite \(dialogues s0"):
        Cmaml(InnerLoop(lr=1e200, epochs=3)).joint_objective(model, EPISODES[:1], masks[:1])
    with pytest.raises(NumericalError, match="smaller inner rate"):
        Cmaml(InnerLoop(lr=1e200, epochs=3)).find_mask(model, EPISODES[0].support)


# The outer step


def test_where_nothing_moves_alone_the_masked_step_is_the_plain_one() -> None:
    models = [PrivateNet(), PrivateNet()]
    masks = ours(models[0])
    method = Cmaml(INNER)
    plain = replace(method, private_adam="plain")
    assert plain.outer_step_masks(models[0], masks) == {}
    union = method.outer_step_masks(models[0], masks)
    wanted = {n: torch.stack([s.kept()[n] for s in masks]).any(0) for n in masks[0].kept()}
    assert {n: v.tolist() for n, v in union.items()} == {n: v.tolist() for n, v in wanted.items()}
    for model, made in zip(models, (method, plain), strict=True):
        adam = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
        for _ in range(3):
            adam.zero_grad()
            made.joint_objective(model, EPISODES, masks)[0].backward()
            with moving_only(adam, trainable_parameters(model), made.outer_step_masks(model, masks)):
                adam.step()
    for (name, masked), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        there = union.get(name, torch.ones_like(masked, dtype=torch.bool))
        assert torch.equal(masked[there], other[there]), "what a task has moves as ever"
        assert not there.all() or torch.equal(masked, other)
    assert any(not there.all() for there in union.values())


# Settings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"gamma": 0.1, "threshold": "quantile"}, r"method.gamma: 0.1, but threshold quantile reads keep_share"),
        ({"keep_share": 0.1}, r"method.keep_share: 0.1, but threshold absolute looks at gamma"),
        ({"l1_step": "proximal", "l1_weight": 0.0}, r"method.l1_step: proximal, but without l1_weight"),
        ({"l1_step": "proximal", "prune_epochs": 0}, r"method.l1_step: proximal, but without l1_weight"),
        ({"preset": "repo", "private_reduce": "sum"}, r"method.private_reduce: sum, but preset repo"),
        (
            {"inner": InnerLoop(distill_weight=0.5)},
            r"method.inner.distill_weight: 0.5, but cmaml's steps look at words alone",
        ),
        ({"inner": InnerLoop(optimizer="adam")}, r"method.inner.optimizer: adam, but steps that are shared are SGD's"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Cmaml(**settings).attach(PrivateNet())


@pytest.mark.parametrize(
    "settings", [{"gamma": -1.0}, {"keep_share": 0.0}, {"keep_share": 1.1}, {"l1_weight": -0.1}, {"order": "reptile"}]
)
def test_numbers_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"method.{next(iter(settings))}"):
        Cmaml(**settings)


def test_models_without_a_private_part_that_trains_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"a model with a private part.*seq2spg"):
        Cmaml().attach(TanhNet())
    model = PrivateNet(SIZES)
    model.private[2].weight.requires_grad_(False)
    with pytest.raises(ConfigError, match=r"private.2.weight does not"):
        Cmaml().attach(model)


def test_only_cmaml_learns_jointly() -> None:
    assert [name for name, kind in METHODS.items() if isinstance(kind(), LearnsJointly)] == ["cmaml"]
