"""A persona goes on learning: its weights are where the next dialogues begin."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from menura.adaptation.inner_loop import StepCallback
from menura.adaptation.protocol import Adaptation, GoesOn
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.batches.encode import EncodedDialogue
from menura.errors import ConfigError
from menura.personas.adapt_persona import Learnt, LossCurve, artefact_of
from menura.personas.held_out import Check, checked
from menura.personas.selection import Selection


@dataclass(frozen=True)
class Earlier:
    """The version of a persona that it goes on from, and its number."""

    artefact: PersonaArtefact
    version: int

    @property
    def speaker(self) -> str:
        """Whose persona it is."""
        return str(self.artefact.recipe.get("speaker", ""))

    @property
    def support_sha256(self) -> tuple[str, ...]:
        """The hashes of the dialogues that it has learnt from."""
        return tuple(map(str, self.artefact.recipe.get("support_sha256", ())))


def check_goes_on(method: Adaptation, name: str) -> GoesOn:
    """Return a method that can go on from a persona; ConfigError for one that begins anew each time."""
    if isinstance(method, GoesOn):
        return method
    why = {
        "cmaml": "its mask is found from all of a person's dialogues at once",
        "pretrain-only": "it learns nothing from a person's dialogues",
    }.get(method.name, "it has no adapt_further")
    raise ConfigError(
        f"persona {name!r} was made by {method.name}, which cannot go on: {why}",
        hint=f"give all dialogues again: menura adapt {name} FILES --method {method.name}",
        code="method_misfit",
    )


def adapt_further(
    loaded: LoadedModel,
    method: Adaptation,
    earlier: Earlier,
    selection: Selection,
    *,
    support: Sequence[EncodedDialogue],
    on_step: StepCallback | None = None,
) -> PersonaArtefact:
    """Return the next version of a persona: the inner loop on new dialogues, from the weights of the earlier version.

    What self-distillation holds it to is the un-adapted model, as the first time. Its record has the dialogues of both,
    and under ``more`` from which version it went on, and with what.
    """
    goes_on, old = check_goes_on(method, earlier.artefact.name), earlier.artefact
    curve = LossCurve(on_step)
    # A persona of facts alone has no weights: it begins at the model's own.
    if old.weights:
        weights = goes_on.adapt_further(loaded.model, old.weights, support, curve)
    else:
        weights = method.adapt(loaded.model, support, curve)
    new = artefact_of(loaded, method, selection, Learnt(old.name, weights, sum(map(len, support)), tuple(curve.losses)))
    more = {
        "from_version": earlier.version,
        "shots": new.recipe["shots"],
        "replies": new.recipe["replies"],
        "support_sha256": new.recipe["support_sha256"],
    }
    facts = tuple(sorted({*old.facts, *new.facts}))
    return replace(new, facts=facts, card=old.card, recipe={**_joined(old.recipe, new.recipe), "more": more})


def than_before(loaded: LoadedModel, earlier: Earlier, check: Check, held_out: tuple[EncodedDialogue, ...]) -> str:
    """Return the perplexity of the held-out dialogues under the earlier version beside that of a check, as text."""
    old = earlier.artefact
    before = checked(loaded, old.weights, held_out, memory=old.memory).after
    return f"       version {earlier.version} had PPL {before:.1f} on them, this one has {check.after:.1f}"


def _joined(old: Any, new: Any) -> dict[str, Any]:
    """Return the record of the new version: counts and hashes of both, all else as the new one has it."""
    joined = {**old, **new}
    for count in ("shots", "replies"):
        joined[count] = int(old.get(count) or 0) + int(new[count])
    joined["support_sha256"] = [*old.get("support_sha256", ()), *new["support_sha256"]]
    joined["speaker"] = old.get("speaker", new["speaker"])
    if profiles := [recipe["profile"] for recipe in (old, new) if "profile" in recipe]:
        keys = dict.fromkeys(key for profile in profiles for key in profile)
        joined["profile"] = {
            key: list(dict.fromkeys(value for profile in profiles for value in profile.get(key, ()))) for key in keys
        }
    return joined
