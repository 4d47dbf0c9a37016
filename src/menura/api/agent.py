"""Agents, which reply: a model by name, and a persona adapted on it from dialogues."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch

from menura import registry
from menura.adaptation.default_methods import DEFAULT_PERSONA
from menura.adaptation.inner_loop import StepCallback
from menura.adaptation.protocol import Adaptation
from menura.adaptation.weights import PersonaWeights, swapped_weights
from menura.artefacts import persona_artefact, persona_store
from menura.artefacts.loading import LoadedModel, LoadOptions
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.artefacts.persona_memory import no_memory
from menura.batches.encode import EncodedDialogue, EncodedExchange
from menura.corpus import inputs
from menura.corpus.dialogue import Dialogue, Profile, Turn
from menura.corpus.strict_json import SURROGATE
from menura.decoding.generate import Decoding, several, stream
from menura.decoding.sampling import Greedy, Nucleus
from menura.errors import ConfigError, DataError
from menura.memory.recall import ExchangeMemory
from menura.memory.settings import MEMORY_TOKENS
from menura.models.dialogue_model import HasLatents, caching, check_strength, nll_of, weighing
from menura.models.layers.neural_cache import NeuralCache
from menura.personas.adapt_persona import adapt_persona, check_persona, encoded
from menura.personas.held_out import Check
from menura.personas.selection import Collected, Pick

if TYPE_CHECKING:
    from menura.decoding.candidates import RankBy, Ranking

REPLY_TOKENS = 60
YOU, PERSONA = "you", "persona"
Context = str | Sequence[Turn]


@dataclass(frozen=True)
class Candidate:
    """One of several replies; ``nll`` is −log p per token (nats), the lower the likelier.

    For a model with latents, ``latent`` is the latent of the reply and ``coherence`` the logit of response selection.
    ``score`` is the ranking's score, the higher the better. ``ids`` are its tokens without the end token.
    """

    text: str
    nll: float
    latent: int | None = None
    coherence: float | None = None
    score: float = 0.0
    ids: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Agent:
    """A model without a persona, or a persona.

    ``loaded`` has the model and the encoder that turns dialogues into token ids (no network). ``strength`` is the
    persona's weight, ``profile`` its attributes for models that read them (``at_strength``, ``with_profile``),
    ``facts`` are prepended to each dialogue, ``weights`` replace those of the model. Of ``memory`` the exchanges that
    fit are read before a dialogue, in at most ``memory_tokens`` tokens, and ``cache`` is mixed into each distribution.
    """

    loaded: LoadedModel
    strength: float | None = field(default=None, kw_only=True)
    profile: Profile = field(default_factory=dict, kw_only=True)
    facts: tuple[str, ...] = field(default=(), kw_only=True)
    weights: PersonaWeights = field(default_factory=dict, repr=False, kw_only=True)
    memory: ExchangeMemory | None = field(default=None, repr=False, kw_only=True)
    memory_tokens: int = field(default=0, kw_only=True)
    cache: NeuralCache | None = field(default=None, repr=False, kw_only=True)

    def remembering(self, tokens: int) -> Self:
        """Return the agent with another budget of recalled exchanges; with 0 it uses neither memory nor cache.

        Raises ConfigError for a number below 0, and for an agent that remembers nothing.
        """
        if tokens < 0:
            raise ConfigError(f"memory tokens {tokens}: 0 or more wanted", hint=f"--memory-tokens {MEMORY_TOKENS}")
        if tokens and self.memory is None:
            raise no_memory("this persona", "adapt it again with --remember, or leave --memory-tokens out")
        return replace(self, memory_tokens=tokens, cache=self.cache if tokens else None)

    def at_strength(self, strength: float | None) -> Self:
        """Return the agent with another persona weight, 0 to 1 (None: the model's own); ConfigError otherwise."""
        check_strength(self.loaded.model, strength)
        return replace(self, strength=strength)

    def with_profile(self, profile: Mapping[str, str | Sequence[str]]) -> Self:
        """Return the same agent with these values of its profile, by key; others stay. Raises as ``check_profile``."""
        from menura.personas.profiles import check_profile

        values = {key: (value,) if isinstance(value, str) else tuple(value) for key, value in profile.items()}
        check_profile(self.loaded, values)
        return replace(self, profile={**self.profile, **values})

    def reply(
        self, context: Context, *, decoding: Decoding | None = None, max_new_tokens: int = REPLY_TOKENS, seed: int = 0
    ) -> str:
        """Return one reply to a line, or to a dialogue so far (turns of speaker ``persona`` are its own)."""
        return self.candidates(context, 1, decoding=decoding, max_new_tokens=max_new_tokens, seed=seed)[0].text

    @property
    def first_line(self) -> str:
        """What the agent says before anything was said to it; empty for most."""
        return ""

    @property
    def usual_ranking(self) -> "RankBy":
        """How candidates are ranked unless asked otherwise."""
        if self.num_latents:
            return "rs"
        return "persona" if self.weights or self.memory is not None else "lm-norm"

    @property
    def num_latents(self) -> int:
        """The number of latents; 0 for a model without."""
        return self.loaded.model.latents if isinstance(self.loaded.model, HasLatents) else 0

    def candidates(  # each one changes the replies
        self,
        context: Context,
        count: int,
        *,
        decoding: Decoding | None = None,
        max_new_tokens: int = REPLY_TOKENS,
        seed: int = 0,
        ranking: "Ranking | None" = None,
    ) -> list[Candidate]:
        """Return ``count`` replies, the likeliest first; candidate i is sampled with seed ``seed + i``.

        A model with latents generates one under each, and returns the best ``count`` by ``ranking`` (default: response
        selection).
        """
        from menura.decoding.candidates import Ranking

        max_new_tokens = self.bounded(max_new_tokens)
        prompt = self.prompt(context, max_new_tokens)
        if self.num_latents or ranking is not None:
            ways = ranking or Ranking()
            ways = ways if self.num_latents else replace(ways, each=count)
            plain = replace(self, memory=None).prompt(context, max_new_tokens) if ways.by == "persona" else prompt
            return self._ranked((prompt, plain), ways, decoding, max_new_tokens, seed)[:count]
        model, encoder, ends = self.loaded.model, self.loaded.encoder, self.loaded.encoder.chat_format.ends
        seeds = list(range(seed, seed + count))
        with self._as_agent():
            ids = several(model, prompt, decoding or Nucleus(), end=ends, max_new_tokens=max_new_tokens, seeds=seeds)
            scored = model.batch([replace(prompt, reply=(*reply, ends[0])) for reply in ids])
            nll = (nll_of(model, scored) / scored.reply_lengths).tolist()
        made = [
            Candidate(encoder.reply_text(reply), value, ids=tuple(reply)) for reply, value in zip(ids, nll, strict=True)
        ]
        return sorted(made, key=lambda candidate: candidate.nll)

    def _ranked(
        self,
        prompts: tuple[EncodedExchange, EncodedExchange],
        ranking: "Ranking",
        decoding: Decoding | None,
        max_new_tokens: int,
        seed: int,
    ) -> list[Candidate]:
        """Return replies to a prompt, the best first; the second prompt is that which the un-adapted model reads."""
        from menura.decoding.candidates import candidates
        from menura.personas.likelihood_ratio import likelihood_ratio, weights_now

        prompt, plain = prompts
        model, encoder, ends = self.loaded.model, self.loaded.encoder, self.loaded.encoder.chat_format.ends
        rank = None
        if ranking.by == "persona":
            ranking.check_persona(adapted=bool(self.weights) or self.memory is not None)
            rank = likelihood_ratio(model, weights_now(model, self.weights), plain)
        with self._as_agent():
            (chosen,) = candidates(
                *(model, [prompt], decoding or (Nucleus() if rank else Greedy()), ranking),
                end=ends,
                max_new_tokens=max_new_tokens,
                seeds=[seed],
                rank=rank,
            )
            batch = model.batch([replace(prompt, reply=(*one.ids, ends[0])) for one in chosen])
            latents = [one.latent for one in chosen if one.latent is not None]
            with torch.no_grad():
                own = (
                    model.nll_under(batch, latents)
                    if isinstance(model, HasLatents) and latents
                    else nll_of(model, batch)
                )
            nll = (own / batch.reply_lengths).tolist()
        return [
            Candidate(encoder.reply_text(one.ids), value, one.latent, one.coherence, one.score, one.ids)
            for one, value in zip(chosen, nll, strict=True)
        ]

    def stream(
        self, context: Context, *, decoding: Decoding | None = None, max_new_tokens: int = REPLY_TOKENS, seed: int = 0
    ) -> Iterator[str]:
        """Yield a reply piece by piece; the pieces together are ``reply`` with the same seed, but for outer spaces.

        A reply that was chosen among candidates comes in one piece.
        """
        if self.num_latents:
            yield self.reply(context, decoding=decoding, max_new_tokens=max_new_tokens, seed=seed)
            return
        tokenizer, ids, shown = self.loaded.encoder.tokenizer, list[int](), 0
        for token in self.stream_ids(context, decoding=decoding, max_new_tokens=max_new_tokens, seed=seed):
            ids.append(token)
            text = tokenizer.decode(ids)
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):  # half a character so far
                yield text[shown:]
                shown = len(text)
        rest = tokenizer.decode(ids)[shown:]
        if rest:  # it ended within a character
            yield rest

    def stream_ids(
        self, context: Context, *, decoding: Decoding | None = None, max_new_tokens: int = REPLY_TOKENS, seed: int = 0
    ) -> Iterator[int]:
        """Yield the tokens of a reply one by one, without the end token and without candidates to choose from."""
        model, ends = self.loaded.model, self.loaded.encoder.chat_format.ends
        max_new_tokens = self.bounded(max_new_tokens)
        prompt = model.batch([self.prompt(context, max_new_tokens)])
        with self._as_agent():
            yield from stream(model, prompt, decoding or Nucleus(), end=ends, max_new_tokens=max_new_tokens, seed=seed)

    def prompt(
        self, context: Context, max_new_tokens: int, recalled: Sequence[EncodedDialogue] | None = None
    ) -> EncodedExchange:
        """Return what is read before a reply of so many tokens: facts, recalled exchanges and the dialogue so far.

        ``recalled`` is what ``recalled`` returned, if it was asked for before. Raises DataError for no context.
        """
        encoder, turns = self.loaded.encoder, _turns(context)
        prompt = encoder.prompt(turns, PERSONA, self.facts, {PERSONA: self.profile}, room=max_new_tokens)
        recalled = self.recalled(turns) if recalled is None else recalled
        return encoder.after(prompt, recalled, encoder.max_length - max_new_tokens) if recalled else prompt

    def recalled(self, context: Context) -> tuple[EncodedDialogue, ...]:
        """Return the exchanges of its memory that fit a dialogue so far, the best one last; each has its text."""
        if self.memory is None or not self.memory_tokens:
            return ()
        return self.memory.recalled(_turns(context), self.loaded.encoder, self.memory_tokens)

    def bounded(self, max_new_tokens: int) -> int:
        """Return a length of reply that leaves the context half of what the model reads; some read very little."""
        return min(max_new_tokens, self.loaded.encoder.max_length // 2)

    @contextmanager
    def _as_agent(self) -> Iterator[None]:
        """Use this agent's weights, strength and cache while the block runs."""
        model = self.loaded.model
        with swapped_weights(model, self.weights), weighing(model, self.strength), caching(model, self.cache):
            yield


def _turns(context: Context) -> tuple[Turn, ...]:
    """Return a line, or a dialogue so far, as turns; DataError where there is none, or what is in it is no turn."""
    turns = (Turn(YOU, context),) if isinstance(context, str) else tuple(context)
    if not turns:
        raise DataError("nothing to reply to: the context is empty", code="empty")
    wrong = next((turn for turn in turns if not isinstance(turn, Turn)), None)
    if wrong is not None:
        message = f"a {type(wrong).__name__} in the context where a Turn was wanted"
        hint = 'one line of text, or [menura.corpus.dialogue.Turn("you", "hello"), …]'
        raise DataError(message, hint=hint, code="schema")
    # Half of a surrogate pair is no character, and no tokenizer reads it.
    return tuple(Turn(turn.speaker, SURROGATE.sub("\N{REPLACEMENT CHARACTER}", turn.text)) for turn in turns)


@dataclass(frozen=True)
class Persona(Agent):
    """An agent adapted to someone's dialogues.

    ``check`` is its perplexity on held-out ones, if just adapted; ``path`` is its file in the workspace, if it has one.
    """

    artefact: PersonaArtefact = field(kw_only=True)
    check: Check | None = field(default=None, kw_only=True)
    path: Path | None = field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        """The persona's name."""
        return self.artefact.name

    @property
    def first_line(self) -> str:
        """The greeting of the character card that the persona was made from; empty where there is none."""
        return next(iter(self.artefact.first_lines), "")

    def save(self, path: str | Path) -> Path:
        """Write the persona as one file (a CHARX package)."""
        self.artefact.write(Path(path))
        return Path(path)

    @classmethod
    def load(
        cls, name: str | Path, base: "Model | None" = None, *, device: str = "cpu", offline: bool = False
    ) -> "Persona":
        """Read a persona by name or file; on ``base`` if given, else on the model it was made for.

        Raises MismatchError if the persona was made for another model than ``base``.
        """
        path = Path(name)
        artefact = persona_artefact.read(path) if path.suffix == persona_store.SUFFIX else persona_store.load(str(name))
        loaded = base.loaded if base else model_of(artefact, device, LoadOptions(offline=offline))
        artefact.check_fits(loaded)
        return persona_on(loaded, artefact)


@dataclass(frozen=True)
class Model(Agent):
    """A loaded model and the method that adapts it to a persona; None: the method of the default base."""

    method: Adaptation | None = field(default=None, kw_only=True)

    def adapt(
        self,
        source: str | Path | Sequence[Dialogue],
        *,
        speaker: str | None = None,
        k: int = 5,
        pick: Pick = "recent",
        name: str = "",
        format: str | None = None,  # the word users know from --format
        on_step: StepCallback | None = None,
    ) -> Persona:
        """Return a persona adapted on ``k`` dialogues of a file, or of loaded dialogues, in their order.

        The last two are held out to check on, the ``k`` before them are learnt from (``pick="spread"``: ``k`` of all).
        ``speaker`` may be left out where one person replies in all of them, or is called like ``name``. ``on_step`` is
        called after each step of the inner loop: steps done, steps in all, loss in nats per token. Raises DataError for
        what is no dialogue, ConfigError for a speaker who is none.
        """
        dialogues = inputs.read(Path(source), format) if isinstance(source, str | Path) else list(source)
        collected = Collected(k, pick)
        for dialogue in dialogues:
            if not isinstance(dialogue, Dialogue):
                message = f"a {type(dialogue).__name__} where a Dialogue was wanted"
                raise DataError(message, hint="menura.corpus.dialogue.Dialogue, or the path of a file", code="schema")
            collected.add(dialogue)
        who = collected.meant(name, speaker)
        selection = collected.selection(who)
        method = self.method or DEFAULT_PERSONA
        support = encoded(self.loaded, selection.support, who)
        artefact = adapt_persona(self.loaded, method, selection, name=name or who, support=support, on_step=on_step)
        artefact, check = check_persona(self.loaded, artefact, selection)
        return persona_on(self.loaded, artefact, check)


def persona_on(
    loaded: LoadedModel, artefact: PersonaArtefact, check: Check | None = None, path: Path | None = None
) -> Persona:
    """Return a persona that replies through a model it fits."""
    profile = {key: tuple(values) for key, values in artefact.recipe.get("profile", {}).items()}
    own = Persona(loaded, profile=profile, facts=artefact.facts, weights=artefact.weights, artefact=artefact)
    if artefact.memory:
        own = replace(own, memory=artefact.memory.recall, memory_tokens=MEMORY_TOKENS, cache=artefact.memory.cache)
    return replace(own, check=check, path=path)


def model_of(artefact: PersonaArtefact, device: str, options: LoadOptions) -> LoadedModel:
    """Return the model that a persona was made for."""
    return registry.load_model(registry.settings_from(artefact.model), options, device=device)
