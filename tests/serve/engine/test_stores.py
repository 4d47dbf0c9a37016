"""Replicas read the same personas from a store that none of them changes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from serve.made_personas import make_persona, tiny

from menura.artefacts import persona_store
from menura.artefacts.loading import LoadedModel
from menura.corpus.dialogue import Turn
from menura.errors import ConfigError, DataError, StorageError
from menura.serve.engine.scheduler import BatchingEngine
from menura.serve.engine.stores import REFRESH_SECONDS, SharedFiles
from menura.serve.generation import Begun, Delta, GenerationRequest, Sampling
from menura.serve.settings import ServerSettings

URL = "memory://personas"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    patch = pytest.MonkeyPatch()
    patch.setenv("MENURA_HOME", str(tmp_path_factory.mktemp("stores")))
    yield tiny()
    patch.undo()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give an empty bucket of a server that speaks S3; skip where there is none."""
    pytest.importorskip("s3fs", reason="no s3fs here: pip install s3fs 'moto[server]'")
    server_of = pytest.importorskip("moto.server", reason="no moto here: pip install s3fs 'moto[server]'")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    named = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**named, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    name = f"menura-{uuid4().hex}"  # one server keeps what another one was told
    files.mkdir(name)
    yield f"s3://{name}/personas"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


@pytest.fixture(params=["memory", "folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the address of an empty store."""
    if request.param == "folder":
        yield str(tmp_path)
        return
    if request.param == "s3":
        yield request.getfixturevalue("bucket")
        return
    files = fsspec.filesystem("memory")
    files.makedirs("/personas", exist_ok=True)
    yield URL
    files.rm("/personas", recursive=True)


def put(store: str, loaded: LoadedModel, name: str, *, salt: str = "", to: str = "") -> None:
    """Copy a persona into a store, as whoever manages it does."""
    make_persona(loaded, name, salt=salt)
    content = persona_store.path_of(name).read_bytes()
    persona_store.remove(name)
    with fsspec.open(f"{store}/{to or name}.persona", "wb") as file:
        file.write(content)


class Clock:
    """A clock that stands until it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def reply(engine: BatchingEngine, name: str) -> tuple[int, str]:
    async def one() -> tuple[int, str]:
        asked = GenerationRequest(name, (Turn("you", "hello"),), max_new_tokens=12, sampling=Sampling(temperature=0))
        events = [event async for event in engine.generate(asked)]
        assert isinstance(events[0], Begun)
        return events[0].version, "".join(event.text for event in events if isinstance(event, Delta))

    return asyncio.run(one())


def test_every_replica_answers_as_every_persona(loaded: LoadedModel, store: str) -> None:
    for name in ("ana", "ben"):
        put(store, loaded, name)
    put(store, loaded, "ana", salt="first", to="ana@1")
    replicas = [BatchingEngine(ServerSettings(offline=True, store=store)) for _ in range(2)]
    said = [[reply(replica, name) for name in ("ana", "ana@1", "ben")] for replica in replicas]
    assert said[0] == said[1]
    assert len({text for _, text in said[0]}) == 3
    assert [version for version, _ in said[0]] == [2, 1, 1]
    listed = [model.name for model in replicas[0].served() if model.created]
    assert listed == ["ana", "ben"], "versions are found by name, and not listed"
    assert replicas[0].find("ana").parent == "tiny"
    for replica in replicas:
        with pytest.raises(ConfigError, match="did you mean ana"):
            replica.find("anna")
        replica.close()


def test_a_persona_written_anew_or_taken_away_is_noticed_after_some_seconds(loaded: LoadedModel, store: str) -> None:
    put(store, loaded, "ana")
    clock = Clock()
    files = SharedFiles(store, clock=clock)
    before = files.stamp("ana")
    put(store, loaded, "ana", salt="new")
    assert files.stamp("ana") == before, "a listing is kept for a while"
    clock.now = REFRESH_SECONDS
    assert files.stamp("ana") not in (before, None)
    fs, root = fsspec.core.url_to_fs(store)
    fs.rm(f"{root}/ana.persona")
    clock.now = 2 * REFRESH_SECONDS
    assert files.stamp("ana") is None


def test_what_is_no_persona_is_not_listed(loaded: LoadedModel, store: str) -> None:
    put(store, loaded, "ana")
    for name in ("notes.txt", ".hidden.persona", "a b.persona", "ana@x.persona"):
        with fsspec.open(f"{store}/{name}", "wb") as file:
            file.write(b"anything")
    files = SharedFiles(store)
    assert list(files.stamps()) == ["ana"]
    assert files.stamp("../ana") is None


def test_a_damaged_file_says_so(loaded: LoadedModel, store: str) -> None:
    del loaded
    with fsspec.open(f"{store}/ana.persona", "wb") as file:
        file.write(b"PK but no more")
    engine = BatchingEngine(ServerSettings(offline=True, store=store))
    with pytest.raises(DataError) as caught:
        reply(engine, "ana")
    assert caught.value.problems[0].code == "persona_damaged"
    engine.close()


@pytest.mark.parametrize(
    ("url", "kind"), [("memory://nowhere", StorageError), ("/no/such/folder", StorageError), ("what://x", ConfigError)]
)
def test_a_store_that_is_not_there_is_said_at_once(url: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        SharedFiles(url)
