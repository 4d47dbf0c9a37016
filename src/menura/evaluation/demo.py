"""The demo's work: the shipped start and held-out speakers become personas, examples and a table."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from menura.adaptation.inner_loop import StepCallback
from menura.adaptation.weights import PersonaWeights, adaptable_parameters, swapped_weights
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.batches.encode import EncodedExchange
from menura.decoding.generate import generate
from menura.decoding.sampling import Choice, Greedy, Nucleus
from menura.evaluation.evaluate import Results
from menura.evaluation.run import evaluate_prepared
from menura.evaluation.settings import EvaluateConfig
from menura.memory.settings import MEMORY_TOKENS
from menura.memory.stated_facts import StatedFact, stated_facts
from menura.metrics.recalled_facts import holds, telling_words
from menura.models.dialogue_model import neutral_weights
from menura.personas.adapt_persona import adapt_persona, encoded
from menura.personas.remembering import remembering
from menura.personas.selection import Selection
from menura.tasks.task import Exchange, Task
from menura.training.recipes.default_adapters import shipped
from menura.training.run_setup import Prepared, prepare

CONTEXT_TURNS = 3  # turns of an example that are printed
WORDS = range(5, 25)  # words of a reply worth showing: shorter ones are mostly "yes"
REPLY_TOKENS = 30
SAMPLED = Nucleus(0.92, 0.8)
FACTS = 3  # of a speaker that are asked for


@dataclass(frozen=True)
class DemoReply:
    """One held-out exchange with three replies."""

    context: tuple[str, ...]
    base: str
    persona: str
    real: str

    def as_text(self, name: str) -> str:
        """Return it as text for a terminal."""
        pieces = [
            *(("  …", line) for line in self.context),
            ("base", self.base),
            (name, self.persona),
            ("really", self.real),
        ]
        width = max(len(label) for label, _ in pieces)
        return "\n".join(f"  {label.rjust(width)}  {text.replace(chr(10), ' / ')}" for label, text in pieces)


@dataclass(frozen=True)
class AskedFact:
    """What a speaker said of themselves in a dialogue learnt from, asked for again: what base and persona reply."""

    question: str
    base: str
    persona: str
    said: str

    @property
    def recalled(self) -> bool:
        """Whether the persona's reply has a telling word of what was said, and the base's has none."""
        words = telling_words(self.question, self.said)
        return holds(self.persona, words) and not holds(self.base, words)

    def as_text(self, name: str) -> str:
        """Return it as text for a terminal."""
        lines = [("asked", self.question), ("base", self.base), (name, self.persona), ("said before", self.said)]
        width = max(len(label) for label, _ in lines)
        return "\n".join(f"  {label.rjust(width)}  {text.replace(chr(10), ' / ')}" for label, text in lines)


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

    def adapt(self, task: Task, name: str, shots: int, on_step: StepCallback) -> PersonaArtefact:
        """Adapt to one speaker on their first ``shots`` dialogues, whose exchanges the persona remembers."""
        loaded, selection = self.given.loaded, Selection.first_of(task, shots)
        support = encoded(loaded, selection.support, selection.speaker)
        method = self.given.config.method
        artefact = adapt_persona(loaded, method, selection, name=name, support=support, on_step=on_step)
        return remembering(loaded, artefact, (), support)

    def example(self, task: Task, persona: PersonaArtefact, shots: int) -> DemoReply:
        """Reply to a held-out exchange, as base and as persona, which reads what it recalls.

        The exchange is drawn by the demo's seed from those whose real replies have some length.
        """
        every = list(_held_out_exchanges(task, shots))
        some = [exchange for exchange in every if len(exchange.reply.text.split()) in WORDS] or every
        exchange = random.Random(f"{self.seed} {task.persona_id}").choice(some)
        prompt = replace(self.given.loaded.encoder.exchange(exchange), reply=())
        own = self._recalling(prompt, exchange, persona)
        said = tuple(turn.text for turn in exchange.context[-CONTEXT_TURNS:])
        return DemoReply(said, self._reply(prompt, self._bare), self._reply(own, persona.weights), exchange.reply.text)

    def facts(self, task: Task, persona: PersonaArtefact, shots: int) -> list[AskedFact]:
        """Ask for what a speaker said of themselves in the first ``shots`` dialogues, outside of any dialogue.

        The base has never read them. The persona reads what it recalls. Both reply greedily.
        """
        said = tuple(exchange for part in task.dialogues[:shots] for exchange in part.exchanges())
        known = [fact for fact in stated_facts(said) if telling_words(fact.question, fact.answer)]
        return [self._asked(fact, persona) for fact in known[:FACTS]]

    def _asked(self, fact: StatedFact, persona: PersonaArtefact) -> AskedFact:
        prompt = replace(self.given.loaded.encoder.exchange(fact.asked), reply=())
        own = self._recalling(prompt, fact.asked, persona)
        base = self._reply(prompt, self._bare, Greedy())
        return AskedFact(fact.question, base, self._reply(own, persona.weights, Greedy()), fact.answer)

    def _recalling(self, prompt: EncodedExchange, exchange: Exchange, persona: PersonaArtefact) -> EncodedExchange:
        """Return a prompt behind the exchanges that a persona recalls for it."""
        encoder, memory = self.given.loaded.encoder, persona.memory
        recalled = memory.recall.recalled(exchange.context, encoder, MEMORY_TOKENS) if memory else ()
        return encoder.after(prompt, recalled, encoder.max_length - REPLY_TOKENS)

    @property
    def _bare(self) -> PersonaWeights:
        return neutral_weights(self.given.loaded.model)

    def table(self, personas: int, shots: int, shown: Sequence[PersonaArtefact], say: Callable[[str], None]) -> Results:
        """Evaluate the held-out speakers of the demo's subset; those shown before are not adapted again."""
        settings = EvaluateConfig(
            shots=(shots,), replies=1, metrics=("ppl", "f1", "dist-2", "hits@1"), max_new_tokens=24, seed=self.seed
        )
        known = {(str(persona.recipe["speaker"]), shots): persona.weights for persona in shown}
        return evaluate_prepared(self.given, settings, personas=personas, say=say, precomputed=known)

    def _reply(self, prompt: EncodedExchange, weights: PersonaWeights, choice: Choice = SAMPLED) -> str:
        loaded = self.given.loaded
        with swapped_weights(loaded.model, weights):
            ids = generate(
                loaded.model,
                loaded.model.batch([prompt]),
                choice,
                end=loaded.encoder.chat_format.ends,
                max_new_tokens=REPLY_TOKENS,
                seeds=[self.seed],
            )
        return loaded.encoder.reply_text(ids[0])


def _held_out_exchanges(task: Task, shots: int) -> Iterator[Exchange]:
    return (
        exchange
        for part in task.dialogues[shots:]
        for exchange in part.exchanges()
        if len(exchange.context) >= CONTEXT_TURNS
    )
