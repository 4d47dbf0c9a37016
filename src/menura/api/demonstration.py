"""The demo: held-out speakers become personas before your eyes, then a table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from menura.api.agent import Persona, persona_on
from menura.api.options import CommandOptions
from menura.api.runs import Evaluated
from menura.artefacts.files import home
from menura.registry import device_of

if TYPE_CHECKING:
    from menura.evaluation.demo import AskedFact, Demonstration, DemoReply

SHOWN, SHOTS = 4, 5  # personas adapted before your eyes, dialogues each


@dataclass(frozen=True)
class Demo:
    """The steps of the demo."""

    say: Callable[[str], None]
    demonstration: "Demonstration"
    personas: int
    shots: int = SHOTS

    @property
    def speakers(self) -> int:
        """How many are adapted and shown before the table."""
        return min(SHOWN, self.personas)

    def adapt(self, on_step: Callable[[str, int, int, float], None]) -> "Iterator[tuple[str, Persona, DemoReply]]":
        """Adapt some held-out speakers; yield each one's name, persona and replies beside the real one.

        ``on_step`` is called after each step of a speaker: name, steps done, steps in all, support loss.
        """
        for number, task in enumerate(self.demonstration.held_out[: self.speakers], start=1):
            name = f"speaker-{number}"
            artefact = self.demonstration.adapt(task, name, self.shots, lambda *step, name=name: on_step(name, *step))
            yield (
                name,
                persona_on(self.demonstration.given.loaded, artefact),
                self.demonstration.example(task, artefact, self.shots),
            )

    def facts(self, number: int, persona: Persona) -> "list[AskedFact]":
        """Ask the persona of the speaker of this number, from 1 on, and the base for what the speaker told before."""
        task = self.demonstration.held_out[number - 1]
        return self.demonstration.facts(task, persona.artefact, self.shots)

    def table(self, adapted: Sequence[Persona]) -> Evaluated:
        """Score held-out speakers and keep the files in the workspace; those adapted before are not adapted again."""
        evaluated = Evaluated(
            self.demonstration.table(self.personas, self.shots, [one.artefact for one in adapted], self.say)
        )
        evaluated.save(self.folder)
        return evaluated

    @property
    def introduction(self) -> str:
        """The data and the model as text."""
        return self.demonstration.introduction

    @property
    def folder(self) -> Path:
        """The folder of the table."""
        return home() / "demo"


def demo(options: CommandOptions, personas: int, say: Callable[[str], None] = print) -> Demo:
    """Load corpus, split, base and the default adapter checkpoint for a demo whose table has that many personas."""
    from menura.evaluation.demo import Demonstration

    device = device_of(options.device)
    demonstration = Demonstration.prepared(device=device, offline=options.offline, seed=options.seed, say=say)
    return Demo(say, demonstration, personas)
