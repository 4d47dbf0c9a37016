import pytest
import torch
from made_up import VARIANTS, Toy, part
from torch import Tensor
from toys import flat, gradient

from menura.batches.batch import Batch
from menura.batches.padded import FEWEST_LABELS, FEWEST_ROWS, PaddedBatch, PaddedChunk
from menura.tasks.task import DialogueView

LINES = (
    part("s1", "hi", "tick tock, hello!", "what?", "my clocks."),
    part("s2", "a pet?", "fern the goat, of course."),
)
ALONE = LINES[1:]


def roomier(given: PaddedChunk) -> PaddedChunk:
    """Fill up further in every direction, with tokens and labels that would matter if they counted."""
    rows, length = given.pad_index.shape
    pad_index = torch.full((rows + 3, length + 5), len(given.packed) - 1)
    attention_mask = given.attention_mask.new_zeros(pad_index.shape)
    pad_index[:rows, :length] = torch.where(given.attention_mask > 0, given.pad_index, len(given.packed) - 1)
    attention_mask[:rows, :length] = given.attention_mask
    unpad_index = given.unpad_index // length * (length + 5) + given.unpad_index % length

    def more(column: Tensor, filling: int) -> Tensor:
        return torch.cat([torch.where(given.label_mask > 0, column, filling), column.new_full((4,), filling)])

    labels = more(given.predict_index, 3), more(given.labels, 70), more(given.label_mask, 0)
    return PaddedChunk(given.packed, given.positions, pad_index, attention_mask, unpad_index, *labels)


def filled_batch(toy: Toy, batch: Batch) -> PaddedBatch:
    made = toy.model.padded(batch)
    assert isinstance(made, PaddedBatch)
    return made


@pytest.mark.parametrize("name", ["houlsby", "gpt2-upper", "gpt2-in-place", "prompt"])
@pytest.mark.parametrize("lines", [LINES, ALONE], ids=["two rows", "one row"])
def test_what_a_batch_is_filled_up_with_changes_neither_loss_nor_gradient(
    name: str, lines: tuple[DialogueView, ...]
) -> None:
    toy = VARIANTS[name].toy(double=True)
    batch = toy.batch(lines)
    made = filled_batch(toy, batch)
    more = PaddedBatch(made.exchanges, made.device, tuple(roomier(given) for given in made.parts))
    wanted = toy.model.loss(batch)
    theirs = flat(gradient(toy.model, wanted.total))
    for found in (toy.model.loss(made), toy.model.loss(more)):
        assert found.total.item() == pytest.approx(wanted.total.item(), rel=1e-13)
        ours = flat(gradient(toy.model, found.total))
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-12


def test_a_single_row_and_a_single_label_are_filled_up_to_two() -> None:
    toy = VARIANTS["gpt2-houlsby"].toy()
    [dialogue] = toy.dialogues((part("q", "eh?", ""),))
    (given,) = filled_batch(toy, toy.model.batch(dialogue)).parts
    assert len(dialogue[0].reply) == 1
    assert given.pad_index.shape[0] == FEWEST_ROWS
    assert given.label_mask.tolist() == [1.0] + [0.0] * (FEWEST_LABELS - 1)


def test_numbers_a_label_are_summed_by_exchange() -> None:
    toy = VARIANTS["gpt2-houlsby"].toy(double=True)
    batch = toy.batch(LINES)
    made = filled_batch(toy, batch)
    loss, wanted = toy.model.loss(made), toy.model.loss(batch)
    assert torch.allclose(made.by_exchange(loss.nll), wanted.nll, rtol=1e-12)
    assert torch.equal(made.by_exchange(loss.tokens).long(), wanted.tokens)
