"""How tokens are chosen, as a client of ``/api`` says it."""

from pydantic import BaseModel, ConfigDict, Field

from menura.serve.generation import Sampling
from menura.serve.sampling_fields import (
    FrequencyPenalty,
    MinP,
    PresencePenalty,
    RepetitionPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
)

TURN_CHARACTERS = 32_768


class SamplingBody(BaseModel):
    """The settings of ``Sampling`` by their names."""

    model_config = ConfigDict(extra="forbid", strict=True)
    temperature: Temperature = Sampling.temperature
    top_p: TopP = Sampling.top_p
    top_k: TopK = Sampling.top_k
    min_p: MinP = Sampling.min_p
    presence_penalty: PresencePenalty = Sampling.presence_penalty
    frequency_penalty: FrequencyPenalty = Sampling.frequency_penalty
    repetition_penalty: RepetitionPenalty = Sampling.repetition_penalty
    seed: Seed | None = None

    def chosen(self) -> Sampling:
        """Return them as the engine takes them."""
        return Sampling(**self.model_dump())


class TurnBody(BaseModel):
    """One turn of a conversation: the model's own (``persona``), or the person's (``user``)."""

    model_config = ConfigDict(extra="forbid", strict=True)
    role: str = Field(pattern="^(user|persona)$")
    text: str = Field(min_length=1, max_length=TURN_CHARACTERS)
