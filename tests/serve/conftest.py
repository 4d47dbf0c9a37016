"""Servers with an engine that has no model, in process or on a port of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from local_server import app_of

from menura.serve.http.keys import KeyStore


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    """Give a store without a key."""
    return KeyStore(tmp_path / "keys.json")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def app(engine: FakeEngine, keys: KeyStore) -> Callable[..., object]:
    return app_of(engine, keys)
