"""A name becomes a model, agents that reply, or the method that adapts a persona on it."""

from collections.abc import Callable, Sequence
from typing import Any

from menura import registry
from menura.adaptation.default_methods import DEFAULT_PERSONA
from menura.adaptation.protocol import Adaptation, AdaptsPart
from menura.api.agent import Agent, Model, model_of, persona_on
from menura.api.options import overridden
from menura.artefacts import persona_store
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.loading import DEFAULT, LoadedModel, LoadOptions
from menura.artefacts.runs import run_path


def load(
    name: str = DEFAULT,
    *,
    device: str = "cpu",
    offline: bool = False,
    dtype: Dtype = "float32",
    assignments: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Model:
    """Return a model by name: ``shipped`` (the default base and its adapter checkpoint), a base, a folder, a hub id.

    A folder may hold a base, or be that of a run: then its best weights are loaded. ``dtype`` is the number type of the
    base, ``auto`` bfloat16 where float32 would take over half of the free memory; ``say`` is told so. ``assignments``
    are settings of the model as ``path=value``, such as ``adapters.rank=4``; ConfigError for one that is none.
    """
    options = LoadOptions(offline=offline, dtype=dtype, say=say)
    if _is_run(name):
        settings = overridden(_run(name).model, None, assignments)
        return Model(registry.load_model(settings, options, device=device), method=usual_method(name))
    from menura.artefacts.loaders.causal_lm import settings_for

    settings = overridden(settings_for(name, offline=offline, say=say), None, assignments)
    return Model(registry.load_model(settings, options, device=device))


def agents(
    names: Sequence[str],
    *,
    device: str = "cpu",
    offline: bool = False,
    dtype: Dtype = "float32",
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Agent]:
    """Return personas, models or runs by name; personas made for one model share it in memory. Options as ``load``."""
    options = LoadOptions(offline=offline, dtype=dtype, say=say)
    made: dict[str, Agent] = {}
    shared: dict[str, LoadedModel] = {}
    for name in names:
        if _is_model(name):
            made[name] = load(name, device=device, offline=offline, dtype=dtype, say=say)
            continue
        artefact = persona_store.load(name)
        key = str(artefact.model)
        if key not in shared:
            shared[key] = model_of(artefact, device, options)
        artefact.check_fits(shared[key])
        made[name] = persona_on(shared[key], artefact)
    return made


def without_persona(agent: Agent) -> Agent:
    """Return an agent's model without the persona."""
    return Model(agent.loaded)


def usual_method(base: str) -> Adaptation:
    """Return the default method for a persona on this base.

    For a run of a model with a default method of its own: the run's method if it has an inner loop, else that default.
    """
    run = _run(base) if _is_run(base) else None
    own = registry.model(run.model.name).default_method if run else None
    if run is None or own is None:
        return DEFAULT_PERSONA
    trained: Adaptation = run.method
    return trained if trained.has_inner_loop else own


def method_on(model: Model, base: str, name: str) -> Adaptation:
    """Return the method of this name: as the run that ``base`` names has it, else with its usual settings.

    One of which a persona is a part moves that part alone where nothing else is set. Raises ConfigError for a name that
    is none.
    """
    method: Adaptation = registry.method(name)()
    if _is_run(base) and isinstance(trained := _run(base).method, type(method)):
        method = trained
    return method.for_persona(model.loaded.model) if isinstance(method, AdaptsPart) else method


def _is_run(name: str) -> bool:
    """Tell whether a name is that of a run's folder; a name that no file can have is none."""
    try:
        return (run_path(name) / "run.json").exists()
    except OSError:
        return False


def _is_model(name: str) -> bool:
    from menura.artefacts.bases.catalogue import BASES

    return name == DEFAULT or name in BASES or _is_run(name)


def _run(folder: str) -> Any:
    """Return the settings of a run, its model beginning at the best weights."""
    from menura.evaluation.run import config_of

    return config_of(folder)
