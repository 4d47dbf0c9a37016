"""What a meta-gradient holds, counted in tensors as large as what adapts."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from toys import NoDecoding, exchange

from menura.adaptation.inner_loop import InnerLoop, iterate_inner_loop
from menura.adaptation.inner_step import InnerProblem
from menura.adaptation.joint_inner_loop import JointTrajectory
from menura.adaptation.maml import Maml
from menura.adaptation.masks import PersonaMask, full_mask
from menura.adaptation.weights import adaptable_parameters
from menura.batches.batch import Batch
from menura.batches.encode import EncodedEpisode
from menura.models.dialogue_model import Loss, mean_loss

SIZE = 4096
EPISODE = EncodedEpisode("p", ((exchange("support"),),), ((exchange("query"),),))


class Wide(NoDecoding):
    """One tensor of weights; a loss that keeps some tensors of its size for the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.linspace(-1, 1, SIZE))

    def loss(self, batch: Batch) -> Loss:
        return mean_loss((self.theta.tanh().exp() ** 2).mean().expand(len(batch)), batch.reply_lengths)


class Counting(TorchDispatchMode):
    """Counts storages of the weights' size that are alive at once, those of before left out."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, StorageWeakRef] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in made if isinstance(made, tuple | list) else [made]:
            if isinstance(value, Tensor) and value.numel() == SIZE:
                storage = value.untyped_storage()
                self.alive[storage.data_ptr()] = StorageWeakRef(storage)
        self.alive = {key: found for key, found in self.alive.items() if not found.expired()}
        self.most = max(self.most, len(self.alive))
        return made

    def left(self) -> set[int]:
        """Return where those lie that are alive still."""
        return {place for place, found in self.alive.items() if not found.expired()}


def held(steps: int, **settings: Any) -> int:
    """Return the most tensors alive at once in an objective and its gradient, the model's own not counted."""
    model = Wide()
    method = Maml(InnerLoop(lr=0.1, epochs=steps), **settings)
    model.theta.grad = torch.zeros_like(model.theta)  # the outer loop's, which every method adds to
    with Counting() as counting:
        method.objective(model, EPISODE).total.backward()
        counting.alive.pop(model.theta.untyped_storage().data_ptr(), None)
    return counting.most


def plain_step() -> int:
    """Return what one gradient of the same loss holds."""
    model = Wide()
    with Counting() as counting:
        torch.autograd.grad(model.loss(model.batch(EPISODE.query[0])).total, [model.theta])
    return counting.most


def test_first_order_holds_one_copy_more_than_a_plain_gradient_however_many_steps() -> None:
    assert held(1) == held(2) == held(9)
    assert held(9) <= plain_step() + 2, "one copy of the weights and one step on its way"


def test_first_order_steps_write_over_one_copy_and_leave_the_model_alone() -> None:
    model = Wide()
    before = model.theta.detach().clone()
    walk = iterate_inner_loop(
        model, adaptable_parameters(model), EPISODE.support, InnerLoop(lr=0.1, epochs=5, optimizer="adam")
    )
    places = [now.weights()["theta"].data_ptr() for _, _, now in walk]
    assert places[0] == model.theta.data_ptr()
    assert len(set(places[1:])) == 1
    assert places[1] != places[0]
    assert torch.equal(model.theta, before)


def test_adapting_holds_as_much_after_many_steps_as_after_one() -> None:
    found = []
    for steps in (1, 9):
        with Counting() as counting:
            Maml(InnerLoop(lr=0.1, epochs=steps)).adapt(Wide(), EPISODE.support)
        found.append(counting.most)
    assert found[0] == found[1] <= plain_step() + 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_recursion_grows_by_where_a_step_stood_and_the_kept_graph_by_a_graph(optimizer: str) -> None:
    def growth(recompute: bool) -> float:
        few, many = (held_under(optimizer, steps, order="exact", recompute=recompute) for steps in (2, 10))
        return (many - few) / 8

    copies = 1 if optimizer == "sgd" else 3
    assert growth(True) == copies
    assert growth(False) >= copies + 3


def held_under(optimizer: str, steps: int, **settings: Any) -> int:
    model = Wide()
    method = Maml(InnerLoop(lr=0.01, epochs=steps, optimizer=optimizer), **settings)  # type: ignore[arg-type]
    with Counting() as counting:
        method.objective(model, EPISODE).total.backward()
    return counting.most


# Tasks that are learnt together

TASKS = 5


class SharedAndPrivate(NoDecoding):
    """Shared weights and one private layer, as many numbers each; a loss that both are in."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.linspace(-1, 1, SIZE))
        self.private = nn.Linear(64, SIZE // 64)

    def private_layers(self) -> tuple[tuple[str, str], ...]:
        return (("private.weight", "private.bias"),)

    def loss(self, batch: Batch) -> Loss:
        total = self.theta.tanh().mean() + self.private.weight.tanh().mean() + self.private.bias.tanh().mean()
        return mean_loss(total.expand(len(batch)), batch.reply_lengths)


def walked(tasks: int) -> JointTrajectory:
    """Return where tasks stand after three steps, each with a structure of its own."""
    model = SharedAndPrivate()
    stream = torch.Generator().manual_seed(0)
    (shape,) = full_mask(model).layers
    masks = [PersonaMask((shape.with_edges(torch.rand(SIZE // 64, 64, generator=stream) < 0.5),)) for _ in range(tasks)]
    walk = JointTrajectory(InnerProblem(model, 0.1, adam=False), adaptable_parameters(model), masks, exact=False)
    for _ in range(3):
        walk.step({place: model.batch(EPISODE.support[0]) for place in range(tasks)})
    return walk


def test_tasks_together_hold_one_copy_of_the_private_weights_and_one_of_the_shared_a_task() -> None:
    with Counting() as counting:
        walk = walked(TASKS)
    own = {value.untyped_storage().data_ptr() for value in adaptable_parameters(walk.problem.model).values()}
    assert len(counting.left() - own) == TASKS + 1


def test_a_task_more_costs_two_tensors_while_it_walks_and_is_judged() -> None:
    """Its shared weights and, while the step is taken, those of before; never private ones, nor a dense structure."""

    def most(tasks: int) -> int:
        with Counting() as counting:
            walk = walked(tasks)
            walk.query_loss([walk.problem.model.batch(EPISODE.query[0])] * tasks)[0].backward()
        return counting.most

    few, many = most(2), most(8)
    assert (many - few) / 6 <= 2


def test_a_thousand_structures_are_held_in_bits_and_a_look_at_one_leaves_nothing() -> None:
    (shape,) = full_mask(SharedAndPrivate()).layers
    made = [PersonaMask((shape.with_edges(torch.ones(SIZE // 64, 64, dtype=torch.bool)),)) for _ in range(1000)]
    held_bytes = sum(
        layer.bits.untyped_storage().nbytes() for each in made for layer in each.layers if layer.bits is not None
    )
    assert held_bytes == 1000 * SIZE // 8
    for each in made[:3]:
        with Counting() as counting:
            each.kept()
            each.density()
        assert not counting.left()
