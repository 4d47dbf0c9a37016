from pathlib import Path

import pytest
import torch
from torch import Tensor

from menura.artefacts.tensors import LIVE, SHAPE, VALUES, with_zeros, without_zeros
from menura.errors import DataError, UnsafeError

PLACE, LARGEST = Path("here"), 1 << 20


def sparse(*shape: int, share: float = 0.1, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(*shape, generator=generator).to(dtype)
    return values * (torch.rand(*shape, generator=generator) < share)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("shape", [(7, 103), (1000,), (3, 5, 67), (1001,)])
def test_tensors_come_back_bit_for_bit(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    given = {"sparse": sparse(*shape, dtype=dtype), "dense": torch.randn(4, 4), "nothing": torch.zeros(shape)}
    again = with_zeros(without_zeros(given), PLACE, largest=LARGEST)
    assert again.keys() == given.keys()
    assert all(torch.equal(again[name], value) and again[name].dtype == value.dtype for name, value in given.items())


def test_a_sparse_tensor_takes_a_bit_for_each_place_and_a_number_for_each_value() -> None:
    given = sparse(300, 400)
    made = without_zeros({"w": given})
    assert made["w" + LIVE].nbytes == 300 * 400 / 8
    assert made["w" + VALUES].numel() == int((given != 0).sum())


def test_a_tensor_with_few_zeros_is_kept_whole() -> None:
    given = {"full": torch.randn(40, 40), "small": torch.zeros(3)}
    assert without_zeros(given).keys() == given.keys()


@pytest.mark.parametrize("part", [LIVE, VALUES, SHAPE])
@pytest.mark.parametrize("damage", ["lost", "shorter", "other"])
def test_parts_that_do_not_fit_are_refused(part: str, damage: str) -> None:
    made = without_zeros({"w": sparse(30, 41)})
    whole = made.pop("w" + part)
    if damage != "lost":
        made["w" + part] = whole[:-1] if damage == "shorter" else whole.double() + 1
    if part == SHAPE and damage == "lost":
        assert with_zeros(made, PLACE, largest=LARGEST) == {}  # nothing by that name: the package's own check tells
    elif part == VALUES and damage == "other":
        assert with_zeros(made, PLACE, largest=LARGEST)["w"].dtype == torch.float64  # as the checksum tells
    else:
        with pytest.raises(DataError, match="w: its parts do not fit"):
            with_zeros(made, PLACE, largest=LARGEST)


def test_what_would_unpack_too_large_is_refused_before_memory_is_taken() -> None:
    made = without_zeros({"w": sparse(30, 41)})
    made["w" + SHAPE] = torch.tensor([1 << 40, 1 << 10])
    with pytest.raises(UnsafeError, match="unpacks to more than"):
        with_zeros(made, PLACE, largest=LARGEST)
