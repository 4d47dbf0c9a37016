"""A loaded model, settings and held-out personas become the evaluation of its method, here and in each worker."""

from collections.abc import Callable, Sequence

from menura.artefacts.loading import LoadedModel
from menura.artefacts.runs import run_path
from menura.decoding.candidates import Ranker
from menura.errors import ConfigError
from menura.evaluation.evaluate import Evaluation
from menura.evaluation.ranker import load_ranker, rank_by
from menura.evaluation.settings import EvaluateConfig
from menura.models.dialogue_model import neutral_weights
from menura.models.plato.model import Plato
from menura.tasks.split import strangers
from menura.tasks.task import Task
from menura.training.data import encoded
from menura.training.run_setup import Prepared


def build_evaluation(
    prepared: Prepared,
    settings: EvaluateConfig,
    held_out: Sequence[Task],
    make: Callable[..., Evaluation] = Evaluation,
) -> Evaluation:
    """Return the evaluation of these personas; ``make`` is its class, with what else it takes."""
    config, loaded = prepared.config, prepared.loaded
    return make(
        loaded.model,
        loaded.encoder,
        config.method,
        encoded(held_out, loaded.encoder),
        strangers(held_out),
        settings,
        bare=neutral_weights(loaded.model) if config.model.init_from else {},
        dtype=config.dtype,
        rank=_ranker(loaded, settings.ranker) if settings.ranker else None,
    )


def _ranker(loaded: LoadedModel, file: str) -> Ranker:
    if not (isinstance(loaded.model, Plato) and loaded.model.latents):
        raise ConfigError("a ranker ranks candidates, and this model says none", hint="leave --ranker out")
    return rank_by(loaded.model, load_ranker(run_path(file), loaded.init_sha256))
