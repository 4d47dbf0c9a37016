import torch
from torch import nn

from menura.models.recurrent.rnn import Gru


def layers() -> tuple[Gru, nn.GRU]:
    """Return ours and torch's own with the same weights, in float64."""
    torch.manual_seed(0)
    ours, theirs = Gru(5, 7, 2, 0.0).double(), nn.GRU(5, 7, 2).double()
    with torch.no_grad():
        for layer, cell in enumerate(ours.cells):
            for kind in ("weight", "bias"):
                getattr(theirs, f"{kind}_ih_l{layer}").copy_(getattr(cell.given, kind))
                getattr(theirs, f"{kind}_hh_l{layer}").copy_(getattr(cell.recurrent, kind))
    return ours, theirs


def test_the_layers_are_torchs_own_at_every_end_of_rows_of_unequal_length() -> None:
    ours, theirs = layers()
    rows = [torch.randn(length, 5).double() for length in (6, 4, 1)]
    states = ours(nn.utils.rnn.pad_sequence(rows))
    for place, row in enumerate(rows):
        torch.testing.assert_close(states[: len(row), place], theirs(row)[0], rtol=1e-12, atol=1e-12)


def test_weights_beside_the_model_are_those_that_act() -> None:
    ours, _ = layers()
    inputs = torch.randn(4, 2, 5).double()
    weights = {name: (value.detach() * 2).requires_grad_() for name, value in ours.named_parameters()}
    beside = torch.func.functional_call(ours, weights, (inputs,))
    assert not torch.equal(beside, ours(inputs))
    assert all(bool(g.any()) for g in torch.autograd.grad(beside.sum(), list(weights.values())))


def test_nothing_to_read_is_no_state() -> None:
    assert layers()[0](torch.zeros(0, 3, 5).double()).shape == (0, 3, 7)
