"""What is typed of a model and a method becomes both, loaded; for a persona that goes on, those it was made with."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from menura import registry
from menura.adaptation.protocol import Adaptation
from menura.api.agent import Model, model_of
from menura.api.loading import load, method_on, usual_method
from menura.api.options import overridden
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.loading import DEFAULT, LoadOptions
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.errors import MismatchError

MODEL, METHOD = "model.", "method."  # begin the paths of settings, as in recipes
Say = Callable[[str], None]


@dataclass(frozen=True)
class AdaptSettings:
    """On which model a persona is made, and by which method, as ``adapt`` has them; assignments may be of both."""

    base: str = DEFAULT
    method: str = ""
    config: Path | None = None
    assignments: tuple[str, ...] = ()
    device: str = "auto"
    offline: bool = False
    dtype: Dtype = "float32"

    def known_method(self) -> Adaptation | None:
        """Return the method if it is known without the model, None if not; ConfigError for a bad setting of it."""
        return None if self.method else overridden(usual_method(self.base), self.config, self._of_method)

    def loaded(self, say: Say = lambda line: None) -> tuple[Model, Adaptation]:
        """Return the model, and the method that is attached to it."""
        device = registry.device_of(self.device)
        options: dict[str, Any] = {"offline": self.offline, "dtype": self.dtype, "say": say}
        model = load(self.base, device=device, assignments=self._of_model, **options)
        for note in model.loaded.notes:
            say(f"note   base {self.base}: {note}")
        method = self.known_method()
        method = method or overridden(method_on(model, self.base, self.method), self.config, self._of_method)
        method.attach(model.loaded.model)
        return model, method

    def loaded_for(self, persona: PersonaArtefact, say: Say = lambda line: None) -> tuple[Model, Adaptation]:
        """Return the model and the method of a persona; MismatchError where these settings ask for others."""
        if self.base != DEFAULT or self._of_model:
            model, _ = self.loaded(say)
        else:
            options = LoadOptions(offline=self.offline, dtype=self.dtype, say=say)
            model = Model(model_of(persona, registry.device_of(self.device), options))
        persona.check_fits(model.loaded)
        method = registry.method_from(persona.recipe["method"])
        if self.method or self.config or self._of_method:
            start = method if self.method in ("", method.name) else registry.method(self.method)()
            _check_same(method, overridden(start, self.config, self._of_method), persona.name)
        method.attach(model.loaded.model)
        return model, method

    @property
    def _of_model(self) -> list[str]:
        """The assignments to settings of the model, without their ``model.``."""
        return [one.strip().removeprefix(MODEL) for one in self.assignments if one.strip().startswith(MODEL)]

    @property
    def _of_method(self) -> list[str]:
        """All other assignments, which are the method's with their ``method.`` and without it."""
        return [one.strip().removeprefix(METHOD) for one in self.assignments if not one.strip().startswith(MODEL)]


def _check_same(method: Adaptation, asked: Adaptation, name: str) -> None:
    """Raise MismatchError, with each setting that differs, unless a persona was made by the method asked for."""
    ours, theirs = ({"name": one.name, **asdict(one)} for one in (method, asked))
    differing = [
        f"{key} {ours.get(key)} (now {theirs.get(key)})"
        for key in {**ours, **theirs}
        if ours.get(key) != theirs.get(key)
    ]
    if differing:
        raise MismatchError(
            f"persona {name!r} was made with other settings: {'; '.join(differing)}",
            hint=f"leave --method, --set and -c out, or adapt anew: menura adapt {name} FILES",
            code="settings_differ",
        )
