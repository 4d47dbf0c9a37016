import pytest
import torch

from menura.models.layers.dropout import dropped


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_is_left_out_and_what_is_expected_stays(share: float) -> None:
    torch.manual_seed(1)
    x = torch.full((200_003,), 3.0, dtype=torch.float64)
    found = dropped(x, share)
    assert (found == 0).double().mean().item() == pytest.approx(share, abs=0.005)
    assert found[found != 0].unique().tolist() == pytest.approx([3 / (1 - share)], rel=1e-4)
    assert found.mean().item() == pytest.approx(3, rel=0.01 / (1 - share))


def test_units_are_left_out_each_by_itself() -> None:
    """One number decides on four units: these must not go together."""
    torch.manual_seed(2)
    gone = (dropped(torch.ones(400_000), 0.3) == 0).double()
    for apart in (1, 2, 3, 4):
        both = (gone[apart:] * gone[:-apart]).mean().item()
        assert both == pytest.approx(0.09, abs=0.004)


def test_nothing_left_out_is_the_same_tensor() -> None:
    x = torch.randn(3, 5)
    assert dropped(x, 0.0) is x


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (2, 0, 4), (1, 2, 3)])
def test_any_shape_will_do(shape: tuple[int, ...]) -> None:
    assert dropped(torch.ones(shape), 0.5).shape == shape
    assert dropped(torch.ones(shape).transpose(0, -1), 0.5).shape == shape[::-1]


def test_nearly_all_is_still_a_number() -> None:
    assert dropped(torch.ones(1000), 1 - 1e-9).isfinite().all()


def test_the_gradient_flows_through_what_is_kept() -> None:
    torch.manual_seed(3)
    x = torch.ones(50, requires_grad=True)
    found = dropped(x, 0.4)
    found.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert x.grad is not None
    assert torch.equal(x.grad, found.detach())
