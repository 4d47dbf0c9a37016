"""The engine replies to many requests at once as each persona does alone."""

import asyncio
import math
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serve.made_personas import make_persona, tiny

from menura import api
from menura.artefacts import persona_store
from menura.artefacts.loading import LoadedModel
from menura.corpus.dialogue import Turn
from menura.decoding.sampling import Nucleus
from menura.errors import ConfigError, DataError, MenuraError, OverloadedError, PersonaChangedError, UnavailableError
from menura.serve.engine.scheduler import BatchingEngine
from menura.serve.generation import (
    Begun,
    Delta,
    Event,
    Finished,
    GenerationRequest,
    Ranked,
    Sampling,
)
from menura.serve.settings import EngineSettings, ServerSettings

LINES = ("hello", "did you water the fern?", "what now?", "tell me more about the basil, and the rain", "no")
SAMPLED = Sampling(temperature=1.0, top_p=0.9, seed=7)
GREEDY = Sampling(temperature=0)
TOKENS = 12


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("served")
    patch.setenv("MENURA_HOME", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def loaded(home: Path) -> LoadedModel:
    del home
    made = tiny()
    for number in range(6):
        make_persona(made, f"p{number}")
    return made


def settings(**changes: Any) -> ServerSettings:
    return ServerSettings(offline=True, engine=replace(EngineSettings(), **changes))


@pytest.fixture
def engine(loaded: LoadedModel) -> Iterator[BatchingEngine]:
    del loaded
    made = BatchingEngine(settings())
    yield made
    made.close()


def request(model: str, line: str = LINES[0], sampling: Sampling = SAMPLED, **more: Any) -> GenerationRequest:
    turns = () if "prompt" in more else (Turn("you", line),)
    return GenerationRequest(model, turns, sampling=sampling, **{"max_new_tokens": TOKENS, **more})


async def events_of(engine: BatchingEngine, asked: GenerationRequest) -> list[Event]:
    return [event async for event in engine.generate(asked)]


def asked(engine: BatchingEngine, *requests: GenerationRequest) -> list[list[Event]]:
    async def all_at_once() -> list[list[Event]]:
        return list(await asyncio.gather(*(events_of(engine, one) for one in requests)))

    return asyncio.run(all_at_once())


def text(events: Sequence[Event], index: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta) and event.index == index)


def alone(name: str, line: str, *, seed: int = 7) -> str:
    agent = api.agents([name], offline=True)[name]
    return agent.reply(line, decoding=Nucleus(0.9, 1.0), max_new_tokens=TOKENS, seed=seed)


def test_many_personas_at_once_say_what_each_says_alone(engine: BatchingEngine) -> None:
    requests = [request(f"p{number % 6}", line) for number, line in enumerate(LINES * 4)]
    replies = [text(events) for events in asked(engine, *requests)]
    assert replies == [alone(one.model, one.turns[0].text) for one in requests]
    assert len(set(replies)) > len(LINES), "personas that say the same would show nothing"


def test_a_base_replies_beside_its_personas(engine: BatchingEngine) -> None:
    base, persona = asked(engine, request("tiny"), request("p0"))
    wanted = api.load("tiny", offline=True).reply(LINES[0], decoding=Nucleus(0.9, 1.0), max_new_tokens=TOKENS, seed=7)
    assert text(base) == wanted
    assert text(persona) == alone("p0", LINES[0])


def test_the_events_of_a_reply_come_in_order(engine: BatchingEngine) -> None:
    (events,) = asked(engine, request("p1", count=3))
    assert isinstance(events[0], Begun)
    assert events[0].model == "p1"
    assert events[0].version == 1
    ends = [event for event in events if isinstance(event, Finished)]
    assert sorted(event.index for event in ends) == [0, 1, 2]
    for end in ends:
        at = events.index(end)
        assert not any(isinstance(event, Delta) and event.index == end.index for event in events[at:])
    assert [text(events, index) for index in range(3)] == [alone("p1", LINES[0], seed=7 + n) for n in range(3)]


def test_a_conversation_that_goes_on_is_read_on(engine: BatchingEngine) -> None:
    (first,) = asked(engine, request("p2", LINES[3]))
    turns = (Turn("you", LINES[3]), Turn("persona", text(first)), Turn("you", LINES[1]))
    longer = replace(request("p2"), turns=turns)
    (again,) = asked(engine, longer)
    (other,) = asked(engine, replace(longer, model="p3"))
    assert isinstance(again[0], Begun)
    assert isinstance(other[0], Begun)
    assert 8 <= again[0].cached_tokens < again[0].prompt_tokens
    assert other[0].cached_tokens == 0, "nothing of another persona is read on"
    agent = api.agents(["p2"], offline=True)["p2"]
    assert text(again) == agent.reply(turns, decoding=Nucleus(0.9, 1.0), max_new_tokens=TOKENS, seed=7)


def test_a_stop_string_ends_a_reply_and_is_no_part_of_it(engine: BatchingEngine) -> None:
    (whole,) = asked(engine, request("p4"))
    stop = text(whole)[3:5]
    (events,) = asked(engine, request("p4", stop=("never said", stop)))
    assert text(events) == text(whole)[: text(whole).index(stop)].rstrip()
    (end,) = [event for event in events if isinstance(event, Finished)]
    assert end.reason == "stop"


def test_a_long_reply_ends_at_the_number_of_tokens_asked_for(engine: BatchingEngine) -> None:
    (events,) = asked(engine, request("p0", min_new_tokens=3, max_new_tokens=3))
    (end,) = [event for event in events if isinstance(event, Finished)]
    assert (end.reason, end.tokens) == ("length", 3)


def test_log_probabilities_are_those_of_the_tokens(engine: BatchingEngine) -> None:
    (events,) = asked(engine, request("p0", sampling=GREEDY, top_logprobs=2))
    told = [one for event in events if isinstance(event, Delta) for one in event.logprobs]
    (end,) = [event for event in events if isinstance(event, Finished)]
    assert len(told) == end.tokens
    for one in told:
        assert one.logprob is not None
        assert one.top[0][0] == one.text
        assert one.top[0][1] == pytest.approx(one.logprob)
        assert one.top[1][1] <= one.logprob


def test_candidates_are_scored_by_how_much_likelier_the_persona_makes_them(engine: BatchingEngine) -> None:
    (events,) = asked(engine, request("p0", count=4, ranked=True))
    ranked = events[-1]
    assert isinstance(ranked, Ranked)
    agent = api.agents(["p0"], offline=True)["p0"]
    found = agent.candidates(
        LINES[0],
        4,
        decoding=Nucleus(0.9, 1.0),
        max_new_tokens=TOKENS,
        seed=7,
        ranking=api.ranking("persona"),
    )
    assert len(ranked.scores) == 4
    assert ranked.scores[ranked.best] == max(ranked.scores)
    assert len(found) == 4


def test_a_raw_prompt_is_echoed_with_its_log_probabilities(engine: BatchingEngine, loaded: LoadedModel) -> None:
    ids = loaded.encoder.tokenizer.encode("hello there")
    (events,) = asked(engine, request("p0", prompt=ids, echo=True, top_logprobs=1, max_new_tokens=1))
    told = [one for event in events if isinstance(event, Delta) for one in event.logprobs]
    assert told[0].logprob is None
    assert text(events).startswith("hello there")
    assert all(one.logprob is not None for one in told[1:])
    assert len(told) in (len(ids), len(ids) + 1)


BAD = [
    (request("nobody"), ConfigError, "model_not_found"),
    (request("../p0"), ConfigError, "model_not_found"),
    (request("p0@9"), ConfigError, "model_not_found"),
    (request("p0", count=0), ConfigError, "invalid_value"),
    (request("p0", count=33), ConfigError, "invalid_value"),
    (request("p0", prompt=(1,) * 10_000), DataError, "context_length_exceeded"),
    (request("p0", prompt=(10**6,)), ConfigError, "invalid_value"),
    (request("p0", prompt=""), DataError, "empty"),
    (request("p0", memory_tokens=5), ConfigError, "no_memory"),
    *(
        (request("p0", sampling=Sampling(**wrong)), ConfigError, "invalid_value")
        for wrong in (
            {"temperature": -1},
            {"temperature": math.nan},
            {"top_p": -0.1},
            {"top_p": 1.5},
            {"top_k": -1},
            {"min_p": 2},
            {"repetition_penalty": 0.5},
            {"presence_penalty": math.inf},
            {"logit_bias": {-1: 5}},
            {"logit_bias": {1: math.nan}},
        )
    ),
]


@pytest.mark.parametrize(("wrong", "kind", "code"), BAD, ids=[f"{code}-{n}" for n, (_, _, code) in enumerate(BAD)])
def test_what_cannot_be_is_refused_and_the_next_request_is_served(
    engine: BatchingEngine, wrong: GenerationRequest, kind: type[MenuraError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        asked(engine, wrong)
    assert caught.value.problems[0].code == code
    assert text(asked(engine, request("p0"))[0]) == alone("p0", LINES[0])


def test_a_damaged_persona_says_so_and_the_others_are_served(engine: BatchingEngine, loaded: LoadedModel) -> None:
    make_persona(loaded, "broken")
    path = persona_store.path_of("broken")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError) as caught:
        asked(engine, request("broken"))
    assert caught.value.problems[0].code == "persona_damaged"
    assert text(asked(engine, request("p0"))[0]) == alone("p0", LINES[0])
    path.unlink()


def test_a_persona_made_anew_is_another_from_the_next_request_on(engine: BatchingEngine, loaded: LoadedModel) -> None:
    make_persona(loaded, "changing")
    before = text(asked(engine, request("changing"))[0])
    make_persona(loaded, "changing", salt="new")
    (events,) = asked(engine, request("changing"))
    assert isinstance(events[0], Begun)
    assert events[0].cached_tokens == 0
    assert text(events) == alone("changing", LINES[0]) != before


async def first_event(engine: BatchingEngine, asked: GenerationRequest) -> tuple[Any, Event]:
    generator = engine.generate(asked)
    return generator, await anext(generator)


def until(condition: Any, seconds: float = 5.0) -> Coroutine[Any, Any, bool]:
    async def waiting() -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.01)
        return True

    return waiting()


LONG = {"min_new_tokens": 60, "max_new_tokens": 60}


def test_a_reply_that_nobody_waits_for_frees_its_row(engine: BatchingEngine) -> None:
    async def leaving() -> bool:
        generator, _ = await first_event(engine, request("p0", count=8, **LONG))
        assert await until(lambda: engine.state().running == 8)
        await generator.aclose()
        return await until(lambda: engine.state().running == 0, 1.0)

    assert asyncio.run(leaving())


def test_a_queue_that_is_full_refuses_at_once(loaded: LoadedModel) -> None:
    del loaded
    small = BatchingEngine(settings(slots=2, max_waiting=2))

    async def crowding() -> list[Any]:
        return await asyncio.gather(
            *(events_of(small, request("p0", **LONG)) for _ in range(12)), return_exceptions=True
        )

    results = asyncio.run(crowding())
    refused = [one for one in results if isinstance(one, OverloadedError)]
    served = [one for one in results if not isinstance(one, BaseException)]
    assert refused
    assert served
    assert len(refused) + len(served) == 12
    assert all(isinstance(one[-1], Finished) for one in served)
    small.close()


def test_who_has_enough_rows_waits_while_others_go_on(loaded: LoadedModel) -> None:
    del loaded
    fair = BatchingEngine(settings(slots=4, slots_per_owner=2))

    async def order() -> list[str]:
        done: list[str] = []

        async def one(owner: str, number: int) -> None:
            await events_of(fair, request("p0", owner=owner, **LONG))
            done.append(f"{owner}{number}")

        greedy = [asyncio.create_task(one("a", number)) for number in range(6)]
        await asyncio.sleep(0.05)
        await asyncio.gather(*greedy, one("b", 0))
        return done

    assert asyncio.run(order()).index("b0") < 5
    fair.close()


def test_a_persona_deleted_while_it_replies_ends_with_an_error(engine: BatchingEngine, loaded: LoadedModel) -> None:
    make_persona(loaded, "leaving")

    async def deleting() -> None:
        requests = [request("leaving", min_new_tokens=250, max_new_tokens=250) for _ in range(20)]
        generators = [engine.generate(one) for one in requests]
        await asyncio.gather(*(anext(one) for one in generators))
        persona_store.remove("leaving")
        for generator in generators:
            with pytest.raises(PersonaChangedError):
                async for _ in generator:
                    pass

    asyncio.run(deleting())


def test_an_engine_that_stops_says_so_to_all_that_run(loaded: LoadedModel) -> None:
    del loaded
    stopping = BatchingEngine(settings())

    async def stop() -> None:
        generator, _ = await first_event(stopping, request("p0", count=16, **LONG))
        await asyncio.to_thread(stopping.close)
        with pytest.raises(UnavailableError):
            async for _ in generator:
                pass
        with pytest.raises(UnavailableError):
            await events_of(stopping, request("p0"))

    asyncio.run(stop())


def test_the_least_used_personas_leave_memory_and_come_back(loaded: LoadedModel) -> None:
    one = sum(value.nbytes for value in make_persona(loaded, "p0").weights.values())
    small = BatchingEngine(settings(resident_bytes=2 * one))
    for _ in range(2):
        for number in range(6):
            assert text(asked(small, request(f"p{number}"))[0]) == alone(f"p{number}", LINES[0])
            assert small.state().resident_bytes <= 2 * one
    small.close()


@pytest.fixture
def unbatched_engine(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchingEngine]:
    """Give an engine whose models have no batch of rows."""
    del loaded
    monkeypatch.setattr("menura.serve.engine.scheduler.running_model", lambda loaded, prefixes: None)
    made = BatchingEngine(settings())
    yield made
    made.close()


def test_a_model_without_a_batch_replies_and_refuses_what_only_a_batch_can_do(unbatched_engine: BatchingEngine) -> None:
    assert text(asked(unbatched_engine, request("p0"))[0]) == alone("p0", LINES[0])
    for wrong in ({"sampling": Sampling(presence_penalty=1.0)}, {"min_new_tokens": 2}, {"top_logprobs": 1}):
        with pytest.raises(ConfigError) as caught:
            asked(unbatched_engine, request("p0", **wrong))
        assert caught.value.problems[0].code == "unsupported_parameter"


def test_a_reply_outside_the_batch_ends_with_the_engine(unbatched_engine: BatchingEngine) -> None:
    async def stop() -> None:
        generator, _ = await first_event(unbatched_engine, request("p0", max_new_tokens=250, sampling=GREEDY))
        await asyncio.to_thread(unbatched_engine.close)
        async with asyncio.timeout(5):
            with pytest.raises(UnavailableError):
                async for _ in generator:
                    pass

    asyncio.run(stop())


def ended(events: Sequence[Event]) -> list[tuple[str, str, int]]:
    """Return each reply with why and where it ended, sorted: outside a batch the likeliest of several comes first."""
    ends = [one for one in events if isinstance(one, Finished)]
    return sorted((text(events, one.index), one.reason, one.tokens) for one in ends)


@pytest.mark.parametrize("count", [1, 3])
def test_outside_a_batch_a_reply_ends_where_it_ends_in_one(
    engine: BatchingEngine, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    whole = alone("p0", LINES[0])
    stops = [(), (whole[5:7], whole[-2:]), ("never said",)]
    requests = [request("p0", count=count, stop=stop) for stop in stops]
    wanted = [ended(events) for events in asked(engine, *requests)]
    monkeypatch.setattr("menura.serve.engine.scheduler.running_model", lambda loaded, prefixes: None)
    unbatched = BatchingEngine(settings())
    assert [ended(events) for events in asked(unbatched, *requests)] == wanted
    unbatched.close()
    assert [len(one) for one in wanted] == [count] * 3
    assert (whole, "length", TOKENS) in wanted[0]
    assert (whole[:5].rstrip(), "stop") in {(said, reason) for said, reason, _ in wanted[1]}
