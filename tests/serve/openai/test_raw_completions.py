"""Raw prompts are continued and scored, in the shape of OpenAI's older API."""

import json
from operator import itemgetter

import pytest
from fake_engine import FakeEngine
from fastapi import FastAPI
from local_server import HELLO, app_of, post

from menura.serve.http.keys import KeyStore
from menura.serve.settings import ServerSettings

COMPLETIONS = "/v1/completions"


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("ab", ["ab"]),
        ("", [""]),
        (["ab", "cd"], ["ab", "cd"]),
        ([1, 2], [(1, 2)]),
        ([[1], [2, 3]], [(1,), (2, 3)]),
    ],
)
def test_prompts_are_texts_or_token_ids_one_or_several(
    app: FastAPI, engine: FakeEngine, prompt: object, prompts: list[object]
) -> None:
    reply = post(app, COMPLETIONS, {"model": "tiny", "prompt": prompt})
    assert reply.status_code == 200
    assert [asked.prompt for asked in engine.asked] == prompts
    assert {asked.max_new_tokens for asked in engine.asked} == {16}
    said = reply.json()
    assert said["object"] == "text_completion"
    assert [choice["index"] for choice in said["choices"]] == list(range(len(prompts)))
    assert {choice["text"] for choice in said["choices"]} == {"hello there you"}
    assert said["usage"]["prompt_tokens"] == 5 * len(prompts)


def test_choices_of_the_first_prompt_come_before_those_of_the_next(app: FastAPI, engine: FakeEngine) -> None:
    reply = post(app, COMPLETIONS, {"model": "tiny", "prompt": ["ab", "cd"], "n": 2, "echo": True}).json()
    assert [(one["index"], one["text"][:2]) for one in reply["choices"]] == [(0, "ab"), (1, "ab"), (2, "cd"), (3, "cd")]
    assert [asked.count for asked in engine.asked] == [2, 2]


def test_lm_eval_reads_the_score_of_a_prompt_s_end(app: FastAPI, engine: FakeEngine) -> None:
    """What lm-eval's local-completions sends, and how it reads the reply."""
    body = {
        "model": "anna",
        "prompt": [[1, 2, 3, 4], [5, 6, 7]],
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    reply = post(app, COMPLETIONS, body).json()
    for choice, length in zip(sorted(reply["choices"], key=itemgetter("index")), (4, 3), strict=True):
        found = choice["logprobs"]
        assert len(found["token_logprobs"]) == length + 1
        assert found["token_logprobs"][0] is None
        assert found["top_logprobs"][0] is None
        scored = list(zip(found["token_logprobs"][2:-1], found["top_logprobs"][2:-1], strict=True))
        assert len(scored) == length - 2
        for logprob, top in scored:
            assert logprob == max(top.values()) == -0.5
    assert {asked.min_new_tokens for asked in engine.asked} == {1}, "or the last token would be one of the prompt"


def test_log_probabilities_have_the_older_shape_with_offsets(app: FastAPI) -> None:
    reply = post(app, COMPLETIONS, {"model": "tiny", "prompt": "ab", "echo": True, "logprobs": 1, "max_tokens": 2})
    assert reply.json()["choices"][0]["logprobs"] == {
        "tokens": ["a", "b", "hello", " there"],
        "token_logprobs": [None, -0.5, -1.5, -1.5],
        "top_logprobs": [None, {"b": -0.5}, {"likely": -0.25, "hello": -1.5}, {"likely": -0.25, " there": -1.5}],
        "text_offset": [0, 1, 2, 7],
    }


def test_nothing_is_generated_where_only_the_prompt_is_scored(app: FastAPI, engine: FakeEngine) -> None:
    body = {"model": "tiny", "prompt": "ab", "echo": True, "logprobs": 0, "max_tokens": 0}
    reply = post(app, COMPLETIONS, body).json()["choices"][0]
    assert reply["text"] == "ab"
    assert engine.asked[0].min_new_tokens == 0
    assert post(app, COMPLETIONS, {"model": "tiny", "prompt": "ab", "max_tokens": 0}).status_code == 400


def test_a_stream_says_the_same_as_a_whole_reply(app: FastAPI) -> None:
    body = {"model": "tiny", "prompt": ["ab", "cd"], "echo": True, "logprobs": 1, "n": 2}
    whole = post(app, COMPLETIONS, body).json()
    events = post(app, COMPLETIONS, body | {"stream": True, "stream_options": {"include_usage": True}}).text
    assert events.endswith("data: [DONE]\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events.split("\n\n")[:-2]]
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-1]["choices"] == []
    for choice in whole["choices"]:
        pieces = [one for chunk in chunks for one in chunk["choices"] if one["index"] == choice["index"]]
        assert "".join(piece["text"] for piece in pieces) == choice["text"]
        assert pieces[-1]["finish_reason"] == choice["finish_reason"]
        for name, values in choice["logprobs"].items():
            assert sum((piece["logprobs"][name] for piece in pieces), []) == values, name


@pytest.mark.parametrize(
    "fields",
    [
        *({"prompt": prompt} for prompt in (None, [], [[]], [1, "a"], ["a", 1], [True], [-1], [1.5], [2**31], 3, {})),
        *({"suffix": "x"}, {"best_of": 2}, {"logprobs": 21}, {"logprobs": True}, {"echo": "yes"}, {"messages": []}),
        *({"prompt": ["a"] * 17, "n": 2}, {"prompt": ["a"] * 33}),
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_what_is_no_request_is_refused(app: FastAPI, engine: FakeEngine, fields: dict[str, object]) -> None:
    reply = post(app, COMPLETIONS, {"model": "tiny", "prompt": "a"} | fields)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] in ("invalid_value", "unsupported_parameter")
    assert not engine.asked


@pytest.mark.parametrize(
    ("host", "raw_prompts", "status"),
    [
        ("127.0.0.1", None, 200),
        ("127.0.0.1", False, 404),
        ("192.168.1.5", None, 404),
        ("192.168.1.5", True, 200),
    ],
)
def test_raw_prompts_are_on_by_themselves_on_loopback_alone(
    engine: FakeEngine, keys: KeyStore, host: str, raw_prompts: bool | None, status: int
) -> None:
    _, secret = keys.new("laptop")
    app = app_of(engine, keys, ServerSettings(host=host, raw_prompts=raw_prompts))
    reply = post(app, COMPLETIONS, {"model": "tiny", "prompt": "a"}, Authorization=f"Bearer {secret}")
    assert reply.status_code == status


def test_if_one_prompt_fails_all_end(app: FastAPI, engine: FakeEngine) -> None:
    engine.fails_after = ZeroDivisionError()
    assert post(app, COMPLETIONS, {"model": "tiny", "prompt": ["a", "b", "c"]}).status_code == 500
    assert engine.running == 0


def test_a_reply_has_at_least_the_tokens_asked_for(engine: FakeEngine, app: FastAPI) -> None:
    assert post(app, "/v1/completions", {"model": "anna", "prompt": "hi", "max_tokens": 9, "min_tokens": 4}).is_success
    assert post(app, "/v1/completions", {"model": "anna", "prompt": "hi", "max_tokens": 2, "min_tokens": 4}).is_success
    assert post(app, "/v1/chat/completions", HELLO | {"min_tokens": 3}).is_success
    assert [request.min_new_tokens for request in engine.asked] == [4, 2, 3]
