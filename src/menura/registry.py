"""The models and methods by name, those of other packages among them.

``models/catalogue.py`` builds models; the registry adds how their weights are loaded, how their vocabulary is learnt,
and the default method of a persona. A package outside of Menura adds its own with ``menura.register_model`` and
``menura.register_method``, or with an entry point of the groups ``menura.models`` and ``menura.methods``: every command
then has them, without a line of code that imports the package.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from menura.errors import ConfigError, shown
from menura.models.catalogue import MODELS as ENTRIES
from menura.models.catalogue import BuildInputs, Catalogue, ModelEntry, ModelSettings

if TYPE_CHECKING:
    from menura.adaptation.protocol import Adaptation
    from menura.artefacts.loading import LoadedModel, LoadOptions, Vocabulary
    from menura.batches.encode import Encoder
    from menura.corpus.dialogue import Profile
    from menura.tasks.task import Task

MODEL_GROUP, METHOD_GROUP = "menura.models", "menura.methods"  # of entry points
OF_METHODS = ("attach", "objective", "adapt", "second_order", "has_inner_loop", "name")


def _no_inputs(_settings: Any, _prefix: str) -> BuildInputs:
    """Return build inputs for a model that needs no base and no vocabulary to be built."""
    return BuildInputs()


@dataclass(frozen=True)
class RegisteredModel:
    """A model with all that the program asks of it; each callable takes settings of the class ``entry.settings``.

    ``load`` returns the model with its weights. ``learn_vocabulary`` returns the vocabulary of a model over words or
    subwords, from the tasks of the training split, or None where its settings keep the base's; None for a model with a
    tokenizer of its own. ``train_encoder`` returns the encoder of the training split from the usual one and its
    profiles. ``default_method`` is the default method of a persona; None is that of the default base. ``count_inputs``
    returns the build inputs for counting parameters; its second argument is the prefix of a setting's name in
    ``--set``.
    """

    entry: ModelEntry
    load: "Callable[[Any, LoadOptions], LoadedModel]"
    learn_vocabulary: "Callable[[Any, Sequence[Task]], Vocabulary | None] | None" = None
    train_encoder: "Callable[[Any, Encoder, Sequence[Profile]], Encoder] | None" = None
    default_method: "Adaptation | None" = None
    count_inputs: Callable[[Any, str], BuildInputs] = _no_inputs


def _causal_lm(name: str) -> RegisteredModel:
    from menura.artefacts.loaders.causal_lm import causal_lm_inputs, load_causal_lm

    return RegisteredModel(ENTRIES[name], load_causal_lm, count_inputs=causal_lm_inputs)


def _over_words(name: str) -> RegisteredModel:
    return model_over_words(ENTRIES[name])


def _plato(name: str) -> RegisteredModel:
    from menura.adaptation.default_methods import PLATO_PERSONA
    from menura.artefacts.loaders import plato as loader

    return RegisteredModel(
        ENTRIES[name],
        loader.load_plato,
        learn_vocabulary=loader.learn_pieces,
        default_method=PLATO_PERSONA,
        count_inputs=loader.plato_inputs,
    )


def _lic(name: str) -> RegisteredModel:
    from menura.artefacts.loaders.lic import lic_inputs, load_lic

    return RegisteredModel(ENTRIES[name], load_lic, count_inputs=lic_inputs)


def _attention_routing(name: str) -> RegisteredModel:
    from menura.adaptation.default_methods import ROUTING_PERSONA
    from menura.artefacts.loaders import attention_routing as loader

    return RegisteredModel(
        ENTRIES[name],
        loader.load_attention_routing,
        learn_vocabulary=loader.learn_pieces,
        train_encoder=loader.train_encoder,
        default_method=ROUTING_PERSONA,
        count_inputs=loader.attention_routing_inputs,
    )


def model_over_words(entry: ModelEntry) -> RegisteredModel:
    """Return a model over words with the usual loader: its settings have ``vocab_size``, its table is that large.

    ``build`` gets settings with ``vocab_size`` filled in. In a model with ``suppress_ids`` the tokens are set that no
    reply may contain.
    """
    from menura.artefacts.loaders.recurrent import learn_words, load_over_words, word_model_inputs

    return RegisteredModel(entry, load_over_words, learn_vocabulary=learn_words, count_inputs=word_model_inputs)


_LOADERS: dict[str, Callable[[str], RegisteredModel]] = {
    **dict.fromkeys(("causal_lm", "transfer_transfo", "p2_bot"), _causal_lm),
    **dict.fromkeys(("seq2seq", "speaker", "seq2spg", "hierarchical", "ivae_mi"), _over_words),
    "plato": _plato,
    "lic": _lic,
    "attention_routing": _attention_routing,
}


def _join(name: str) -> Callable[[], RegisteredModel]:
    return lambda: _LOADERS[name](name)


_MODELS: Catalogue[RegisteredModel] = Catalogue("model", {name: _join(name) for name in _LOADERS})
_discovered: set[str] = set()  # groups of entry points that were looked for


def register_model(model: RegisteredModel) -> None:
    """Add a model to all commands.

    Raises ConfigError for settings without a name, a model that lacks an ability of ``DialogueModel``, which is named,
    and for a name that is taken.
    """
    from menura.models.dialogue_model import DialogueModel

    settings = model.entry.settings
    name = getattr(settings, "name", "")
    if not (isinstance(name, str) and name and is_dataclass(settings)):
        told = f"{settings.__name__}: settings of a model are a frozen dataclass with its name"
        raise ConfigError(told, hint='name: ClassVar[str] = "…"', code="lacks_ability")
    lacking = [field for field in ("init_from", "max_length") if field not in settings.__dataclass_fields__]
    if lacking:
        raise _lacks("model", name, lacking, f"add them to {settings.__name__}")
    if not issubclass(model.entry.model, DialogueModel):
        raise _lacks("model", name, ["DialogueModel"], f"let {model.entry.model.__name__} inherit from it")
    if abstract := sorted(model.entry.model.__abstractmethods__):
        raise _lacks("model", name, abstract, f"{model.entry.model.__name__} must have what every DialogueModel has")
    ENTRIES.add(name, lambda: model.entry)
    _MODELS.add(name, lambda: model)


def register_method(method: "type[Adaptation]") -> None:
    """Add a method to all commands; raises as ``register_model``."""
    from menura.adaptation.catalogue import METHODS

    name = getattr(method, "name", "") or method.__name__
    if lacking := [ability for ability in OF_METHODS if not hasattr(method, ability)]:
        raise _lacks("method", str(name), lacking, "see menura.adaptation.protocol.Adaptation")
    if not is_dataclass(method):
        raise _lacks("method", str(name), ["settings"], "make it a frozen dataclass")
    METHODS.add(str(name), lambda: method)


def unregister(name: str) -> None:
    """Take out a model or method that was registered, if it is there."""
    from menura.adaptation.catalogue import METHODS

    for catalogue in (_MODELS, ENTRIES, METHODS):
        if name in catalogue:
            catalogue.remove(name)


def model(name: str) -> RegisteredModel:
    """Return a model; ConfigError with the nearest name if there is none."""
    if name not in _MODELS:
        _discover(MODEL_GROUP)
    if name not in _MODELS:
        raise _unknown("model", name, list(_MODELS))
    return _MODELS[name]


def method(name: str) -> "type[Adaptation]":
    """Return a method; ConfigError with the nearest name if there is none."""
    from menura.adaptation.catalogue import METHODS

    if name not in METHODS:
        _discover(METHOD_GROUP)
    if name not in METHODS:
        raise _unknown("method", name, list(METHODS))
    return METHODS[name]


def models() -> list[RegisteredModel]:
    """Return all models, those of other packages last."""
    _discover(MODEL_GROUP)
    return list(_MODELS.values())


def method_names() -> list[str]:
    """Return the names of all methods, those of other packages last."""
    from menura.adaptation.catalogue import METHODS

    _discover(METHOD_GROUP)
    return list(METHODS)


def settings_from(plain: Mapping[str, Any]) -> Any:
    """Return a model's settings from plain data that ``named_settings`` made of them.

    Without a name, as before there were several models, they are a causal_lm's. Raises ConfigError for settings that
    the model has not, and for values that are none.
    """
    named = {"name": "causal_lm", **plain}
    return _made(model(str(named.pop("name"))).entry.settings, named, "model.")


def method_from(plain: Mapping[str, Any]) -> "Adaptation":
    """Return a method from its name and settings as a persona's record has them; raises as ``settings_from``."""
    named = dict(plain)
    made: Adaptation = _made(method(str(named.pop("name"))), named, "method.")
    return made


def _made(kind: Any, plain: Mapping[str, Any], path: str) -> Any:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in plain.items():
        if name not in kind.__dataclass_fields__:
            raise ConfigError(f"unknown setting {shown(path + name)}", code="unknown_setting")
        if is_dataclass(hints[name]) and isinstance(value, Mapping):
            values[name] = _made(hints[name], value, f"{path}{name}.")
            continue
        try:
            values[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            told = f"setting {path}{name}: {shown(str(value))} is not valid: {error.errors()[0]['msg']}"
            raise ConfigError(told, code="bad_setting") from error
    return kind(**values)


def load_model(settings: ModelSettings, options: "LoadOptions | None" = None, *, device: str = "cpu") -> "LoadedModel":
    """Build the model of these settings, with its weights, on a device.

    Raises what loading its base raises, and MismatchError for weights made for another base, other words or adapters.
    """
    from menura.artefacts.loading import LoadOptions

    loaded = model(settings.name).load(settings, replace(options or LoadOptions(), device=device))
    return replace(loaded, model=loaded.model.to(device))


def device_of(name: str) -> str:
    """Return the device to compute on (``auto``: a GPU where there is one); ConfigError if it is not there."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name}: {str(error).splitlines()[0][:80]}", hint="--device cpu") from error
    return name


def _discover(group: str) -> None:
    """Register what other packages offer by entry points, once a process; ConfigError names one that cannot be read."""
    if group in _discovered:
        return
    _discovered.add(group)
    for point in entry_points(group=group):
        try:
            offered = point.load()
        except Exception as error:  # any error of another package is reported with its name
            told = f"entry point {point.name} of {group} cannot be loaded: {type(error).__name__}: {error}"
            raise ConfigError(
                told, hint=f"mend or uninstall {point.value.partition(':')[0]}", code="entry_point"
            ) from error
        register_model(offered) if group == MODEL_GROUP else register_method(offered)


def _lacks(what: str, name: str, abilities: Sequence[str], hint: str) -> ConfigError:
    return ConfigError(f"{what} {shown(name)} lacks {', '.join(abilities)}", hint=hint, code="lacks_ability")


def _unknown(what: str, name: str, names: Sequence[str]) -> ConfigError:
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"
    return ConfigError(f"unknown {what} {shown(name)}", hint=hint, code=f"unknown_{what}")
