from collections.abc import Mapping
from importlib.util import find_spec

import pytest
import torch
from not_compiled import as_it_is
from torch import Tensor

from benchmarks import generating, meta_step
from benchmarks.material import LABELS, LONGEST, SHORTEST, Layers, Size, episodes, flat, network, ours, ragged
from benchmarks.meta_step import RATE, peer_ways, step
from benchmarks.peers.meta_engines import LEARN2LEARN, PEERS, reference
from benchmarks.peers.padded import IGNORED, adapting, padded, peer_name, relative_error, twin
from menura.adaptation import compile_graph, compiled_maml
from menura.adaptation.inner_loop import Order
from menura.decoding.sampling import Greedy
from menura.errors import MismatchError, NumericalError
from menura.models.causal_lm.model import CausalLm

TINY = Size(width=16, depth=2, heads=2, vocabulary=50)
DRAWN = episodes(2, 3, TINY.vocabulary)


def small(layers: Layers) -> CausalLm:
    return ours(network(TINY), layers, size=4)


def wanted(layers: Layers, order: Order) -> Mapping[str, Tensor]:
    return reference(twin(small(layers)), DRAWN, RATE, order)


@pytest.mark.parametrize("order", ["exact", "first"])
@pytest.mark.parametrize("layers", ["upper", "all", "none"])
def test_our_meta_gradient_is_that_of_float64(layers: Layers, order: Order) -> None:
    assert relative_error(step(small(layers), order, DRAWN), wanted(layers, order)) < 1e-5


@pytest.mark.parametrize("order", ["exact", "first"])
@pytest.mark.parametrize("name", PEERS)
def test_every_peer_computes_the_same_meta_gradient(name: str, order: Order) -> None:
    if name == "learn2learn" and not LEARN2LEARN.exists():
        pytest.skip("learn2learn's source is fetched by make bench")
    if name == "higher" and find_spec("higher") is None:
        pytest.skip("higher is installed by make bench")
    way = peer_ways(small("all"), order, DRAWN).get(name)
    if way is None:
        assert (name, order) == ("PAML-style loop", "exact")
        return
    assert relative_error(way(), wanted("all", order)) < 1e-5


def test_exact_and_first_order_are_not_the_same() -> None:
    assert relative_error(wanted("none", "first"), wanted("none", "exact")) > 1e-3


def test_a_meta_gradient_that_is_off_ends_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    real = meta_step.step
    monkeypatch.setattr(meta_step, "step", lambda *given: {n: 1.0001 * g for n, g in real(*given).items()})
    monkeypatch.setattr(meta_step, "peer_ways", lambda *given: {})
    with pytest.raises(NumericalError, match="off float64"):
        list(meta_step.run(meta_step.CASES["upper-first"], 1, tasks=1, sequences=1))


def test_a_compiled_row_is_checked_and_compared_with_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_maml, "compiled", as_it_is)
    monkeypatch.setattr(compile_graph, "compiled", as_it_is)
    monkeypatch.setattr(meta_step, "peer_ways", lambda *given: {})
    found = list(meta_step.run(meta_step.CASES["all-exact-compiled"], 1, tasks=1, sequences=1))
    assert [ratio.peer for ratio in found] == [meta_step.NOT_COMPILED]


def test_the_peers_network_computes_our_loss() -> None:
    for layers in ("upper", "none"):
        model = small(layers)
        batch = model.batch(flat(DRAWN[0].support))
        rows = padded(DRAWN[0].support)
        theirs = twin(model)(input_ids=rows.ids, attention_mask=rows.mask, labels=rows.labels).loss
        torch.testing.assert_close(theirs, model.loss(batch).total, rtol=1e-5, atol=1e-6)


def test_the_same_parameters_adapt_on_both_sides() -> None:
    for layers in ("upper", "all", "none"):
        model = small(layers)
        mine = {peer_name(name): p.shape for name, p in model.named_parameters() if p.requires_grad}
        assert mine == {name: p.shape for name, p in adapting(twin(model)).items()}


def test_a_missing_gradient_is_no_small_error() -> None:
    whole = {"a": torch.ones(2), "b": torch.ones(2)}
    assert not relative_error({"a": torch.ones(2)}, whole) < 1
    assert relative_error({"a": torch.ones(2), "b": torch.tensor([1.0, 2.0])}, whole) == pytest.approx(0.5)


def test_sequences_are_ragged_and_a_fifth_of_each_is_labels() -> None:
    lengths = [len(e.ids) for e in flat(ragged(200, seed=0))]
    assert (min(lengths), max(lengths)) == (SHORTEST, LONGEST)
    rows = padded(ragged(200, seed=0))
    shares = (rows.labels != IGNORED).sum(1) / rows.mask.sum(1)
    assert shares.min() > LABELS - 0.03
    assert shares.max() < LABELS + 0.03


def test_rows_that_write_other_tokens_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("none")
    batch = generating.prompts(model, 2, TINY.vocabulary)
    assert generating.our_way(model, batch, Greedy()) == generating.their_way(model.network, batch, sampling=False)
    monkeypatch.setattr(generating, "our_way", lambda *given: [[0]])
    with pytest.raises(MismatchError):
        list(generating.compared("x", model, batch, Greedy(), 1, None))
