"""Acceptance checks D1 to D3: the joint step (specs, section 17), and its exact gradient by central differences."""

import pytest
import torch
from counts import count
from private_toys import EPISODES, PrivateNet, ThreeEdges, any_structure, of_edges, one_point
from toys import flat, gradient, slope

from menura.adaptation.cmaml import Cmaml
from menura.adaptation.inner_loop import InnerLoop, mini_batches
from menura.adaptation.inner_step import InnerProblem
from menura.adaptation.joint_inner_loop import JointTrajectory, iterate_joint_loop
from menura.adaptation.maml import Maml
from menura.adaptation.masked_adam import moving_only
from menura.adaptation.masks import full_mask
from menura.adaptation.weights import adaptable_parameters, trainable_parameters

TASKS = [one_point("1"), one_point("2")]
OWNED = ([[1, 1, 0]], [[0, 1, 1]])
PRINTED = Cmaml(InnerLoop(lr=0.1), private_reduce="sum")


def private(trajectory: JointTrajectory) -> list[list[float]]:
    """Return the private weights that each task acts with, 0 where it has no edge."""
    return [trajectory.weights(place)["private.weight"][0].tolist() for place in range(len(TASKS))]


@pytest.mark.parametrize(
    ("order", "outer", "after"),
    [("first", [0.4, 2.4, 0.8], [0.96, 1.76, 2.92]), ("exact", [0.36, 1.92, 0.72], [0.964, 1.808, 2.928])],
)
def test_d1_the_joint_step_gives_the_printed_numbers(order: str, outer: list[float], after: list[float]) -> None:
    model = ThreeEdges()
    masks = [of_edges(full_mask(model), edges) for edges in OWNED]
    for mask, episode, wanted in zip(masks, TASKS, ([0.9, 1.8, 0], [0, 1.9, 2.8]), strict=True):  # start - 0.1 gradient
        alone = JointTrajectory(
            InnerProblem(model, 0.1, adam=False), adaptable_parameters(model), [mask], order == "exact", "sum"
        )
        alone.step({0: model.batch(episode.support[0])})
        assert alone.weights(0)["private.weight"][0].tolist() == pytest.approx(wanted, abs=1e-13)
    trajectory = JointTrajectory(
        InnerProblem(model, 0.1, adam=False), adaptable_parameters(model), masks, order == "exact", "sum"
    )
    for _ in iterate_joint_loop(trajectory, [mini_batches(model, e.support, 16) for e in TASKS], PRINTED.inner):
        pass
    assert private(trajectory) == [pytest.approx([0.9, 1.7, 0], abs=1e-13), pytest.approx([0, 1.7, 2.8], abs=1e-13)]
    method = Cmaml(PRINTED.inner, order=order, private_reduce="sum")  # type: ignore[arg-type]
    total, losses = method.joint_objective(model, TASKS, masks)
    assert [float(loss.total) for loss in losses] == pytest.approx([0.325, 1.765], abs=1e-13)
    assert float(total.detach()) == pytest.approx(0.325 + 1.765, abs=1e-13)
    torch_step = torch.optim.SGD(model.parameters(), lr=0.1)
    total.backward()
    assert model.private.weight.grad is not None
    assert model.private.weight.grad[0].tolist() == pytest.approx(outer, abs=1e-13)
    torch_step.step()
    assert model.private.weight[0].tolist() == pytest.approx(after, abs=1e-13)


def test_d1_the_mean_goes_by_how_many_tasks_have_an_edge() -> None:
    model = ThreeEdges()
    masks = [of_edges(full_mask(model), edges) for edges in OWNED]
    trajectory = JointTrajectory(InnerProblem(model, 0.1, adam=False), adaptable_parameters(model), masks, exact=False)
    trajectory.step({place: model.batch(e.support[0]) for place, e in enumerate(TASKS)})
    assert private(trajectory) == [pytest.approx([0.9, 1.85, 0], abs=1e-13), pytest.approx([0, 1.85, 2.8], abs=1e-13)]


def test_d2_each_task_on_its_own_gives_other_numbers_where_an_edge_is_shared() -> None:
    model = ThreeEdges()
    masks = [of_edges(full_mask(model), edges) for edges in OWNED]
    method = Cmaml(PRINTED.inner, order="exact", private_reduce="sum")
    alone = [method.joint_objective(model, [e], [s]) for e, s in zip(TASKS, masks, strict=True)]
    assert [float(loss.total) for _, (loss,) in alone] == pytest.approx([0.4, 2.125], abs=1e-13)
    total = torch.stack([total for total, _ in alone]).sum()
    (found,) = torch.autograd.grad(total, [model.private.weight])
    assert found[0].tolist() == pytest.approx([0.36, 2.43, 0.72], abs=1e-13)


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("order", ["first", "exact"])
def test_d3_one_task_with_a_whole_structure_is_maml(reduce: str, order: str) -> None:
    model, inner = PrivateNet(), InnerLoop(lr=0.1, epochs=2, batch_size=2)
    method = Cmaml(inner, order=order, private_reduce=reduce)  # type: ignore[arg-type]
    ours = flat(gradient(model, method.joint_objective(model, EPISODES[:1], [full_mask(model)])[0]))
    wanted = flat(gradient(model, Maml(inner, order=order).objective(model, EPISODES[0]).total))  # type: ignore[arg-type]
    assert float((ours - wanted).abs().max()) < 1e-13


def test_d3_an_edge_that_no_task_owns_stays_where_it_is() -> None:
    model = ThreeEdges()
    masks = [of_edges(full_mask(model), [[1, 0, 0]]), of_edges(full_mask(model), [[1, 1, 0]])]
    adam = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    PRINTED.joint_objective(model, TASKS, masks)[0].backward()
    with moving_only(adam, trainable_parameters(model), PRINTED.outer_step_masks(model, masks)):
        adam.step()
    assert model.private.weight[0, 2].item() == 3
    assert model.private.weight[0, 0].item() < 1
    assert not adam.state[model.private.weight]["exp_avg"][0, 2]


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_the_exact_joint_gradient_of_a_private_net_is_the_central_difference(reduce: str) -> None:
    """Three tasks of unequal supports, so that the last steps pool fewer of them."""
    model = PrivateNet()
    masks = [any_structure(model, seed) for seed in range(3)]
    inner = InnerLoop(lr=0.1, epochs=2, batch_size=2)
    method = Cmaml(inner, order="exact", private_reduce=reduce)  # type: ignore[arg-type]

    def total() -> torch.Tensor:
        return method.joint_objective(model, EPISODES, masks)[0]

    ours = flat(gradient(model, total()))
    every = count(full_count=1, quick_count=12)
    units = torch.eye(len(ours), dtype=torch.float64)[::every]
    measured = torch.tensor([slope(model, total, unit, 1e-5) for unit in units])
    assert float((ours[::every] - measured).norm() / measured.norm()) < 1e-7
    first = Cmaml(inner, private_reduce=reduce)  # type: ignore[arg-type]
    shortened = flat(gradient(model, first.joint_objective(model, EPISODES, masks)[0]))
    alone = [method.joint_objective(model, [e], [s])[0] for e, s in zip(EPISODES, masks, strict=True)]
    apart = flat(gradient(model, torch.stack(alone).sum()))
    for other in (shortened, apart):
        assert float((ours - other).norm() / ours.norm()) > 1e-2, "the cross terms must matter for this to be a test"
