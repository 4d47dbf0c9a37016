"""How tokens are chosen, as fields of a request's body: each interface takes the same ranges."""

from typing import Annotated, Any

from pydantic import Field

from menura.serve.settings import SAMPLING_RANGES, EngineSettings


def ranged(name: str) -> Any:
    """Return the limits of a setting as pydantic reads them."""
    least, most = SAMPLING_RANGES[name]
    return Field(ge=least, le=most, allow_inf_nan=False if isinstance(least, float) else None)


Temperature = Annotated[float, ranged("temperature")]
TopP = Annotated[float, ranged("top_p")]
TopK = Annotated[int, ranged("top_k")]
MinP = Annotated[float, ranged("min_p")]
PresencePenalty = Annotated[float, ranged("presence_penalty")]
FrequencyPenalty = Annotated[float, ranged("frequency_penalty")]
RepetitionPenalty = Annotated[float, ranged("repetition_penalty")]
LogitBias = Annotated[float, ranged("logit_bias")]
Seed = Annotated[int, ranged("seed")]
Count = Annotated[int, Field(ge=1, le=EngineSettings().max_count, description="Replies of one request.")]
