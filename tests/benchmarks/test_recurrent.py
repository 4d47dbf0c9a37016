import pytest
import torch
from torch import nn

from benchmarks import recurrent
from benchmarks.material import flat
from benchmarks.peers.meta_engines import LEARN2LEARN
from benchmarks.peers.padded import relative_error
from benchmarks.peers.padded_seq2spg import PaddedSeq2Spg, library_name, padded
from menura.batches.encode import EncodedEpisode
from menura.errors import NumericalError
from menura.models.recurrent.seq2spg import Seq2Spg, Seq2SpgConfig

TINY = Seq2SpgConfig(vocab_size=40, hidden_size=6, num_layers=2, dropout=0.0)
DRAWN = recurrent.episodes(2, TINY.vocab_size)


def test_our_meta_gradient_of_seq2spg_is_that_of_float64() -> None:
    model = recurrent.made(TINY)
    assert relative_error(recurrent.step(model, DRAWN), recurrent.reference(model, DRAWN)) < recurrent.LARGEST_ERROR


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of torch, at how learn2learn clones an LSTM
@pytest.mark.parametrize("name", recurrent.PEERS)
def test_learn2learn_computes_the_same_meta_gradient_of_seq2spg(name: str) -> None:
    if not LEARN2LEARN.exists():
        pytest.skip("learn2learn's source is fetched by make bench")
    model = recurrent.made(TINY)
    found = recurrent.learn2learn(PaddedSeq2Spg(model, recurrent.PEERS[name]), DRAWN)
    assert relative_error(found, recurrent.reference(model, DRAWN)) < recurrent.LARGEST_ERROR


@pytest.mark.parametrize("name", recurrent.PEERS)
def test_a_users_padded_seq2spg_computes_our_loss_with_our_weights(name: str) -> None:
    model = recurrent.made(TINY)
    theirs = PaddedSeq2Spg(model, recurrent.PEERS[name])
    batch = model.batch(flat(DRAWN[0].support))
    torch.testing.assert_close(theirs(padded(DRAWN[0].support)), model.loss(batch).total, rtol=1e-5, atol=1e-6)
    mine = {name: p.shape for name, p in model.named_parameters()}
    assert mine == {library_name(name): p.shape for name, p in theirs.named_parameters()}


def test_the_recurrent_peers_are_the_cells_and_the_librarys_layer() -> None:
    model = recurrent.made(TINY)
    kinds = [type(PaddedSeq2Spg(model, kind).encoder) for kind in recurrent.PEERS.values()]
    assert kinds == [nn.ModuleList, nn.LSTM]


def test_a_recurrent_meta_gradient_that_is_off_ends_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    real = recurrent.step

    def off(model: Seq2Spg, drawn: list[EncodedEpisode]) -> dict[str, torch.Tensor]:
        return {name: 1.0001 * gradient for name, gradient in real(model, drawn).items()}

    monkeypatch.setattr(recurrent, "step", off)
    monkeypatch.setattr(recurrent, "PEERS", {})
    with pytest.raises(NumericalError, match="off float64"):
        list(recurrent.run(1, config=TINY, tasks=1))


def test_the_contexts_of_a_dialogue_begin_alike_and_differ_from_episode_to_episode() -> None:
    (first, second), (query,) = DRAWN[0].support, DRAWN[0].query
    for dialogue in (first, second, query):
        assert len(dialogue) == recurrent.EXCHANGES
        for before, after in zip(dialogue, dialogue[1:], strict=False):
            so_far = before.prefix[:-1] + before.reply[:-1]
            assert after.prefix[: len(so_far)] == so_far
    assert first != second != query
    assert DRAWN[0] != DRAWN[1]
