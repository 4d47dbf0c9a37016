"""An engine that replies by a script, word by word, to test what is made of its events."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from menura.artefacts import persona_store
from menura.errors import ConfigError, PersonaChangedError
from menura.serve.generation import Begun, Delta, EngineState, Event, Finished, GenerationRequest, Ranked, ServedModel


@dataclass
class ScriptedEngine:
    """Replies ``words`` and the number of the choice; serves the personas of the workspace and the base ``tiny``."""

    words: tuple[str, ...] = ("it ", "sulks")
    breaks_after: int | None = None  # words, then the persona is gone
    stays: bool = False  # waits for ever after the first word
    requests: list[GenerationRequest] = field(default_factory=list)
    closed: int = 0

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        self.find(request.model)
        try:
            yield Begun(request.model, 1, 7, recalled=(("the basil?", "it sulks"),))
            for number, word in enumerate(self.words):
                if number == self.breaks_after:
                    raise PersonaChangedError(f"persona {request.model} was deleted")
                for index in range(request.count):
                    yield Delta(index, f"{word}{index or ''}")
                if self.stays:
                    await asyncio.Event().wait()
                await asyncio.sleep(0)
            for index in range(request.count):
                yield Finished(index, "stop", len(self.words))
            if request.ranked:
                scores = tuple(float(index) for index in range(request.count))
                yield Ranked(scores, request.count - 1)
        finally:
            self.closed += 1

    def served(self) -> Sequence[ServedModel]:
        return [ServedModel("tiny", 0), *(ServedModel(name, 0, "tiny") for name in persona_store.names())]

    def find(self, name: str) -> ServedModel:
        if name == "tiny":
            return ServedModel("tiny", 0)
        if not persona_store.path_of(name).exists():
            raise ConfigError(f"no {name}", code="model_not_found", hint=f"one of {persona_store.names()}")
        return ServedModel(name, 0, "tiny")

    def state(self) -> EngineState:
        return EngineState(0, 0, 32, 0, 0, 0)

    def close(self) -> None:
        pass
