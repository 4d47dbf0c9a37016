"""The fields of OpenAI's requests: their ranges, and what is refused because leaving it out would change the reply."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from menura.serve.settings import EngineSettings, HttpLimits

LIMITS = HttpLimits()
MOST_REPLIES = EngineSettings().max_count
MOST_TOKENS = 1_000_000  # beyond what any base reads, whose own limit the engine knows
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
Count = Annotated[int, Field(ge=1, le=MOST_REPLIES)]
Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Stop = Annotated[str, Field(min_length=1, max_length=LIMITS.stop_characters)]
Stops = Annotated[list[Stop], Field(max_length=LIMITS.stop_strings)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
BiasedToken = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Biases = Annotated[dict[BiasedToken, Bias], Field(max_length=LIMITS.logit_biases)]
MemoryTokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
TopK = Annotated[int, Field(ge=0, le=2**31 - 1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
RepetitionPenalty = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
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
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Stop | Stops | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Share | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Biases | None = None
    # Of other servers; clients send them beside OpenAI's fields.
    top_k: TopK | None = None
    min_p: Share | None = None
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
