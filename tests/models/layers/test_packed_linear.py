"""Matrices that are kept packed multiply as they did, and follow what becomes of the matrix."""

import pickle
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from menura.models.layers import packed_linear as packed
from menura.models.layers.packed_linear import PackedLinear, PackedWeight

needs_onednn = pytest.mark.skipif(not packed.AVAILABLE, reason="this PyTorch was built without oneDNN")
WIDTH, SIZE = 256, 300


@pytest.fixture
def linear() -> PackedLinear:
    """Make a map large enough to be packed."""
    torch.manual_seed(0)
    made = PackedLinear(WIDTH, SIZE)
    made.weight = nn.Parameter(made.weight.detach().clone())  # that was never written to
    return made


def usual(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return the product in float64."""
    assert linear.bias is not None
    return nn.functional.linear(x.double(), linear.weight.double(), linear.bias.double())


def packs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count in the returned list how often a matrix is packed."""
    made: list[int] = []
    known = PackedWeight._of

    def of(self: PackedWeight, weight: Tensor) -> Tensor:
        before = self._copy
        copy = known(self, weight)
        made.extend([1] if copy is not before else [])
        return copy

    monkeypatch.setattr(PackedWeight, "_of", of)
    return made


@needs_onednn
@pytest.mark.parametrize("rows", [1, 2, 20, 300])
def test_a_matrix_multiplies_as_it_did_packed_for_few_rows(
    linear: PackedLinear, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, x = packs(monkeypatch), torch.randn(rows, 3, WIDTH)
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(linear(x).double(), usual(linear, x), atol=1e-5, rtol=1e-5)
    assert made == [1] * (3 * rows < packed.MANY_ROWS)


def doubled(linear: PackedLinear) -> None:
    """Change the matrix in place."""
    with torch.no_grad():
        linear.weight *= 2


def loaded(linear: PackedLinear) -> None:
    """Load another one."""
    linear.load_state_dict(PackedLinear(WIDTH, SIZE).state_dict())


def replaced(linear: PackedLinear) -> None:
    """Put another one in its place."""
    linear.weight = nn.Parameter(torch.randn(SIZE, WIDTH))


def pointed_elsewhere(linear: PackedLinear) -> None:
    """Let it hold other numbers, as ``to`` does."""
    linear.weight.data = torch.randn(SIZE, WIDTH)


def put_in_the_same_place(linear: PackedLinear) -> None:
    """Put another one in its place whose numbers stand where its own stood."""
    numbers = linear.weight.detach().numpy()
    numbers *= 2
    linear.weight = nn.Parameter(torch.from_numpy(numbers))


def taught(linear: PackedLinear) -> None:
    """Take an optimiser's step."""
    with torch.enable_grad():
        linear(torch.ones(1, WIDTH)).sum().backward()
    torch.optim.AdamW(linear.parameters(), lr=1.0).step()


@needs_onednn
@pytest.mark.parametrize("change", [doubled, loaded, replaced, pointed_elsewhere, put_in_the_same_place, taught])
def test_a_matrix_that_changed_is_packed_anew(linear: PackedLinear, change: Callable[[PackedLinear], None]) -> None:
    x = torch.randn(4, WIDTH)
    with torch.no_grad():
        before = linear(x)
        change(linear)
        after = linear(x)
    torch.testing.assert_close(after.double(), usual(linear, x), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(before, after, atol=1e-2)


@needs_onednn
def test_nothing_is_packed_where_something_may_be_learnt(linear: PackedLinear, monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = packs(monkeypatch), torch.randn(4, WIDTH, requires_grad=True)
    linear(x).sum().backward()
    assert not made
    assert linear.weight.grad is not None
    torch.testing.assert_close(linear.weight.grad[0], x.detach().sum(0))


@needs_onednn
def test_a_matrix_that_is_given_for_one_call_is_the_one_that_multiplies(
    linear: PackedLinear, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, x = torch.randn(SIZE, WIDTH), torch.randn(4, WIDTH)
    with torch.no_grad():
        linear(x)
        made = packs(monkeypatch)
        found = torch.func.functional_call(linear, {"weight": given}, (x,))
    torch.testing.assert_close(found, nn.functional.linear(x, given, linear.bias))
    assert not made


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_formats_keep_theirs(linear: PackedLinear, dtype: torch.dtype) -> None:
    linear.to(dtype)
    x = torch.randn(4, WIDTH, dtype=dtype)
    with torch.no_grad():
        assert torch.equal(linear(x), nn.functional.linear(x, linear.weight, linear.bias))


@needs_onednn
def test_autocast_decides_the_format(linear: PackedLinear) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.randn(4, WIDTH)).dtype == torch.bfloat16


def test_a_copy_and_what_was_pickled_pack_their_own(linear: PackedLinear) -> None:
    x = torch.randn(4, WIDTH)
    with torch.no_grad():
        linear(x)
        for other in (deepcopy(linear), pickle.loads(pickle.dumps(linear))):
            other.weight *= 2
            torch.testing.assert_close(other(x).double(), usual(other, x), atol=1e-4, rtol=1e-4)
    assert linear.state_dict().keys() == {"weight", "bias"}


def test_without_onednn_the_product_is_the_usual_one(linear: PackedLinear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "AVAILABLE", False)
    made, x = packs(monkeypatch), torch.randn(4, WIDTH)
    with torch.no_grad():
        assert torch.equal(linear(x), nn.functional.linear(x, linear.weight, linear.bias))
    assert not made


def calls_of_onednn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note in the returned list the rows of each product by oneDNN."""
    rows: list[int] = []
    known = packed._onednn

    def product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        rows.append(len(a))
        return known(a, b, bias)

    monkeypatch.setattr(packed, "_onednn", product)
    return rows


def squared(multiply: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a number whose derivatives of every order depend on all three."""
    return multiply(x, weight, bias).square().mean()


@needs_onednn
def test_first_and_second_derivatives_are_those_of_the_usual_product(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    given = torch.randn(40, 2, WIDTH), torch.randn(SIZE, WIDTH), torch.randn(SIZE)
    calls, found = calls_of_onednn(monkeypatch), []
    for multiply, dtype in ((packed.linear, torch.float32), (nn.functional.linear, torch.float64)):
        parts = [value.to(dtype).requires_grad_() for value in given]
        first = torch.autograd.grad(squared(multiply, *parts), parts, create_graph=True)
        second = torch.autograd.grad(sum(part.square().sum() for part in first), parts)
        found.append([part.detach().double() for part in (*first, *second)])
    assert len(calls) > 3
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, atol=1e-6 * float(reference.abs().max()), rtol=1e-4)


@needs_onednn
def test_what_a_frozen_matrix_multiplies_is_not_kept_for_a_gradient() -> None:
    weight, kept = torch.randn(SIZE, WIDTH), []
    x = torch.randn(64, WIDTH, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value.shape) or value, lambda value: value):
        made = packed.linear(x, weight)
    assert kept == [weight.shape]
    (gradient,) = torch.autograd.grad(made.sum(), x)
    torch.testing.assert_close(gradient, weight.sum(0).expand(64, -1), atol=1e-4, rtol=1e-4)


@needs_onednn
def test_few_rows_small_matrices_and_transforms_are_multiplied_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, weight = calls_of_onednn(monkeypatch), torch.randn(SIZE, WIDTH)
    few, many = torch.randn(packed.ROWS - 1, WIDTH), torch.randn(64, WIDTH)
    assert torch.equal(packed.linear(few, weight), nn.functional.linear(few, weight))
    assert torch.equal(packed.linear(many, weight[:99]), nn.functional.linear(many, weight[:99]))
    each = torch.func.vmap(lambda row: packed.linear(row, weight))(many[None])
    torch.testing.assert_close(each, nn.functional.linear(many, weight)[None])
    assert not calls
    packed.linear(many, weight)
    assert calls == [64]


@needs_onednn
def test_a_map_of_a_base_keeps_its_copy_from_pass_to_pass_where_that_is_asked_for_and_never_for_one_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, base = packs(monkeypatch), nn.Linear(WIDTH, SIZE)
    with torch.inference_mode():
        x = torch.randn(8, WIDTH)
        packed.linear_of(base)(x)
        with packed.keeping_copies():
            packed.linear_of(base)(x[:1])
            assert not made
            for _ in range(2):
                torch.testing.assert_close(packed.linear_of(base)(x).double(), usual(base, x), atol=1e-5, rtol=1e-5)
        packed.linear_of(base)(x)
    assert made == [1]


@needs_onednn
@pytest.mark.parametrize("layout", [lambda a: a.t().contiguous().t(), lambda a: a[:1].expand(64, -1), lambda a: a[::2]])
def test_numbers_in_columns_repeated_and_skipped_are_multiplied_as_they_stand(
    layout: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, x, weight = calls_of_onednn(monkeypatch), layout(torch.randn(128, WIDTH)), torch.randn(WIDTH, SIZE).t()
    made = packed.linear(x, weight)
    assert calls
    torch.testing.assert_close(made.double(), x.double() @ weight.double().t(), atol=1e-4, rtol=1e-4)
