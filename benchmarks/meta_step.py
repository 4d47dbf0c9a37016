"""Row group 1: a meta-step of a causal language model, and how far every engine's meta-gradient is from float64's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from benchmarks.material import Layers, episodes, network, ours
from benchmarks.paired import Ratio, Row, Way, against, timed
from benchmarks.peers.meta_engines import PEERS, reference
from benchmarks.peers.padded import peer_name, relative_error, twin
from menura.adaptation.compiled_maml import Objective, compiled_objective
from menura.adaptation.inner_loop import InnerLoop, Order
from menura.adaptation.maml import Maml
from menura.batches.encode import EncodedEpisode
from menura.errors import NumericalError
from menura.models.causal_lm.model import CausalLm

TASKS, SEQUENCES = 4, 8  # in a meta-step; in a support set, and in a query set
RATE = 0.05  # of the one inner step
LARGEST_ERROR = 1e-5  # of our meta-gradient, relative to that of float64
OURS, FIRST_VISIT = "menura", "menura, lower layers computed anew"
NOT_COMPILED = "not compiled"  # ours too, beside a case that is


@dataclass(frozen=True)
class Case:
    """What adapts, how exactly, and what is promised of the ratio to each peer."""

    layers: Layers
    order: Order
    at_least: Mapping[str, float] = field(default_factory=dict)
    peers: Sequence[str] = tuple(PEERS)
    compiled: bool = False

    @property
    def what(self) -> str:
        """Name it."""
        where = {"upper": "adapters, upper half", "all": "adapters, all layers", "none": "all parameters"}
        return f"meta-step, {where[self.layers]}, {'exact' if self.order == 'exact' else 'first order'}" + (
            ", compiled" if self.compiled else ""
        )


CASES = {
    "upper-exact": Case("upper", "exact", {"learn2learn": 1.9}),
    "upper-first": Case("upper", "first", {"learn2learn": 2.2}),
    "all-exact": Case("all", "exact", {"learn2learn": 1.35}, peers=("learn2learn",)),
    "all-exact-compiled": Case("all", "exact", {"learn2learn": 2.0}, peers=("learn2learn",), compiled=True),
    "all-first": Case("all", "first", peers=("learn2learn",)),
    "parameters-exact": Case("none", "exact", {"learn2learn": 1.3}),
    "parameters-first": Case("none", "first", {"learn2learn": 1.4}),
}


def rows() -> dict[str, Row]:
    """Return the rows by name."""
    return {f"meta-{name}": partial(run, case) for name, case in CASES.items()}


def run(case: Case, rounds: int, *, tasks: int = TASKS, sequences: int = SEQUENCES) -> Iterator[Ratio]:
    """Compare one case; NumericalError if our meta-gradient is off."""
    drawn = episodes(tasks, sequences)
    model = ours(network(), case.layers)
    peers = {name: way for name, way in peer_ways(model, case.order, drawn).items() if name in case.peers}
    plain = partial(step, model, case.order, drawn)
    ways: dict[str, Way] = {OURS: plain, **peers}
    if case.compiled:
        made = compiled_objective(method(case.order), model, lambda line: print(f"  {case.what}: {line}", flush=True))
        ways |= {OURS: partial(step, model, case.order, drawn, made), NOT_COMPILED: plain}
    for name, error in errors(ways, reference(twin(model), drawn, RATE, case.order)).items():
        print(f"  {case.what}: {name}, gradient error {error:.1e}", flush=True)
        if name == OURS and not error <= LARGEST_ERROR:
            raise NumericalError(
                f"{case.what}: our meta-gradient is {error:.1e} off float64's, at most {LARGEST_ERROR}"
            )
    if model.lower_is_frozen:
        ways[FIRST_VISIT] = partial(first_visit, model, case.order, drawn)
    seconds = timed(ways, rounds)
    yield from against(case.what, OURS, seconds, case.at_least)
    if FIRST_VISIT in ways:
        yield against(f"{case.what}, each exchange seen for the first time", FIRST_VISIT, seconds, {})[0]


def peer_ways(model: CausalLm, order: Order, drawn: Sequence[EncodedEpisode]) -> dict[str, Way]:
    """Give each peer a network of its own."""
    names = [name for name in PEERS if name != "PAML-style loop" or order == "first"]
    # Fused attention has no second derivative, and no rule for vmap; elsewhere it is the library's default.
    plain = {name: order == "exact" or "vmap" in name for name in names}
    networks = {name: twin(model, "eager" if plain[name] else "sdpa") for name in names}
    return {name: partial(PEERS[name], networks[name], drawn, RATE, order) for name in names}


def method(order: Order) -> Maml:
    """Return the method whose step all rows take."""
    return Maml(InnerLoop(lr=RATE, epochs=1, batch_size=0), order)


def step(
    model: CausalLm, order: Order, drawn: Sequence[EncodedEpisode], objective: Objective | None = None
) -> Mapping[str, Tensor]:
    """Compute our meta-gradient, task by task, under the peers' names; ``objective`` stands in for the method's own."""
    objective = objective or method(order).objective
    model.zero_grad(set_to_none=True)
    for episode in drawn:
        (objective(model, episode, 1.0).total / len(drawn)).backward()
    return {peer_name(name): p.grad for name, p in model.named_parameters() if p.grad is not None}


def first_visit(model: CausalLm, order: Order, drawn: Sequence[EncodedEpisode]) -> None:
    """Compute it with nothing kept from earlier steps."""
    model.forget_lower()
    step(model, order, drawn)


def errors(ways: Mapping[str, Way], wanted: Mapping[str, Tensor]) -> dict[str, float]:
    """Return each engine's relative distance from the reference."""
    found = {name: way() for name, way in ways.items()}
    return {name: relative_error(value, wanted) for name, value in found.items()}  # type: ignore[arg-type]
