"""The experiments by name."""

from menura.experiments import arplus, arplus_studies, bases, cmaml, mamlviapp, plato
from menura.experiments.experiment import Experiment, named

ALL = (
    cmaml.PERSONACHAT,
    mamlviapp.PERSONACHAT,
    arplus.RPC,
    plato.DAILYDIALOG,
    cmaml.SIMILAR,
    cmaml.DISSIMILAR,
    cmaml.MOJITALK,
    bases.BASES,
    plato.PERSONACHAT,
    plato.AVSD,
    plato.GRID,
    plato.SEARCH,
    arplus_studies.INEFFECTIVE,
    arplus_studies.STRENGTH,
)
EXPERIMENTS: dict[str, Experiment] = {one.name: one for one in ALL}


def experiment(name: str) -> Experiment:
    """Return an experiment; ConfigError with the nearest name if there is none."""
    return named(name, EXPERIMENTS, "experiment")
