"""The library's front: a name becomes a model, dialogues become a persona, a line becomes its reply."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch

from menura.adaptation.catalogue import Method
from menura.adaptation.cmaml import Cmaml
from menura.adaptation.inner_loop import Watch
from menura.adaptation.masks import whole
from menura.adaptation.plain import Finetune, PretrainOnly
from menura.adaptation.weights import holding
from menura.artefacts import persona_artefact, persona_store
from menura.artefacts.base_catalogue import BASES
from menura.artefacts.loading import SHIPPED, LoadedModel, load_model, shipped_config
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.batches.encode import EncodedExchange
from menura.corpus import catalogue
from menura.corpus.dialogue import Dialogue, Profile, Turn
from menura.decoding.candidates import Ranking, candidates
from menura.decoding.choice import Greedy, Nucleus
from menura.decoding.generate import Decoding, several, stream
from menura.errors import ConfigError, DataError, EpisodeError
from menura.evaluation.evaluate import EvaluateConfig, Results
from menura.evaluation.run import config_of, evaluate_prepared
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.causal_lm.model import CausalLmConfig
from menura.models.dialogue_model import HasLatents, check_strength, nll_of, weighing
from menura.models.plato.config import PlatoConfig
from menura.personas.adapt_persona import Check, adapt_persona
from menura.personas.profiles import check_profile, profile_of
from menura.report import results as report
from menura.tasks.group import by_speaker
from menura.tasks.task import Task
from menura.training.config import RunConfig
from menura.training.data import DataConfig, split_of, tasks_of
from menura.training.overrides import model_settings, of_kind
from menura.training.recipes import arplus, plato
from menura.training.recipes.start import ANCHORED
from menura.training.setup import Prepared

REPLY_TOKENS = 60
YOU, PERSONA = "you", "persona"
METHOD = Finetune(ANCHORED)  # how a persona is learnt where nothing else is said
Context = str | Sequence[Turn]


@dataclass(frozen=True)
class Candidate:
    """One of several replies; ``nats`` is −log p a token, the lower the likelier.

    Of a model with latents, ``latent`` is the act it was said under and ``coherence`` the logit of response selection.
    ``score`` is what it was chosen by, the higher the better.
    """

    text: str
    nll: float
    latent: int | None = None
    coherence: float | None = None
    score: float = 0.0


@dataclass(frozen=True)
class Agent:
    """Whoever can reply: a model as it is, or a persona.

    ``strength`` is how much its persona weighs, ``profile`` what it is told of it; ``at_strength``, ``with_profile``.
    """

    loaded: LoadedModel
    strength: float | None = field(default=None, kw_only=True)
    profile: Profile = field(default_factory=dict, kw_only=True)

    @property
    def _weights(self) -> Mapping[str, Any]:
        return {}

    @property
    def _facts(self) -> tuple[str, ...]:
        return ()

    @property
    def _profile(self) -> Profile:
        return self.profile

    def at_strength(self, strength: float | None) -> Self:
        """Return the same voice, its persona weighing so much, 0 to 1 (None: as the model has it); else ConfigError."""
        check_strength(self.loaded.model, strength)
        return replace(self, strength=strength)

    def with_profile(self, profile: Mapping[str, str | Sequence[str]]) -> Self:
        """Return the same voice with these values of its profile, by key; others stay. Raises as ``check_profile``."""
        told = {key: (given,) if isinstance(given, str) else tuple(given) for key, given in profile.items()}
        check_profile(self.loaded, told)
        return replace(self, profile={**self.profile, **told})

    def reply(
        self, context: Context, *, decoding: Decoding | None = None, max_new_tokens: int = REPLY_TOKENS, seed: int = 0
    ) -> str:
        """Return one reply to a line, or to a dialogue so far (turns of speaker ``persona`` are its own)."""
        return self.candidates(context, 1, decoding=decoding, max_new_tokens=max_new_tokens, seed=seed)[0].text

    @property
    def acts(self) -> int:
        """How many latent acts it can reply by; 0 for a model without."""
        return self.loaded.model.latents if isinstance(self.loaded.model, HasLatents) else 0

    def candidates(  # each one changes the replies
        self,
        context: Context,
        count: int,
        *,
        decoding: Decoding | None = None,
        max_new_tokens: int = REPLY_TOKENS,
        seed: int = 0,
        ranking: Ranking | None = None,
    ) -> list[Candidate]:
        """Return ``count`` replies, the likeliest first; candidate i is drawn with seed ``seed + i``.

        A model with latents says one under each, and returns the best ``count`` by ``ranking`` (response selection if
        nothing is said).
        """
        prompt = self._prompt(context, max_new_tokens)
        if self.acts or ranking is not None:
            ways = ranking or Ranking()
            return self._ranked(
                prompt, ways if self.acts else replace(ways, each=count), decoding, max_new_tokens, seed
            )[:count]
        model, encoder = self.loaded.model, self.loaded.encoder
        seeds = list(range(seed, seed + count))
        with self._as_agent():
            ids = several(
                model,
                prompt,
                decoding or Nucleus(),
                end=encoder.chat_format.end,
                max_new_tokens=max_new_tokens,
                seeds=seeds,
            )
            scored = model.batch([replace(prompt, reply=(*reply, encoder.chat_format.end)) for reply in ids])
            nll = (nll_of(model, scored) / scored.reply_tokens).tolist()
        made = [Candidate(encoder.reply_text(reply), value) for reply, value in zip(ids, nll, strict=True)]
        return sorted(made, key=lambda candidate: candidate.nll)

    def _ranked(
        self, prompt: EncodedExchange, ranking: Ranking, decoding: Decoding | None, max_new_tokens: int, seed: int
    ) -> list[Candidate]:
        model, encoder = self.loaded.model, self.loaded.encoder
        with self._as_agent():
            (found,) = candidates(
                model,
                [prompt],
                decoding or Greedy(),
                ranking,
                end=encoder.chat_format.end,
                max_new_tokens=max_new_tokens,
                seeds=[seed],
            )
            said = model.batch([replace(prompt, reply=(*one.ids, encoder.chat_format.end)) for one in found])
            acts = [one.latent for one in found if one.latent is not None]
            with torch.no_grad():
                own = model.nll_under(said, acts) if isinstance(model, HasLatents) and acts else nll_of(model, said)
            nll = (own / said.reply_tokens).tolist()
        return [
            Candidate(encoder.reply_text(one.ids), value, one.latent, one.coherence, one.score)
            for one, value in zip(found, nll, strict=True)
        ]

    def stream(
        self, context: Context, *, decoding: Decoding | None = None, max_new_tokens: int = REPLY_TOKENS, seed: int = 0
    ) -> Iterator[str]:
        """Yield a reply piece by piece; the pieces together are ``reply`` with the same seed, but for outer spaces.

        A reply that was chosen among candidates comes in one piece.
        """
        if self.acts:
            yield self.reply(context, decoding=decoding, max_new_tokens=max_new_tokens, seed=seed)
            return
        model, encoder = self.loaded.model, self.loaded.encoder
        prompt = model.batch([self._prompt(context, max_new_tokens)])
        with self._as_agent():
            ids: list[int] = []
            shown = 0
            chosen = stream(
                model,
                prompt,
                decoding or Nucleus(),
                end=encoder.chat_format.end,
                max_new_tokens=max_new_tokens,
                seed=seed,
            )
            for token in chosen:
                ids.append(token)
                text = encoder.tokens.decode(ids)
                if not text.endswith("\N{REPLACEMENT CHARACTER}"):  # half a character so far
                    yield text[shown:]
                    shown = len(text)
            rest = encoder.tokens.decode(ids)[shown:]
            if rest:  # it ended within a character
                yield rest

    def _prompt(self, context: Context, max_new_tokens: int) -> EncodedExchange:
        turns = (Turn(YOU, context),) if isinstance(context, str) else tuple(context)
        if not turns:
            raise DataError("nothing to reply to: the context is empty", code="empty")
        return self.loaded.encoder.prompt(turns, PERSONA, self._facts, {PERSONA: self._profile}, room=max_new_tokens)

    @contextmanager
    def _as_agent(self) -> Iterator[None]:
        """Let the model be this voice while the block runs."""
        with holding(self.loaded.model, self._weights), weighing(self.loaded.model, self.strength):
            yield


@dataclass(frozen=True)
class Persona(Agent):
    """A voice learnt from someone's dialogues."""

    artefact: PersonaArtefact = field(kw_only=True)
    check: Check | None = field(default=None, kw_only=True)  # how it did on held-out dialogues, when just adapted

    @property
    def name(self) -> str:
        """What it is called."""
        return self.artefact.name

    @property
    def _weights(self) -> Mapping[str, Any]:
        return self.artefact.weights

    @property
    def _facts(self) -> tuple[str, ...]:
        return self.artefact.facts

    @property
    def _profile(self) -> Profile:
        return {**{key: tuple(told) for key, told in self.artefact.recipe.get("profile", {}).items()}, **self.profile}

    def save(self, path: str | Path) -> Path:
        """Write the persona as one file (a CHARX package)."""
        self.artefact.write(Path(path))
        return Path(path)

    @classmethod
    def load(cls, name: str | Path, base: "Model | None" = None, **options: Any) -> "Persona":
        """Read a persona by name or file; on ``base`` if given, else on the model it was made for.

        Raises MismatchError if the persona was made for another model than ``base``.
        """
        path = Path(name)
        artefact = persona_artefact.read(path) if path.suffix == persona_store.SUFFIX else persona_store.load(str(name))
        loaded = base.loaded if base else load_model(model_settings(artefact.model), **options)
        artefact.check_fits(loaded)
        return cls(loaded, artefact=artefact)


@dataclass(frozen=True)
class Model(Agent):
    """A loaded model and the method by which it takes on a persona."""

    method: Method = field(default=METHOD, kw_only=True)

    def adapt(
        self,
        source: str | Path | Sequence[Dialogue],
        *,
        speaker: str | None = None,
        k: int = 5,
        name: str = "",
        format: str | None = None,  # the word users know from --format
        watch: Watch | None = None,
    ) -> Persona:
        """Return a persona learnt from the first ``k`` dialogues of a file, or of dialogues at hand.

        ``speaker`` may be left out where only one person replies in all of them.
        """
        dialogues = catalogue.read(Path(source), format) if isinstance(source, str | Path) else list(source)
        task = task_of(dialogues, speaker)
        check_shots(task, k)
        told = profile_of(task) if self.loaded.encoder.profile else {}
        artefact, check = adapt_persona(
            self.loaded, self.method, task, name=name or task.persona.persona_id, shots=k, watch=watch
        )
        if told:  # lists, as they are read again
            recipe = {**artefact.recipe, "profile": {key: list(values) for key, values in told.items()}}
            artefact = replace(artefact, recipe=recipe)
        return Persona(self.loaded, artefact=artefact, check=check)


def load(name: str = SHIPPED, *, device: str = "cpu", offline: bool = False) -> Model:
    """Return a model by name: ``shipped`` (the default base with the start that ships), a base, a folder, a hub id.

    A folder may hold a base, or be that of a run, whose best weights are the start then.
    """
    if _is_run(name):
        return Model(load_model(config_of(name).model, device=device, offline=offline), method=usual_method(name))
    config = shipped_config() if name == SHIPPED else CausalLmConfig(base=name)
    return Model(load_model(config, device=device, offline=offline))


def _is_run(name: str) -> bool:
    """Tell whether a name is that of a run's folder; a name that no file can have is none."""
    try:
        return (Path(name) / "run.json").exists()
    except OSError:
        return False


def usual_method(base: str) -> Method:
    """Return how a persona on this base is learnt where nothing else is said.

    On the run of a model that cannot be held to what it said before: as the run has it, else a plato by latents, prior.
    """
    run = config_of(base) if _is_run(base) else None
    if run is None or not isinstance(run.model, PlatoConfig | AttentionRoutingConfig):
        return METHOD
    if not isinstance(run.method, PretrainOnly):
        return run.method
    return Finetune(plato.INNER, "latent,prior") if isinstance(run.model, PlatoConfig) else Finetune(arplus.INNER)


def method_on(model: Model, base: str, name: str) -> Method:
    """Return the method of this name: as the run that ``base`` names has it, else with its usual settings.

    One of cmaml moves private weights alone where nothing else is set, so that a persona is its structure and what
    lives in it. Raises ConfigError for a name that is none, or a model that the method does not fit.
    """
    method: Method = of_kind("method", name)()
    if _is_run(base) and isinstance(trained := config_of(base).method, type(method)):
        method = trained
    if isinstance(method, Cmaml) and not method.trainable:
        method = replace(method, trainable=",".join(whole(model.loaded.model).names))
    return method


@dataclass(frozen=True)
class Evaluated:
    """The rows of a table, and the table itself."""

    results: Results

    def table(self) -> str:
        """Return scores and paired differences as Markdown that also reads as text."""
        return report.table(self.results)

    def save(self, folder: str | Path) -> list[Path]:
        """Write table.md, scores.csv, scores.json and all samples by line."""
        return report.write(self.results, Path(folder))


def evaluate(
    model: Model,
    *,
    data: DataConfig | str | Path | None = None,
    k: Sequence[int] = (5,),
    personas: int = 0,
    settings: EvaluateConfig | None = None,
) -> Evaluated:
    """Score held-out personas (the first ``personas``, 0 = all): un-adapted, wrong persona and adapted.

    ``data`` is the packaged corpus with its split, settings of your own, or a file in which everybody is held out.
    Raises MismatchError if the model's start may have been trained on them.
    """
    if isinstance(data, str | Path):
        data = DataConfig(corpus=str(data), max_turns=0, min_heldout_dialogues=max(k) + 1, train=0, valid=0, test=1)
    run = RunConfig("api", model=model.loaded.config, method=model.method, data=data or DataConfig())
    prepared = Prepared(run, model.loaded, split_of(run.data, tasks_of(run.data)))
    chosen = replace(settings or EvaluateConfig(), shots=tuple(k))
    return Evaluated(evaluate_prepared(prepared, chosen, personas=personas, say=lambda line: None))


def task_of(dialogues: Sequence[Dialogue], speaker: str | None) -> Task:
    """Return one speaker's task; ConfigError naming all speakers where it is not clear who is meant."""
    tasks = {task.persona.persona_id: task for task in by_speaker(dialogues)}
    if speaker is None and len(tasks) == 1:
        return next(iter(tasks.values()))
    if speaker in tasks:
        return tasks[speaker]
    most = sorted(tasks, key=lambda name: -len(tasks[name].dialogues))[:10]
    said = f"unknown speaker {speaker!r}" if speaker else "whose persona? several people speak"
    raise ConfigError(said, hint=f"--speaker with one of: {', '.join(most)}", code="unknown_speaker")


def check_shots(task: Task, shots: int) -> None:
    """Raise EpisodeError if a task has fewer dialogues than shots."""
    if shots < 1:
        raise ConfigError(f"-k {shots}: at least 1 dialogue is needed to learn from")
    if len(task.dialogues) < shots:
        raise EpisodeError(
            f"{task.persona.persona_id!r} speaks in {len(task.dialogues)} dialogues, too few for {shots} shots",
            hint=f"use -k {len(task.dialogues)}, or give more dialogues",
        )


def agents(names: Sequence[str], *, device: str = "cpu", offline: bool = False) -> dict[str, Agent]:
    """Return personas, models or runs by name; personas made for one model share it in memory."""
    made: dict[str, Agent] = {}
    shared: dict[str, Model] = {}
    for name in names:
        if name == SHIPPED or name in BASES or _is_run(name):
            made[name] = load(name, device=device, offline=offline)
            continue
        artefact = persona_store.load(name)
        key = str(artefact.model)
        if key not in shared:
            config = model_settings(artefact.model)
            shared[key] = Model(load_model(config, device=device, offline=offline))
        artefact.check_fits(shared[key].loaded)
        made[name] = Persona(shared[key].loaded, artefact=artefact)
    return made


def without_persona(agent: Agent) -> Agent:
    """Return the model a voice stands on, speaking for itself."""
    return Model(agent.loaded)
