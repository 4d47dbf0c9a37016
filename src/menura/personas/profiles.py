"""The profile of a persona, collected from its dialogues: attributes that a model reads beside facts."""

from collections.abc import Iterable

from menura.artefacts.loading import LoadedModel
from menura.corpus.dialogue import Profile
from menura.errors import ConfigError
from menura.tasks.task import DialogueView


def told_in(part: DialogueView) -> Profile:
    """Return the persona's profile in one dialogue."""
    return part.dialogue.profiles.get(part.speaker, {})


def profile_of(parts: Iterable[DialogueView]) -> Profile:
    """Return the profile over a persona's dialogues: all values of each key, in order of first appearance."""
    told: dict[str, dict[str, None]] = {}
    for part in parts:
        for key, values in told_in(part).items():
            told.setdefault(key, {}).update(dict.fromkeys(values))
    return {key: tuple(values) for key, values in told.items()}


def check_profile(loaded: LoadedModel, profile: Profile) -> None:
    """Raise ConfigError if a model reads no profiles, DataError that lists every unknown key of this one."""
    if loaded.encoder.profile is None:
        raise ConfigError("profile: this model reads none", hint="train arplus/arplus, and talk with its run")
    loaded.encoder.profile.slots(profile)
