"""What a training holds of its personas' structures: bits, however it came by them."""

from pathlib import Path

from made_up_chat import write
from small_training import config_for, train

from menura.adaptation.masks import PersonaMask, full_mask
from menura.training.overrides import with_settings
from menura.training.trainer import Training

SETTINGS = (
    "model=seq2spg",
    "model.hidden_size=12",
    "model.num_layers=1",
    "model.max_length=128",
    "outer.shots=2",
    "outer.meta_batch_size=2",
)


def held_bytes(masks: list[PersonaMask]) -> int:
    """Return the bytes of all memory that these structures' bits lie in, shared ones counted once."""
    bits = [layer.bits for mask in masks for layer in mask.layers if layer.bits is not None]
    return sum({part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in bits}.values())


def test_a_training_holds_a_bit_an_edge_that_can_go_found_or_read_again(tmp_path: Path) -> None:
    corpus = write(tmp_path / "chat.jsonl")
    config = with_settings(config_for(corpus, *SETTINGS, "outer.steps=2"), ["method=cmaml", "method.prune_epochs=1"])
    measured: list[tuple[int, int, int]] = []

    def measure(step: int, training: Training) -> None:
        masks = list(training.masks.values())
        layers = full_mask(training.model).layers[1:-1]
        wanted = sum(-(-layer.out_units * layer.in_units // 8) for layer in layers)
        measured.append((len(masks), held_bytes(masks), wanted))
        if step == 1 and len(measured) == 1:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    try:
        train(config, folder, measure)
    except KeyboardInterrupt:
        train(config, folder, measure)
    assert len(measured) == 3, "once as they were found, twice as they were read again"
    for personas, found, wanted in measured:
        assert personas > 5
        assert found == personas * wanted
