"""``adapt``: files that a person has become a persona in the workspace."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from menura import registry
from menura.adaptation.inner_loop import StepCallback
from menura.api.agent import Persona, load, method_on, overridden, persona_on, usual_method
from menura.artefacts import persona_store
from menura.artefacts.loading import DEFAULT
from menura.artefacts.persona_store import Saved
from menura.corpus.chats.reading import NO_OPTIONS, ReadOptions
from menura.corpus.inputs import Input, dialogues_of, inputs
from menura.corpus.summary import summaries
from menura.errors import DataError, number_of
from menura.personas.adapt_persona import adapt_persona, check_persona, encoded, seconds_foretold
from menura.personas.held_out import verdict
from menura.personas.selection import Collected, Pick, Selection, find_speaker, unknown_speaker
from menura.personas.stranger_control import stranger_for

CONSENT = "the person whose words these are must agree to it; what is read stays on this machine"
ChooseSpeaker = Callable[[Sequence[str]], str | None]


@dataclass(frozen=True)
class Adapted:
    """A persona that was just made, where it was written, and whether an older one of its name was kept."""

    persona: Persona
    saved: Saved


def adapt(  # each one changes the persona, or where it is written
    name: str,
    files: Sequence[Path],
    *,
    speaker: str | None = None,
    k: int = 5,
    pick: Pick = "recent",
    format: str | None = None,
    options: ReadOptions = NO_OPTIONS,
    base: str = DEFAULT,
    method: str = "",
    config: Path | None = None,
    assignments: Sequence[str] = (),
    device: str = "auto",
    offline: bool = False,
    dry_run: bool = False,
    replace_old: bool = False,
    choose_speaker: ChooseSpeaker = lambda speakers: None,
    on_step: StepCallback | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Adapted | None:
    """Learn a persona from files of dialogues, check it on held-out ones, and keep it in the workspace.

    ``choose_speaker`` is called with the speakers where it is not clear whose persona is meant, and may return None.
    ``on_step`` is called after each step with the replies done, the replies in all and the loss in nats per token.
    ``say`` gets what was read and left out, what is planned and how the held-out dialogues fared. With ``dry_run``
    nothing is loaded or written, and None returned. A persona of the same name stays as an earlier version, unless
    ``replace_old``.
    Raises ConfigError for a name, speaker, base or setting that cannot be meant, DataError for files that cannot be
    read, EpisodeError for too few dialogues.
    """
    persona_store.check_new(name)  # a bad name is reported before anything takes time
    # A bad setting too, if the method is known without the model.
    chosen = None if method else overridden(usual_method(base), config, assignments)
    collected = Collected(k, pick)
    found = inputs(files, format, options)
    for dialogue in dialogues_of(found):
        collected.add(dialogue)
    for told in summaries(found):
        say(told)
    card = _card(found)
    selection = _selection(name, speaker, collected, found, choose_speaker)
    if dry_run:
        say(f"would adapt {name!r}: {_planned(selection)}")
        return None
    model = load(base, device=registry.device_of(device), offline=offline)
    chosen = chosen or overridden(method_on(model, base, method), config, assignments)
    chosen.attach(model.loaded.model)
    support = encoded(model.loaded, selection.support, selection.speaker)
    if too_long := model.loaded.encoder.cut["exchanges"]:
        limit = model.loaded.encoder.max_length
        say(f"note   left out: {number_of(too_long, 'reply')} longer than {limit:,} tokens")
    replies = sum(map(len, support))
    seconds = seconds_foretold(model.loaded, chosen, support) if support else 0.0
    foretold = f" · about {max(1, round(seconds))} s" if seconds else ""
    say(f"note   {CONSENT}")
    say(f"plan   base {model.loaded.base.name} · {number_of(replies, 'reply')} of {_planned(selection)}{foretold}")
    stranger = stranger_for(model.loaded, chosen, say) if selection.held_out else None
    began = time.perf_counter()

    def by_reply(step: int, steps: int, loss: float) -> None:
        if on_step:
            on_step(round(replies * step / steps), replies, loss)

    artefact = adapt_persona(model.loaded, chosen, selection, name=name, support=support, on_step=by_reply)
    artefact, check = check_persona(model.loaded, artefact, selection, stranger.artefact.weights if stranger else None)
    artefact = replace(artefact, recipe={**artefact.recipe, **_told(found)}, card=card)
    saved = persona_store.save(artefact, replace_old=replace_old)
    if stranger:
        stranger.keep()
    say(verdict(check, selection.speaker, time.perf_counter() - began))
    return Adapted(persona_on(model.loaded, artefact, check, saved.path), saved)


def _selection(
    name: str, speaker: str | None, collected: Collected, found: Sequence[Input], choose_speaker: ChooseSpeaker
) -> Selection:
    """Return what is learnt from and checked on, once it is clear whose persona it is."""
    owners = {one.notes.persona for one in found if one.notes and one.notes.persona}
    owner = next(iter(owners)) if len(owners) == 1 else ""
    for one in found:
        if one.notes and one.notes.card:
            collected.at_most = True  # a card has few examples or none: its facts make a persona
            collected.facts.setdefault(owner, set()).update(one.notes.facts.get(owner, ()))
    replies = collected.repliers()
    if speaker is None:
        speaker = find_speaker(name, replies, owner=owner, files=[one.file.name for one in found])
        speaker = speaker or (owner if collected.at_most else "")
        speaker = speaker or choose_speaker([known for known, _ in sorted(replies, key=lambda pair: -pair[1])])
    if speaker is None:
        raise unknown_speaker(None, replies)
    return collected.selection(speaker)


def _planned(selection: Selection) -> str:
    used, total = len(selection.support), selection.total
    where = {"recent": "the most recent", "spread": "spread over all"}.get(selection.pick, selection.pick)
    held = f", {len(selection.held_out)} held out" if selection.held_out else ""
    return f"{selection.speaker} in {used} of {number_of(total, 'dialogue')} ({where}{held})"


def _told(found: Sequence[Input]) -> Mapping[str, object]:
    """Return what the files say of the persona beyond dialogues, for its record."""
    first_lines = [line for one in found if one.notes for line in one.notes.first_lines]
    told: dict[str, object] = {"consent": CONSENT}
    if first_lines:
        told["first_lines"] = first_lines
    return told


def _card(found: Sequence[Input]) -> Mapping[str, object]:
    """Return the character card among the files, empty if there is none."""
    cards = {one.file.name: one.notes.card for one in found if one.notes and one.notes.card}
    if len(cards) > 1:
        said = f"{len(cards)} character cards ({', '.join(cards)}): a persona has one"
        raise DataError(said, hint="give one of them", code="schema")
    return next(iter(cards.values()), {})
