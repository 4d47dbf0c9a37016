"""How tokens are chosen, as a client of ``/api`` says it."""

from pydantic import BaseModel, ConfigDict, Field

from menura.serve.generation import Sampling

TURN_CHARACTERS = 32_768


class SamplingBody(BaseModel):
    """The names and ranges of OpenAI's API, and of transformers for the rest."""

    model_config = ConfigDict(extra="forbid", strict=True)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0, le=100_000)
    min_p: float = Field(default=0.0, ge=0, le=1)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    repetition_penalty: float = Field(default=1.0, gt=0, le=2)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)

    def chosen(self) -> Sampling:
        """Return them as the engine takes them."""
        return Sampling(**self.model_dump())


class TurnBody(BaseModel):
    """One turn of a conversation: the model's own (``persona``), or the person's (``user``)."""

    model_config = ConfigDict(extra="forbid", strict=True)
    role: str = Field(pattern="^(user|persona)$")
    text: str = Field(min_length=1, max_length=TURN_CHARACTERS)
