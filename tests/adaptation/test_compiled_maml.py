"""The compiled gradient of a whole task against the plain one: as noted down, as traced, and as machine code."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import made_up
import pytest
import torch
from counts import count
from made_up import QUERY, SUPPORT, VARIANTS, Toy, part
from not_compiled import as_it_is
from torch import Tensor
from torch._inductor import config as inductor_config
from toys import TanhNet, flat, gradient

from menura.adaptation import compile_graph
from menura.adaptation import compiled_maml as compiling
from menura.adaptation.compile_graph import Graph, check_compiler, compiled
from menura.adaptation.compiled_maml import CompiledMaml, compiled_objective
from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError, NumericalError

ONE_STEP = InnerLoop(lr=0.05, batch_size=0)
TWO_STEPS = InnerLoop(lr=0.05, batch_size=2)  # of three exchanges
SHORT = (part("q2", "eh?", "a"), part("q3", "well, what did the goat say to you this morning?", "nothing at all."))
OPTIONS: dict[str, Maml] = {
    "exact": Maml(TWO_STEPS, "exact"),
    "first": Maml(TWO_STEPS, "first"),
    "exact, hold": Maml(ONE_STEP, "exact", unadapted_loss_weight=0.3),
    "first, hold": Maml(ONE_STEP, "first", unadapted_loss_weight=0.3),
    "exact, adam, twice": Maml(replace(ONE_STEP, optimizer="adam", epochs=2, lr=0.01), "exact"),
    "first, adam, twice": Maml(replace(ONE_STEP, optimizer="adam", epochs=2, lr=0.01), "first"),
    "exact, parts": Maml(ONE_STEP, "exact", trainable="attention"),
    "first, parts": Maml(ONE_STEP, "first", trainable="attention"),
    "exact, no step": Maml(InnerLoop(epochs=0), "exact"),
}
TRACED = [("gpt2-houlsby", "exact, hold"), ("gpt2-upper", "first")]
COMPILABLE = [name for name, variant in VARIANTS.items() if variant.model == "causal_lm"]


def episodes(toy: Toy) -> list[EncodedEpisode]:
    """Return ragged episodes, the second and third of other sizes than the first; the last has a single label."""
    support, query, short = (toy.dialogues(parts) for parts in (SUPPORT, QUERY, SHORT))
    one_label = (replace(short[0][0], reply=short[0][0].reply[-1:]),)
    return [
        EncodedEpisode("mira", made, asked)
        for made, asked in (
            (support, query),
            ((*query, short[1], support[1]), short),
            ((*support[::-1],), (one_label,)),
        )
    ]


def compare(toy: Toy, plain: Maml, made: CompiledMaml, near: float, progress: float = 1.0) -> None:
    for episode in episodes(toy):
        wanted, found = (method.objective(toy.model, episode, progress) for method in (plain, made))
        assert found.total.item() == pytest.approx(wanted.total.item(), rel=near)
        assert torch.allclose(found.nll.double(), wanted.nll.detach().double(), rtol=near, atol=0)
        assert torch.equal(found.tokens, wanted.tokens)
        assert found.parts.keys() == wanted.parts.keys()
        assert all(torch.allclose(found.parts[name], value, rtol=near) for name, value in wanted.parts.items())
        ours, theirs = (flat(gradient(toy.model, loss.total)) for loss in (found, wanted))
        assert float((ours - theirs).norm() / theirs.norm()) < near


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "compiled", as_it_is)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what was noted down with sizes left open, and leave out the minute of making machine code of it."""
    monkeypatch.setattr(compile_graph, "machine_code", lambda noted, given, mode: noted)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compile truly, but for a single layer, one number at a time and in this process, which takes less time."""
    network = made_up.gpt2()
    network.transformer.h = network.transformer.h[:1]
    network.config.n_layer = 1
    monkeypatch.setattr(made_up, "gpt2", lambda: network)
    with inductor_config.patch({"cpp.simdlen": 1, "compile_threads": 1}):
        yield


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", COMPILABLE)
@pytest.mark.parametrize("order", ["exact", "first"])
def test_filled_tensors_give_every_variants_loss_and_gradient(name: str, order: Any) -> None:
    toy, said = VARIANTS[name].toy(double=True), []
    method = Maml(ONE_STEP, order)
    compare(toy, method, CompiledMaml(method, toy.model, said.append), 1e-12)
    assert len(said) == 2, "one graph, for all sizes"


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", ["lora", "gpt2-in-place"])
@pytest.mark.parametrize("order", ["exact", "first"])
def test_filled_tensors_give_the_same_in_single_precision(name: str, order: Any) -> None:
    toy = VARIANTS[name].toy()
    method = Maml(ONE_STEP, order)
    compare(toy, method, CompiledMaml(method, toy.model, print), 1e-6)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("options", OPTIONS)
def test_filled_tensors_give_every_options_loss_and_gradient(options: str) -> None:
    method = OPTIONS[options]
    # Where a gradient is all but zero Adam divides rounding by rounding.
    toy = VARIANTS["gpt2-houlsby"].toy(double=True)
    compare(toy, method, CompiledMaml(method, toy.model, print), 1e-11)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("name", "options"), TRACED[: count(full_count=2, quick_count=1)])
def test_what_is_traced_for_one_episode_holds_for_others(name: str, options: str) -> None:
    toy, said = VARIANTS[name].toy(double=True), []
    made = CompiledMaml(OPTIONS[options], toy.model, said.append)
    compare(toy, OPTIONS[options], made, 1e-12)
    assert len(said) == 2, "one graph, for all sizes"
    # The weights of now are read, not those of then.
    with torch.no_grad():
        for weight in toy.model.parameters():
            weight *= 1.1
    toy.model.forget_lower()
    compare(toy, OPTIONS[options], made, 1e-12)
    assert len(said) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
def test_machine_code_gives_the_plain_gradient_of_all_sizes() -> None:
    toy, said = VARIANTS["gpt2-houlsby"].toy(), []
    method = Maml(ONE_STEP, "exact")
    compare(toy, method, CompiledMaml(method, toy.model, said.append), 1e-6)
    assert len(said) == 2, "one graph, for all sizes"
    assert said[0].startswith("compiling the exact gradient through 1 inner step: ")


def test_a_graph_adds_up_in_one_order_and_leaves_the_switch_as_it_was() -> None:
    made = Graph(lambda one: [one * torch.are_deterministic_algorithms_enabled()], lambda given: True)
    assert torch.equal(made([torch.ones(1)])[0], torch.ones(1))
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.usefixtures("traced")
def test_a_graph_is_not_used_for_sizes_it_does_not_hold_for() -> None:
    def of_few_or_many(given: Sequence[Tensor]) -> list[Tensor]:
        return [given[1] * 2 if given[1].shape[0] > 4 else given[1] + given[0]]

    few, many = torch.ones(3), torch.ones(9)
    made = compiled(of_few_or_many, [torch.ones(1)], [few])
    assert made.fits([torch.ones(1), torch.ones(2)])
    assert not made.fits([torch.ones(1), many])
    assert torch.equal(made([torch.ones(1), torch.ones(2)])[0], torch.full((2,), 2.0))


@pytest.mark.usefixtures("uncompiled")
def test_each_number_of_steps_and_each_order_has_a_graph_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "KEPT_GRAPHS", 2)
    toy, said = VARIANTS["gpt2-houlsby"].toy(), []
    made = CompiledMaml(Maml(replace(ONE_STEP, batch_size=1), exact_from=0.5), toy.model, said.append)
    whole = episodes(toy)[0]
    one, two = (replace(whole, support=whole.support[at:]) for at in (1, 0))

    def compiles(episode: EncodedEpisode, progress: float) -> bool:
        before = len(said)
        made.objective(toy.model, episode, progress)
        return len(said) > before

    assert [compiles(one, 0), compiles(two, 0), compiles(one, 0.4)] == [True, True, False]
    assert compiles(one, 0.5), "now exact"
    assert [compiles(one, 0.4), compiles(two, 0.4)] == [False, True], "the one not used for longest was dropped"


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("order", ["exact", "first"])
def test_a_step_that_diverges_is_named_as_it_is_without_compiling(order: Any) -> None:
    toy = VARIANTS["gpt2-in-place"].toy()
    method = Maml(InnerLoop(lr=1e30, batch_size=2, epochs=2), order)
    errors = []
    for made in (method, CompiledMaml(method, toy.model, print)):
        with pytest.raises(NumericalError) as caught:
            made.objective(toy.model, episodes(toy)[0])
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    "method",
    [
        Finetune(),
        Maml(order="reptile"),
        Maml(multi_step=0.5),
        Maml(order="exact", recompute=True),
        Maml(lr_mode="layer"),
        Maml(InnerLoop(distill_weight=0.5)),
    ],
)
def test_methods_that_are_not_compiled_are_refused(method: Any) -> None:
    with pytest.raises(ConfigError, match=r"outer\.compile.*hint: leave"):
        compiled_objective(method, VARIANTS["gpt2-houlsby"].toy().model, print)


@pytest.mark.parametrize("name", ["transfer-transfo", "p2-bot"])
def test_models_that_are_not_compiled_are_refused(name: str) -> None:
    for model in (VARIANTS[name].toy().model, TanhNet()):
        with pytest.raises(ConfigError, match=r"outer\.compile.*causal_lm can"):
            compiled_objective(Maml(), model, print)


def test_a_network_of_unknown_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menura.models.causal_lm.functional_networks.NETWORKS", {})
    with pytest.raises(ConfigError, match="only layers of the fast backbone"):
        compiled_objective(Maml(), VARIANTS["gpt2-houlsby"].toy().model, print)


def test_a_machine_without_a_compiler_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"no-such-compiler is not here.*hint: install it"):
        check_compiler(torch.device("cpu"))


def test_a_compiler_that_fails_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*given: Any) -> Any:
        raise RuntimeError("C++ compile error\nmany lines")

    monkeypatch.setattr(compile_graph, "machine_code", failing)
    with pytest.raises(ConfigError, match=r"torch could not compile: C\+\+ compile error \(hint"):
        check_compiler(torch.device("cpu"))
