"""The experiments by name."""

from difflib import get_close_matches

from menura.errors import ConfigError, shown
from menura.experiments import arplus, bases, cmaml, mamlviapp
from menura.experiments.experiment import Experiment

ALL = (
    cmaml.PERSONACHAT,
    mamlviapp.PERSONACHAT,
    arplus.RPC,
    cmaml.SIMILAR,
    cmaml.DISSIMILAR,
    cmaml.MOJITALK,
    bases.BASES,
)
EXPERIMENTS: dict[str, Experiment] = {one.name: one for one in ALL}


def experiment(name: str) -> Experiment:
    """Return an experiment; ConfigError with the nearest name if there is none."""
    if name not in EXPERIMENTS:
        near = get_close_matches(name, EXPERIMENTS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(EXPERIMENTS)}"
        raise ConfigError(f"no experiment is called {shown(name)}", hint=hint, code="unknown_experiment")
    return EXPERIMENTS[name]
