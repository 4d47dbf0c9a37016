"""The body of ``/v1/chat/completions``, and the request to the engine that it means."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from menura.api import PERSONA, YOU
from menura.corpus.dialogue import Turn, joined
from menura.errors import RequestError
from menura.serve.openai.fields import LIMITS, MemoryTokens, SamplingFields, StrictBody, Tokens, Tolerated, Unsupported
from menura.serve.sampling_fields import Count, MinP, RepetitionPenalty, TopK

SPEAKERS = {"user": YOU, "assistant": PERSONA}
# Open WebUI asks the model of a chat for its title, tags, further questions and search words, or to sum it up, in a
# message that begins like this. So does what it puts before a person's own question where a file is attached; that has
# the file's text in CONTEXT, and the chat not in HISTORY.
SIDE_REQUEST = "### Task:"
HISTORY, CONTEXT = "<chat_history>", "<context>"
OTHER_PARTS = ("image_url", "input_audio", "file", "refusal")


def _text(kind: str) -> str:
    if kind in OTHER_PARTS:
        raise PydanticCustomError("unsupported_parameter", "not supported")
    if kind != "text":
        raise PydanticCustomError("literal_error", "must be 'text'")
    return kind


class TextPart(StrictBody):
    """One part of a message; text alone."""

    type: Annotated[str, AfterValidator(_text), WithJsonSchema({"const": "text"})]
    text: str


class ChatMessage(StrictBody):
    """One message. ``name`` changes nothing: who speaks is told by the role."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: Tolerated = None
    refusal: Unsupported = None
    tool_calls: Unsupported = None
    function_call: Unsupported = None
    audio: Unsupported = None

    @property
    def text(self) -> str:
        """What the message says."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class ResponseFormat(StrictBody):
    """What form a reply has; plain text alone."""

    type: Annotated[str, AfterValidator(_text), WithJsonSchema({"const": "text"})]


class Extras(StrictBody):
    """What OpenAI's API has no field for.

    ``candidates``: so many replies are drawn, the one is given that the persona makes likeliest against the model
    without it. ``return_scores``: all of them are given, in the order they were drawn, with ``score`` and ``selected``.
    """

    candidates: Count | None = None
    return_scores: bool | None = None
    memory_tokens: MemoryTokens | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None


class ChatCompletionBody(SamplingFields):
    """What a client sends for a reply to a chat."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=LIMITS.messages)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=LIMITS.top_logprobs)] | None = None
    menura: Extras | None = None
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: Tolerated = None
    reasoning_effort: Tolerated = None
    verbosity: Tolerated = None
    prompt_cache_key: Tolerated = None
    prompt_cache_retention: Tolerated = None
    store: Unsupported = None
    tools: Unsupported = None
    functions: Unsupported = None
    function_call: Literal["none", "auto"] | None = None
    audio: Unsupported = None
    prediction: Unsupported = None
    web_search_options: Unsupported = None

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> "ChatCompletionBody":
        if self.top_logprobs is not None and not self.logprobs:
            raise PydanticCustomError("value_error", "top_logprobs needs logprobs: true")
        drawn = self.menura and self.menura.candidates
        if drawn and self.n not in (None, 1, drawn):
            raise PydanticCustomError("value_error", "n and menura.candidates differ; give one of them")
        if not self.turns:
            raise PydanticCustomError("value_error", "messages: none of a user or an assistant")
        return self

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The chat as the engine reads it; roles come from here alone, whatever the texts hold."""
        said = (Turn(SPEAKERS[one.role], one.text) for one in self.messages if one.role in SPEAKERS)
        return joined(tuple(said))

    @property
    def system(self) -> str:
        """All that the client says of the situation."""
        return "\n\n".join(one.text for one in self.messages if one.role not in SPEAKERS and one.text)

    @property
    def is_side_request(self) -> bool:
        """Whether a front end asks for itself, about the chat, rather than a person the persona."""
        last = next((one.text for one in reversed(self.messages) if one.role == "user"), "")
        of_a_file = CONTEXT in last and HISTORY not in last
        return last.lstrip().startswith(SIDE_REQUEST) and not of_a_file

    @property
    def extras(self) -> Extras:
        """The extras, or their defaults."""
        return self.menura or Extras()

    @property
    def count(self) -> int:
        """How many replies are drawn."""
        return self.extras.candidates or self.n or 1

    @property
    def returns_scores(self) -> bool:
        """Whether all replies are given, each with its score."""
        return bool(self.extras.return_scores)

    @property
    def keeps_best(self) -> bool:
        """Whether several replies are drawn to give the best of them."""
        return bool(self.extras.candidates and self.extras.candidates > 1 and not self.returns_scores)

    @property
    def max_new_tokens(self) -> int | None:
        """How many tokens a reply may have; RequestError where two fields say two things."""
        given = {number for number in (self.max_tokens, self.max_completion_tokens) if number is not None}
        if len(given) > 1:
            raise RequestError("max_tokens and max_completion_tokens differ", place="max_completion_tokens")
        return next(iter(given), None)
