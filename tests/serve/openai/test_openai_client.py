"""The official client, over a socket, as anybody has it."""

from collections.abc import Iterator

import openai
import pytest
from fake_engine import FakeEngine
from local_server import app_of, serving

from menura.errors import OverloadedError, PersonaChangedError, UnavailableError
from menura.serve.generation import ServedModel
from menura.serve.http.keys import KeyStore

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def client(engine: FakeEngine, keys: KeyStore) -> Iterator[openai.OpenAI]:
    _, secret = keys.new("laptop")
    with serving(app_of(engine, keys)) as (url, _), openai.OpenAI(base_url=f"{url}/v1", api_key=secret) as client:
        yield client.with_options(max_retries=0, timeout=20)


def test_thousands_of_models_are_one_plain_array(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.models = [ServedModel(f"persona-{n:05}", n, "tiny") for n in range(5_000)]
    found = list(client.models.list())
    assert [model.id for model in found] == [model.name for model in engine.models]
    page = client.models.list(extra_query={"limit": 10, "after": "persona-00099"})
    assert [model.id for model in page.data] == [f"persona-{n:05}" for n in range(100, 110)]
    one = client.models.retrieve("persona-00007")
    assert (one.id, one.created, one.owned_by, one.model_extra) == ("persona-00007", 7, "menura", {"parent": "tiny"})


def test_a_reply_and_several_with_our_extras(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="anna", messages=HI, n=2)
    assert [choice.message.content for choice in reply.choices] == ["hello there you"] * 2
    extras = {"menura": {"candidates": 4, "return_scores": True}}
    scored = client.chat.completions.create(model="anna", messages=HI, extra_body=extras)
    assert [choice.model_extra["menura"]["selected"] for choice in scored.choices] == [False, False, False, True]
    assert scored.model_extra["menura"]["version"] == 3


def test_a_stream_with_usage(client: openai.OpenAI) -> None:
    options = {"include_usage": True}
    stream = client.chat.completions.create(model="anna", messages=HI, stream=True, stream_options=options)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "hello there you"
    assert chunks[-1].usage.total_tokens == 8


def test_the_client_s_own_gathering_of_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="anna", messages=HI, logprobs=True, top_logprobs=1, n=2) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert [choice.message.content for choice in final.choices] == ["hello there you"] * 2
    assert len(final.choices[1].logprobs.content) == 3


def test_raw_prompts(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="tiny", prompt=["ab", "cd"], echo=True, logprobs=1, max_tokens=1)
    assert reply.choices[1].text == "cdhello"
    assert reply.choices[1].logprobs.token_logprobs == [None, -0.5, -1.5]


@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model_not_found"),
        ({"n": 33}, openai.BadRequestError, "invalid_value"),
        ({"temperature": -1}, openai.BadRequestError, "invalid_value"),
        (
            {"tools": [{"type": "function", "function": {"name": "x"}}]},
            openai.BadRequestError,
            "unsupported_parameter",
        ),
        ({"messages": [{"role": "user", "content": "x" * 2_000_000}]}, openai.APIStatusError, "too_large"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_refusals_are_the_client_s_own_exceptions(
    client: openai.OpenAI, fields: dict[str, object], kind: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(kind) as raised:
        client.chat.completions.create(**({"model": "anna", "messages": HI} | fields))
    assert raised.value.code == code
    assert raised.value.request_id


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OverloadedError("full"), openai.RateLimitError),
        (PersonaChangedError("gone"), openai.ConflictError),
        (UnavailableError("stopping"), openai.InternalServerError),
        (ZeroDivisionError("x"), openai.InternalServerError),
    ],
)
def test_errors_of_the_engine_are_the_client_s_own_exceptions(
    client: openai.OpenAI, engine: FakeEngine, error: Exception, kind: type[Exception]
) -> None:
    engine.fails_first = error
    for stream in (False, True):
        with pytest.raises(kind):
            client.chat.completions.create(model="anna", messages=HI, stream=stream)


def test_a_wrong_key_is_an_authentication_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="menura-wrong").models.list()


def test_an_error_in_the_middle_of_a_stream_is_an_exception(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.fails_after = PersonaChangedError("anna was deleted")
    stream = client.chat.completions.create(model="anna", messages=HI, stream=True)
    got = [next(stream).choices[0], next(stream).choices[0]]
    with pytest.raises(openai.APIError, match="anna was deleted"):
        next(stream)
    assert got[-1].delta.content == "hello"
    assert not any(choice.finish_reason for choice in got)


def test_a_full_server_is_tried_again_by_the_client_itself(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.fails_first = OverloadedError("full", retry_after=1)
    with pytest.raises(openai.RateLimitError):
        client.with_options(max_retries=1).chat.completions.create(model="anna", messages=HI)
    assert len(engine.asked) == 2
