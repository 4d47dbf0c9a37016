"""The fields of OpenAI's requests: their ranges, and what is refused because leaving it out would change the reply."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from menura.serve.generation import GenerationRequest, Sampling
from menura.serve.sampling_fields import (
    Count,
    FrequencyPenalty,
    LogitBias,
    MinP,
    PresencePenalty,
    RepetitionPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
)
from menura.serve.settings import HttpLimits

LIMITS = HttpLimits()
MOST_TOKENS = 1_000_000  # beyond what any base reads, whose own limit the engine knows
# Of the fields those that a request to the engine has under the same names.
CHOSEN_BY = (
    *("temperature", "top_p", "top_k", "min_p", "seed"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
)
TOLERATED = "Read and left alone: it does not change the reply."


def _nothing_asked(value: Any) -> Any:
    """Return a value that asks for nothing; else the field is not supported."""
    if value is None or value is False or (isinstance(value, list | dict) and not value):
        return value
    raise PydanticCustomError("unsupported_parameter", "not supported")


Unsupported = Annotated[
    Any, AfterValidator(_nothing_asked), WithJsonSchema({"enum": [None, False, [], {}], "description": "Unsupported."})
]
Tolerated = Annotated[Any, Field(description=TOLERATED)]
Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Stop = Annotated[str, Field(min_length=1, max_length=LIMITS.stop_characters)]
Stops = Annotated[list[Stop], Field(max_length=LIMITS.stop_strings)]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
BiasedToken = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Biases = Annotated[dict[BiasedToken, LogitBias], Field(max_length=LIMITS.logit_biases)]
MemoryTokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
ModelName = Annotated[str, Field(min_length=1, max_length=256)]


class StrictBody(BaseModel):
    """A body whose fields are of the very types and known by name."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(StrictBody):
    """What a stream has beside the reply."""

    include_usage: bool | None = None
    include_obfuscation: Tolerated = None


class SamplingFields(StrictBody):
    """The fields that ``/v1/chat/completions`` and ``/v1/completions`` share."""

    model: ModelName
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Count | None = None
    seed: Seed | None = None
    stop: Stop | Stops | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    presence_penalty: PresencePenalty | None = None
    frequency_penalty: FrequencyPenalty | None = None
    logit_bias: Biases | None = None
    # Of other servers; clients send them beside OpenAI's fields.
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    min_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    user: Tolerated = None
    metadata: Tolerated = None
    safety_identifier: Tolerated = None
    service_tier: Tolerated = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings at which a reply ends."""
        if isinstance(self.stop, str):
            return (self.stop,)
        return tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the tokens that it took."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, **further: float | None) -> Sampling:
        """Return how tokens are chosen; what is given in ``further`` goes before the fields of the same names."""
        fields = {name: getattr(self, name) for name in CHOSEN_BY} | {
            name: value for name, value in further.items() if value is not None
        }
        given = {name: value for name, value in fields.items() if value is not None}
        biases = {int(token): bias for token, bias in (self.logit_bias or {}).items()}
        return replace(Sampling(), **given, logit_bias=biases)

    def request(self, *, owner: str, **further: Any) -> GenerationRequest:
        """Return the request to the engine that the fields mean; ``further`` is what one of the two routes has."""
        shared = GenerationRequest(self.model, sampling=self.sampling(), stop=self.stops, owner=owner)
        return replace(shared, **further)
