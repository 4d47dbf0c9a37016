"""What SillyTavern and Open WebUI send, as their sources do, is answered with what they read.

SillyTavern: src/endpoints/backends/chat-completions.js and public/scripts/openai.js, with the source "custom". Open
WebUI: routers/openai.py, routers/tasks.py, utils/payload.py and the templates of its settings, of which only the first
line and the tags are taken.
"""

import json
from typing import Any

import pytest
from fake_engine import FakeEngine
from fastapi import FastAPI
from local_server import ask

from menura.corpus.dialogue import Turn

CHAT, MODELS = "/v1/chat/completions", "/v1/models"
NO_KEY = ("Bearer ", "Bearer null", "Bearer undefined")  # where none was typed in


def sent(app: FastAPI, body: dict[str, Any], key: str = "Bearer sk-1") -> Any:
    reply = ask(app, "POST", CHAT, json=body, headers={"Authorization": key})
    assert reply.status_code == 200, reply.text
    return reply


def chunks_of(app: FastAPI, body: dict[str, Any]) -> list[dict[str, Any]]:
    events = sent(app, body | {"stream": True}).text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


def tavern_body(**more: Any) -> dict[str, Any]:
    """Return a body in the order of SillyTavern's; what is undefined there is not sent."""
    return {
        "messages": [
            {"role": "system", "content": "You are Anna, in a made-up chat with User."},
            {"role": "system", "content": "[Example Chat]"},
            {"role": "system", "name": "example_user", "content": "how was it?"},
            {"role": "system", "name": "example_assistant", "content": "wet"},
            {"role": "system", "content": "[Start a new Chat]"},
            {"role": "assistant", "content": "hey you"},
            {"role": "user", "content": "hi"},
        ],
        "model": "anna",
        "temperature": 1,
        "max_tokens": 300,
        "stream": False,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_p": 1,
        **more,
    }


@pytest.mark.parametrize("key", [*NO_KEY, "Bearer sk-1"])
def test_silly_tavern_connects_by_the_list_of_models(app: FastAPI, key: str) -> None:
    reply = ask(app, "GET", MODELS, headers={"Authorization": key})
    assert reply.status_code == 200
    data = reply.json()["data"]
    assert isinstance(data, list)
    assert "anna" in [model["id"] for model in data]


def test_silly_tavern_s_chat_is_answered_whole(app: FastAPI, engine: FakeEngine) -> None:
    reply = sent(app, tavern_body()).json()
    assert reply["choices"][0]["message"]["content"] == "hello there you"
    assert engine.asked[0].turns == (Turn("persona", "hey you"), Turn("you", "hi"))
    assert engine.asked[0].max_new_tokens == 300
    assert "wet" in engine.asked[0].system
    for key in NO_KEY:
        sent(app, tavern_body(), key)


def test_silly_tavern_s_optional_fields_are_read(app: FastAPI, engine: FakeEngine) -> None:
    more = {"stop": ["\nUser:", "\nAnna:"], "logit_bias": {"12": -100, "7": 2.5}, "seed": 1234}
    probabilities = {"logprobs": True, "top_logprobs": 5}
    reply = sent(app, tavern_body(**more, **probabilities)).json()
    asked = engine.asked[0]
    assert (asked.stop, asked.sampling.seed, asked.top_logprobs) == (("\nUser:", "\nAnna:"), 1234, 5)
    assert asked.sampling.logit_bias == {12: -100, 7: 2.5}
    token = reply["choices"][0]["logprobs"]["content"][0]
    assert {"token", "logprob", "top_logprobs"} <= token.keys()


def test_silly_tavern_reads_the_first_choice_of_each_chunk_and_so_must_find_one(app: FastAPI) -> None:
    chunks = chunks_of(app, tavern_body(n=3))
    texts = ["", "", ""]
    for chunk in chunks:
        first = chunk["choices"][0]
        texts[first["index"]] += first["delta"].get("content", "")
        assert all(not other["delta"].get("content") for other in chunk["choices"][1:])
    assert texts == ["hello there you"] * 3


def test_silly_tavern_s_tools_are_refused_by_name_and_none_are_no_tools(app: FastAPI) -> None:
    tools = [{"type": "function", "function": {"name": "roll", "parameters": {}}}]
    reply = ask(
        app, "POST", CHAT, json=tavern_body(tools=tools, tool_choice="auto"), headers={"Authorization": "Bearer x"}
    )
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "tools")
    sent(app, tavern_body(tools=[], tool_choice="auto"))


def webui_body(*messages: tuple[str, str], **more: Any) -> dict[str, Any]:
    said = [{"role": role, "content": text} for role, text in messages]
    return {"stream": True, "model": "anna", "messages": said, **more}


def test_open_webui_lists_models_with_its_own_headers(app: FastAPI) -> None:
    for key in ("Bearer ", "Bearer sk-1"):
        who = {"X-OpenWebUI-User-Name": "Mo%C3%ADra", "X-OpenWebUI-User-Id": "1", "X-OpenWebUI-User-Role": "admin"}
        headers = {"Content-Type": "application/json", "Authorization": key, **who}
        reply = ask(app, "GET", MODELS, headers=headers)
        assert reply.status_code == 200
        assert "error" not in reply.json()
        assert all(model["id"] for model in reply.json()["data"])


def test_open_webui_s_chat_is_streamed_with_its_usage(app: FastAPI, engine: FakeEngine) -> None:
    body = webui_body(("system", "It is late."), ("user", "hi"), stream_options={"include_usage": True})
    chunks = chunks_of(app, body)
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text == "hello there you"
    assert chunks[-1]["usage"]["total_tokens"] == 8
    assert engine.asked[0].model == "anna"


def test_open_webui_s_settings_of_a_model_are_read(app: FastAPI, engine: FakeEngine) -> None:
    settings = {"temperature": 0.5, "top_p": 0.9, "min_p": 0.05, "frequency_penalty": 0.1, "presence_penalty": 0.2}
    more = {"max_tokens": 50, "seed": 7, "stop": ["END"], "logit_bias": {"5": 1}, "reasoning_effort": "low"}
    sent(app, webui_body(("user", "hi"), **settings, **more))
    sampling = engine.asked[0].sampling
    assert (sampling.temperature, sampling.min_p, sampling.seed) == (0.5, 0.05, 7)
    assert engine.asked[0].stop == ("END",)


HISTORY = "<chat_history>\nUSER: hi\nASSISTANT: hey\n</chat_history>"
SIDE = {
    "title": f"### Task:\nA short title, please.\n### Chat History:\n{HISTORY}",
    "tags": f"### Task:\nSome tags, please.\n\n### Chat History:\n{HISTORY}",
    "follow-ups": f"### Task:\nQuestions that could follow, please.\n### Chat History:\n{HISTORY}",
    "search words": f"### Task:\nWhat to search for?\n### Chat History:\n{HISTORY}",
    "a picture": f"### Task:\nDescribe a picture.\n### Chat History:\n{HISTORY}",
    "the rest of a line": f"### Task:\nGo on.\n### Context:\n{HISTORY}\n<text>the sun</text>\n#### Output:\n",
    "a chat with a file": "### Task:\nA title.\n<chat_history>\nUSER: what is <context>?\n</chat_history>",
    "to sum up": "### Task:\nSum up the conversation above.",
}


@pytest.mark.parametrize("kind", SIDE)
@pytest.mark.parametrize("length", ["max_completion_tokens", "max_tokens"])
def test_open_webui_s_own_questions_go_to_the_base_and_say_so(
    app: FastAPI, engine: FakeEngine, kind: str, length: str
) -> None:
    before = [("user", "hi"), ("assistant", "hey")] if kind == "to sum up" else []
    reply = sent(app, webui_body(*before, ("user", SIDE[kind])) | {"stream": False, length: 1000}).json()
    assert engine.asked[0].model == "tiny"
    assert reply["model"] == "anna"
    assert reply["menura"]["notes"] == [
        "a front end's own question about the chat: answered by tiny, without the persona"
    ]
    assert reply["choices"][0]["message"]["content"]
    of_the_base = sent(app, webui_body(("user", SIDE[kind])) | {"stream": False, "model": "tiny"}).json()
    assert of_the_base["menura"]["notes"] == []


@pytest.mark.parametrize(
    "text",
    [
        "what is ### Task: for?",
        # what is put before a person's question where a file is attached
        '### Task:\nAnswer.\n### Guidelines:\n- Cite.\n<context>\n<source id="1">x</source>\n</context>\n\nhi',
    ],
)
def test_what_a_person_asks_is_the_persona_s_to_answer(app: FastAPI, engine: FakeEngine, text: str) -> None:
    chunks_of(app, webui_body(("user", "hi"), ("assistant", "hey"), ("user", text)))
    chunks_of(app, webui_body(("user", text)))
    assert [one.model for one in engine.asked] == ["anna", "anna"]
