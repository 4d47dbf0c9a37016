"""The demo's work: the shipped start and held-out speakers become personas, examples and a table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from menura.adaptation.inner_loop import StepCallback
from menura.adaptation.weights import adaptable_parameters, swapped_weights
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.decoding.generate import generate
from menura.decoding.sampling import Nucleus
from menura.evaluation.evaluate import Results
from menura.evaluation.run import evaluate_prepared
from menura.evaluation.settings import EvaluateConfig
from menura.memory.recall import MEMORY_TOKENS
from menura.memory.stated_facts import StatedFact, stated_facts
from menura.models.dialogue_model import caching, neutral_weights
from menura.personas.adapt_persona import adapt_persona, encoded
from menura.personas.remembering import remembering
from menura.personas.selection import Selection
from menura.tasks.task import Exchange, Task
from menura.training.recipes.default_adapters import shipped
from menura.training.run_setup import Prepared, prepare

CONTEXT_TURNS = 3  # turns of an example that are printed
WORDS = range(5, 25)  # words of a reply worth showing: shorter ones are mostly "yes"
REPLY_TOKENS = 30


@dataclass(frozen=True)
class DemoReply:
    """An exchange with three replies: a held-out one, or a question after what the speaker ``said`` in the support.

    ``said`` is the reply that holds the answer; ``real`` is the speaker's own reply to a held-out exchange.
    """

    context: tuple[str, ...]
    base: str
    persona: str
    real: str = ""
    said: str = ""

    def as_text(self, name: str) -> str:
        """Return it as text for a terminal."""
        pieces = [
            *(("  …", line) for line in self.context),
            ("base", self.base),
            (name, self.persona),
            *([("really", self.real)] if self.real else []),
            *([("said once", self.said)] if self.said else []),
        ]
        width = max(len(label) for label, _ in pieces)
        return "\n".join(f"  {label.rjust(width)}  {text.replace(chr(10), ' / ')}" for label, text in pieces)


@dataclass(frozen=True)
class Demonstration:
    """Everything the demo needs, loaded."""

    given: Prepared
    seed: int

    @classmethod
    def prepared(cls, *, device: str, offline: bool, seed: int, say: Callable[[str], None]) -> "Demonstration":
        """Load corpus, split, base and shipped start."""
        return cls(prepare(shipped(), device=device, offline=offline, say=say), seed)

    @property
    def held_out(self) -> Sequence[Task]:
        """The speakers that no training has seen."""
        return self.given.split.splits["test"]

    @property
    def introduction(self) -> str:
        """The data and the model as text."""
        loaded, splits = self.given.loaded, self.given.split.splits
        adapters = sum(weight.numel() for weight in adaptable_parameters(loaded.model).values())
        return (
            f"base   {loaded.base.name} ({loaded.base.parameters:,} parameters, frozen; {adapters:,} in adapters)\n"
            f"data   chitchat: {len(splits['train'])} training speakers, {len(splits['test'])} held out; "
            "none of these speakers, and none of their dialogues, was trained on"
        )

    def shown(self, count: int, personas: int, shots: int) -> Sequence[Task]:
        """Return whose replies are shown, of the first ``personas``: those first who say something of themselves."""
        first = self.held_out[:personas]
        return sorted(first, key=lambda task: not _stated(task, shots))[:count]

    def adapt(self, task: Task, name: str, shots: int, on_step: StepCallback) -> PersonaArtefact:
        """Adapt to one speaker on their first ``shots`` dialogues, whose exchanges the persona remembers."""
        loaded, selection = self.given.loaded, Selection.first_of(task, shots)
        support = encoded(loaded, selection.support, selection.speaker)
        artefact = adapt_persona(
            loaded, self.given.config.method, selection, name=name, support=support, on_step=on_step
        )
        return remembering(loaded, artefact, (), support)

    def example(self, task: Task, persona: PersonaArtefact, shots: int) -> DemoReply:
        """Reply to the first held-out exchange whose real reply has some length, as base and as persona."""
        exchange = next((e for e in _held_out_exchanges(task, shots) if len(e.reply.text.split()) in WORDS), None)
        exchange = exchange or next(_held_out_exchanges(task, shots))
        said = tuple(turn.text for turn in exchange.context[-CONTEXT_TURNS:])
        return DemoReply(said, self._reply(exchange), self._reply(exchange, persona), exchange.reply.text)

    def recalled(self, task: Task, persona: PersonaArtefact, shots: int) -> DemoReply | None:
        """Ask for the first thing that the speaker said of themselves in the support; None where they said nothing."""
        fact = next(iter(_stated(task, shots)), None)
        if fact is None:
            return None
        replies = (self._reply(fact.asked), self._reply(fact.asked, persona))
        return DemoReply((fact.question,), *replies, said=fact.source.reply.text)

    def table(self, personas: int, shots: int, shown: Sequence[PersonaArtefact], say: Callable[[str], None]) -> Results:
        """Evaluate the held-out speakers of the demo's subset; those shown before are not adapted again."""
        settings = EvaluateConfig(
            shots=(shots,), replies=1, metrics=("ppl", "f1", "dist-2", "hits@1"), max_new_tokens=24, seed=self.seed
        )
        known = {(str(persona.recipe["speaker"]), shots): persona.weights for persona in shown}
        return evaluate_prepared(self.given, settings, personas=personas, say=say, precomputed=known)

    def _reply(self, exchange: Exchange, persona: PersonaArtefact | None = None) -> str:
        """Return the reply of a persona with its memory, or of the base."""
        loaded = self.given.loaded
        prompt = replace(loaded.encoder.exchange(exchange), reply=())
        weights = persona.weights if persona else neutral_weights(loaded.model)
        memory = persona.memory if persona else None
        if memory:
            recalled = memory.recall.recalled(exchange.context, loaded.encoder, MEMORY_TOKENS)
            prompt = loaded.encoder.after(prompt, recalled, loaded.encoder.max_length - REPLY_TOKENS)
        with swapped_weights(loaded.model, weights), caching(loaded.model, memory.cache if memory else None):
            ids = generate(
                loaded.model,
                loaded.model.batch([prompt]),
                Nucleus(0.92, 0.8),
                end=loaded.encoder.chat_format.ends,
                max_new_tokens=REPLY_TOKENS,
                seeds=[self.seed],
            )
        return loaded.encoder.reply_text(ids[0])


def _stated(task: Task, shots: int) -> list[StatedFact]:
    return stated_facts(exchange for part in task.dialogues[:shots] for exchange in part.exchanges())


def _held_out_exchanges(task: Task, shots: int) -> Iterator[Exchange]:
    return (
        exchange
        for part in task.dialogues[shots:]
        for exchange in part.exchanges()
        if len(exchange.context) >= CONTEXT_TURNS
    )
