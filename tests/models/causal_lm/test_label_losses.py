"""A gradient that is taken part by part is that of the whole loss, and takes less memory."""

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Variant

from menura.adaptation import inner_step
from menura.adaptation.inner_step import InnerProblem, loss_and_gradients
from menura.adaptation.weights import adaptable_parameters
from menura.models.causal_lm import label_losses
from menura.models.causal_lm import model as causal_lm
from menura.models.layers.adapters import Lora

NAMES = ["houlsby", "lora", "lora-upper", "special", "in-place", "gpt2-lora"]


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_parts_have_the_loss_and_the_gradient_of_the_whole(
    name: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = VARIANTS[name].toy(double=True)
    monkeypatch.setattr(causal_lm, "LOSS_TOKENS", 60)
    monkeypatch.setattr(label_losses, "AT_ONCE", 3)
    batch = toy.batch(SUPPORT + QUERY)
    if share:
        batch = toy.model.with_soft_targets(batch, share)
    weights = {key: (value + 0.01).detach().requires_grad_() for key, value in adaptable_parameters(toy.model).items()}
    problem = InnerProblem(toy.model, 0.1, False)
    assert len(toy.model.parts(batch)) > 1
    loss, gradients = loss_and_gradients(problem, weights, batch, inner_frozen={}, exact=False)
    whole, wanted = loss_and_gradients(problem, weights, batch, inner_frozen={}, exact=True)
    torch.testing.assert_close(loss, whole.detach())
    torch.testing.assert_close(gradients, tuple(gradient.detach() for gradient in wanted))
    assert not loss.requires_grad


def test_scores_of_few_labels_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Variant(kind="lora", layers="upper").toy()
    most: list[int] = []
    scored = toy.model.logits_of

    def noting(hidden: torch.Tensor) -> torch.Tensor:
        most.append(len(hidden))
        return scored(hidden)

    monkeypatch.setattr(toy.model, "logits_of", noting)
    monkeypatch.setattr(label_losses, "AT_ONCE", 4)
    batch = toy.batch(SUPPORT)
    weights = {key: value.detach().requires_grad_() for key, value in adaptable_parameters(toy.model).items()}
    loss_and_gradients(InnerProblem(toy.model, 0.1, False), weights, batch, inner_frozen={}, exact=False)
    assert max(most) == 4
    assert sum(most) == 2 * int(batch.reply_lengths.sum())  # once more for the gradient
    toy.model.loss(batch)
    assert max(most) > 4


def test_each_part_s_graph_is_let_go_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Variant(kind="lora").toy()
    monkeypatch.setattr(causal_lm, "LOSS_TOKENS", 1)
    chunks: list[int | None] = []
    own = inner_step.loss_with
    monkeypatch.setattr(
        inner_step, "loss_with", lambda model, weights, part: chunks.append(part.chunk) or own(model, weights, part)
    )
    batch = toy.batch(SUPPORT + QUERY)
    weights = {key: value.detach().requires_grad_() for key, value in adaptable_parameters(toy.model).items()}
    loss_and_gradients(InnerProblem(toy.model, 0.1, False), weights, batch, inner_frozen={}, exact=False)
    assert chunks == list(range(len(batch.packed.rows)))
    assert all(part.packed is batch.packed for part in toy.model.parts(batch))


def test_lora_beside_a_half_precise_map_has_the_gradient_it_has_in_full_precision() -> None:
    torch.manual_seed(5)
    lora = Lora(6, 4, 2)
    lora.up.weight.data.normal_()
    inputs, output = torch.randn(3, 6).bfloat16(), torch.zeros(3, 4, dtype=torch.bfloat16)
    parameters = [lora.down.weight, lora.up.weight]

    def slopes(given: torch.Tensor, onto: torch.Tensor) -> tuple[torch.Tensor, ...]:
        leaf = given.clone().requires_grad_()
        return torch.autograd.grad(lora(leaf, onto).float().pow(2).sum(), [leaf, *parameters])

    half, full = slopes(inputs, output), slopes(inputs.float(), output.float())
    assert half[0].dtype == torch.bfloat16
    for ours, wanted in zip(half, full, strict=True):
        torch.testing.assert_close(ours.float(), wanted, rtol=0.03, atol=0.03)
    assert all(value.dtype == torch.float32 for value in half[1:])
