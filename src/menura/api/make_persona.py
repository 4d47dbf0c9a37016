"""``adapt``: files that a person has become a persona in the workspace."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from menura import registry
from menura.adaptation.inner_loop import StepCallback
from menura.adaptation.protocol import Adaptation
from menura.api.adapt_settings import AdaptSettings, Say
from menura.api.agent import Model, Persona, persona_on
from menura.artefacts import persona_store
from menura.artefacts.bases.catalogue import BASES, SMOLLM2
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.loading import DEFAULT, LoadedModel
from menura.artefacts.persona_store import Saved
from menura.batches.encode import EncodedDialogue
from menura.corpus.chats.reading import NO_OPTIONS, ReadOptions
from menura.corpus.inputs import Input, dialogues_of, inputs
from menura.corpus.language import Language
from menura.corpus.speakers import few
from menura.corpus.summary import summaries
from menura.errors import ConfigError, DataError, EpisodeError, Problem, number_of, shown
from menura.personas.adapt_further import Earlier, adapt_further, check_goes_on, than_before
from menura.personas.adapt_persona import adapt_persona, check_persona, encoded, seconds_foretold
from menura.personas.held_out import verdict
from menura.personas.remembering import remembering
from menura.personas.selection import Collected, Pick, Selection, find_speaker, unknown_speaker
from menura.personas.stranger_control import Control, control_for

CONSENT = "the person whose words these are must agree to it; what is read stays on this machine"
ChooseSpeaker = Callable[[Sequence[str]], str | None]


@dataclass(frozen=True)
class AdaptRequest:
    """Whose dialogues become which persona, and how: the name, the files and all settings, as ``adapt`` has them."""

    name: str
    files: tuple[Path, ...]
    speaker: str | None = None
    k: int = 5
    pick: Pick = "recent"
    format: str | None = None
    options: ReadOptions = NO_OPTIONS
    settings: AdaptSettings = AdaptSettings()
    replace_old: bool = False
    remember: bool = False


@dataclass(frozen=True)
class Steps:
    """What is called after each step: with the replies done, the replies in all and the loss in nats per token."""

    own: StepCallback | None = None
    control: StepCallback | None = None  # while a stranger's persona is adapted


@dataclass(frozen=True)
class Adapted:
    """A persona that was just made, where it was written, and whether an older one of its name was kept."""

    persona: Persona
    saved: Saved


@dataclass(frozen=True)
class _ReadFiles:
    """Files that were read to their end: the dialogues of each speaker, and the language of all."""

    inputs: Sequence[Input]
    collected: Collected
    language: Language = field(default_factory=Language)

    @property
    def card(self) -> Input | None:
        """The character card among the files; DataError where there are several."""
        cards = [one for one in self.inputs if one.notes and one.notes.card]
        if len(cards) > 1:
            listed = ", ".join(one.file.name for one in cards)
            message = f"{len(cards)} character cards ({listed}): a persona has one"
            raise DataError(message, hint="give one of them", code="schema")
        return next(iter(cards), None)

    @property
    def character(self) -> str:
        """Whose the card is, empty without a card."""
        return self.card.notes.persona if self.card and self.card.notes else ""


@dataclass(frozen=True)
class _Plan:
    """What is learnt from by which method, and what it is compared with."""

    loaded: LoadedModel
    method: Adaptation
    selection: Selection
    support: tuple[EncodedDialogue, ...]
    control: Control | None

    def lines(self, spent: float) -> Iterator[str]:
        """Yield how much is learnt from and about how long it takes in all, of which ``spent`` seconds are over."""
        own = seconds_foretold(self.loaded, self.method, self.support) if self.support else 0.0
        other = self.control.seconds(self.loaded, self.method) if self.control else 0.0
        foretold = f" · about {_seconds(spent + own + other)}" if own else ""
        replies = number_of(sum(map(len, self.support)), "reply")
        yield f"plan   base {self.loaded.base.name} · {replies} of {_planned(self.selection)}{foretold}"
        if self.control and self.control.support:
            yield f"       adapting a stranger's persona first, once, to compare with: about {_seconds(other)} of these"


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
    dtype: Dtype = "float32",
    dry_run: bool = False,
    replace_old: bool = False,
    choose_speaker: ChooseSpeaker = lambda speakers: None,
    more: bool = False,
    remember: bool = False,
    on_step: StepCallback | None = None,
    on_control_step: StepCallback | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Adapted | None:
    """Learn a persona from files of dialogues, check it on held-out ones, and keep it in the workspace.

    ``choose_speaker`` is called with the speakers where it is not clear whose persona is meant, and may return None.
    ``on_step`` is called after each step with the replies done, the replies in all and the loss in nats per token,
    ``on_control_step`` likewise while the control is adapted, a stranger's persona that is made once.
    ``say`` gets what was read and left out, what is planned and how the held-out dialogues fared. With ``dry_run``
    nothing is loaded or written, and None returned. A persona of the same name stays as an earlier version, unless
    ``replace_old``. ``dtype`` as in ``load``. With ``more`` the persona of this name goes on learning, on its own base
    and by its own method: at most ``k`` dialogues that it has not learnt from, from the weights that it has. With
    ``remember`` the persona keeps its exchanges of all dialogues but those held out, the last 2,000; one that remembers
    goes on remembering.
    Raises ConfigError for a name, speaker, base or setting that cannot be meant, DataError for files that cannot be
    read, EpisodeError for too few dialogues, MismatchError for ``more`` on another base or with other settings.
    """
    settings = AdaptSettings(base, method, config, tuple(assignments), device, offline, dtype)
    request = AdaptRequest(name, tuple(files), speaker, k, pick, format, options, settings, replace_old, remember)
    steps = Steps(on_step, on_control_step)
    return adapt_as_asked(request, steps, choose_speaker=choose_speaker, more=more, dry_run=dry_run, say=say)


def adapt_as_asked(
    request: AdaptRequest,
    steps: Steps = Steps(),
    *,
    choose_speaker: ChooseSpeaker = lambda speakers: None,
    more: bool = False,
    dry_run: bool = False,
    say: Say = lambda line: None,
) -> Adapted | None:
    """Do as ``adapt``, with all that it is asked in a request."""
    persona_store.check_new(request.name)  # a bad name is reported before anything takes time
    request.settings.known_method()  # a bad setting too
    earlier = earlier_version(request) if more else None
    person = read_person(request, choose_speaker, say, earlier)
    if dry_run:
        say(f"would {'go on with' if earlier else 'adapt'} {request.name!r}: {person.planned}")
        return None
    began = time.perf_counter()
    model, chosen = request.settings.loaded_for(earlier.artefact, say) if earlier else request.settings.loaded(say)
    return learn(request, person, model, chosen, steps=steps, say=say, spent=time.perf_counter() - began)


@dataclass(frozen=True)
class Person:
    """The files of one person, read to their end, and what is learnt from and checked on."""

    read: "_ReadFiles"
    selection: Selection
    earlier: Earlier | None = None  # which version is gone on from

    @property
    def planned(self) -> str:
        """Return in how many dialogues who is learnt from."""
        return _planned(self.selection)


def earlier_version(request: AdaptRequest) -> Earlier:
    """Return the persona that is to go on; ConfigError if there is none, if it cannot, or is to be replaced as well."""
    if request.replace_old:
        message = "--more and --replace: the version that is gone on from stays"
        raise ConfigError(message, hint="leave --replace out", code="usage")
    earlier = Earlier(persona_store.load(request.name), persona_store.current_version(request.name))
    check_goes_on(registry.method_from(earlier.artefact.recipe["method"]), request.name)
    return earlier


def read_person(
    request: AdaptRequest, choose_speaker: ChooseSpeaker, say: Say, earlier: Earlier | None = None
) -> Person:
    """Read a person's files, and say what was read, left out and is doubtful; raises as ``adapt``."""
    collected = Collected(request.k, request.pick, remember=remembers(request, earlier))
    if earlier:
        collected.learnt, collected.at_most = frozenset(earlier.support_sha256), True
    read = _read(inputs(request.files, request.format, request.options), collected, say)
    speaker = request.speaker
    if earlier:
        speaker = speaker or next((who for who in collected.speakers() if who == earlier.speaker), None)
    selection = _selection(request.name, speaker, read, choose_speaker)
    if earlier:
        _check_new(read, selection, say)
    for warning in _warnings(read, selection, request.settings.base):
        say(str(warning))
    return Person(read, selection, earlier)


def remembers(request: AdaptRequest, earlier: Earlier | None) -> bool:
    """Return whether a persona is to keep its exchanges: where that is asked for, or the version before does."""
    return request.remember or bool(earlier and earlier.artefact.memory)


def _check_new(read: _ReadFiles, selection: Selection, say: Say) -> None:
    """Say how many dialogues were learnt from before; EpisodeError where there are no others."""
    known = read.collected.left_out[selection.speaker]
    if not selection.support:
        message = f"nothing new: {selection.speaker!r} replies in no dialogue that was not learnt from"
        if known:
            message = f"nothing new: all {known} dialogues of {selection.speaker!r} were learnt from before"
        raise EpisodeError(message, hint="give files with later dialogues", code="nothing_new")
    if known:
        say(f"note   left out: {number_of(known, 'dialogue')} that {selection.speaker}'s persona has learnt from")


def learn(
    request: AdaptRequest,
    person: Person,
    model: Model,
    method: Adaptation,
    *,
    steps: Steps = Steps(),
    say: Say = lambda line: None,
    spent: float = 0.0,
) -> Adapted:
    """Adapt to a person, check the persona, and keep it in the workspace; ``spent`` seconds went into loading."""
    began = time.perf_counter() - spent
    loaded, selection = model.loaded, person.selection
    support = encoded(loaded, selection.support, selection.speaker)
    for line in _notes(person.read, loaded, request.settings.base):
        say(line)
    control = control_for(loaded, method) if selection.held_out else None
    for line in _Plan(loaded, method, selection, support, control).lines(time.perf_counter() - began):
        say(line)
    stranger = control.adapted(loaded, method, _by_reply(control.support, steps.control)) if control else None
    began = time.perf_counter()
    by_reply = _by_reply(support, steps.own)
    earlier = person.earlier
    if earlier:
        artefact = adapt_further(loaded, method, earlier, selection, support=support, on_step=by_reply)
    else:
        artefact = adapt_persona(loaded, method, selection, name=request.name, support=support, on_step=by_reply)
    if remembers(request, earlier):
        kept = earlier.artefact.memory if earlier else None
        artefact = remembering(loaded, artefact, selection.remembered, support, kept)
    artefact, check = check_persona(loaded, artefact, selection, stranger.artefact.weights if stranger else None)
    recipe, card = _from_files(person.read, selection, request.files)
    if earlier:
        recipe["files"] = [*dict.fromkeys([*earlier.artefact.recipe.get("files", ()), *recipe["files"]])]
    artefact = replace(artefact, recipe={**artefact.recipe, **recipe}, card=card or artefact.card)
    saved = persona_store.save(artefact, replace_old=request.replace_old)
    if stranger:
        stranger.keep()
    say(verdict(check, selection.speaker, time.perf_counter() - began))
    if artefact.memory:
        say(f"note   {artefact.memory.summary(request.name)}")
    if earlier and selection.held_out:
        say(than_before(loaded, earlier, check, encoded(loaded, selection.held_out, selection.speaker)))
    return Adapted(persona_on(loaded, artefact, check, saved.path), saved)


def _read(files: Sequence[Input], collected: Collected, say: Callable[[str], None]) -> _ReadFiles:
    """Read files to their end, and say what was read and left out."""
    read = _ReadFiles(files, collected)
    for dialogue in dialogues_of(files):
        collected.add(dialogue)
        for turn in dialogue.turns:
            read.language.add(turn.text)
    for line in summaries(files, without="few"):  # that is said of the persona, once it is clear whose it is
        say(line)
    if read.card and read.card.notes:
        facts = read.card.notes.facts.get(read.character, ())
        collected.facts.setdefault(read.character, set()).update(facts)
    return read


def _selection(name: str, speaker: str | None, read: _ReadFiles, choose_speaker: ChooseSpeaker) -> Selection:
    """Return what is learnt from and checked on, once it is clear whose persona it is."""
    owners = {one.notes.persona for one in read.inputs if one.notes and one.notes.persona}
    owner = read.character or (next(iter(owners)) if len(owners) == 1 else "")
    replies = read.collected.repliers()
    if speaker is None:
        speaker = find_speaker(name, replies, owner=owner, files=[one.file.name for one in read.inputs])
        speaker = speaker or read.character
        speaker = speaker or choose_speaker([known for known, _ in sorted(replies, key=lambda pair: -pair[1])])
    if speaker is None:
        raise unknown_speaker(None, replies)
    # A card has few examples or none: its facts make a persona.
    read.collected.at_most |= bool(read.character) and speaker == read.character
    return read.collected.selection(speaker)


def _warnings(read: _ReadFiles, selection: Selection, base: str) -> Iterator[Problem]:
    """Yield what is doubtful about the persona that is chosen, before anything is loaded."""
    if read.character and (unlike := _card_of_another(read, selection.speaker)):
        yield unlike
    replies = read.collected.replies.get(selection.speaker, 0)
    if too_few := few(selection.speaker, replies, selection.total, of_card=selection.speaker == read.character):
        yield too_few
    if _known_language(base) and (foreign := read.language.warning(f"base {base}")):
        yield foreign


def _card_of_another(read: _ReadFiles, speaker: str) -> Problem | None:
    """Return the warning that the card, or the chats beside it, are somebody else's; None where they are not."""
    card, character = read.card, read.character
    in_card = card.reading.replies[character] if card and card.reading else 0
    message = f"the card is that of {shown(character)}, not of {shown(speaker)}, so it is left out"
    if speaker == character:
        if len(read.inputs) == 1 or read.collected.replies.get(character, 0) > in_card:
            return None
        message = f"{shown(character)}, whose card it is, replies in none of the chats, so nothing is learnt from them"
    repliers = sorted(read.collected.repliers(), key=lambda pair: -pair[1])
    others = {name.casefold(): name for name, _ in repliers if name != character}
    near = [others[name] for name in get_close_matches(character.casefold(), others, n=1)]
    other = next(iter([*([speaker] if speaker != character else near), *others.values()]), "")
    hint = f"if they are one person: --same {shlex.quote(f'{character}={other}')}" if other else ""
    return Problem("card", message, hint=hint, level="warn")


def _known_language(base: str) -> str:
    """Return the language that a base knows above all, empty for one that is not known by name."""
    known = SMOLLM2 if base == DEFAULT else BASES.get(base)
    return known.language if known else ""


def _notes(read: _ReadFiles, loaded: LoadedModel, base: str) -> Iterator[str]:
    """Yield what the model cannot learn, and whose consent is needed."""
    by_name = base == DEFAULT or base in BASES
    # A run, or a model with words of its own, may have been trained on the very language.
    own_words = loaded.vocabulary or loaded.init_sha256
    if not (by_name or own_words) and (foreign := read.language.warning_of_tokens(loaded.encoder.tokenizer.encode)):
        yield str(foreign)
    if too_long := loaded.encoder.cut["exchanges"]:
        yield f"note   left out: {number_of(too_long, 'reply')} longer than {loaded.encoder.max_length:,} tokens"
    yield f"note   {CONSENT}"


def _by_reply(support: Sequence[EncodedDialogue], on_step: StepCallback | None) -> StepCallback | None:
    """Return the callback for steps that calls another one with the replies done and the replies in all."""
    replies = sum(map(len, support))
    if on_step is None:
        return None
    return lambda step, steps, loss: on_step(round(replies * step / steps), replies, loss)


def _seconds(seconds: float) -> str:
    return f"{max(1, round(seconds))} s"


def _planned(selection: Selection) -> str:
    used, total = len(selection.support), selection.total
    where = {"recent": "the most recent", "spread": "spread over all"}.get(selection.pick, selection.pick)
    held = f", {len(selection.held_out)} held out" if selection.held_out else ""
    return f"{selection.speaker} in {used} of {number_of(total, 'dialogue')} ({where}{held})"


def _from_files(
    read: _ReadFiles, selection: Selection, files: Sequence[Path]
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return what the files say of the persona beyond dialogues: for its record, and the card that it is made from."""
    # A card of somebody else is none of this persona's.
    mine = [
        one.notes
        for one in read.inputs
        if one.notes and not (one.notes.card and one.notes.persona != selection.speaker)
    ]
    first_lines = [line for notes in mine for line in notes.first_lines]
    recipe: dict[str, Any] = {"consent": CONSENT, "files": [file.resolve().name for file in files]}
    if first_lines:
        recipe["first_lines"] = first_lines
    return recipe, next((notes.card for notes in mine if notes.card), {})
