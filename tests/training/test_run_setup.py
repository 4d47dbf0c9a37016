from pathlib import Path

import pytest
from made_up_chat import settings
from told_chat import RUNS, write_told

from menura.batches.encode import EncodedExchange
from menura.training.overrides import with_settings
from menura.training.recipes import recipe
from menura.training.run_setup import Prepared, prepare


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_told(tmp_path_factory.mktemp("told") / "told.jsonl")


def prepared(corpus: Path, share: float) -> Prepared:
    words = settings(corpus, *RUNS, f"model.lent_share={share}")[1::2]
    return prepare(with_settings(recipe("arplus/strength", "tiny"), words))


def exchanges(given: Prepared, side: str) -> list[EncodedExchange]:
    return [exchange for task in given.tasks(side) for dialogue in task.dialogues for exchange in dialogue]


def test_training_replies_are_lent_profiles_of_training_speakers_alone(corpus: Path) -> None:
    given = prepared(corpus, 0.5)
    train, held_back = exchanges(given, "train"), exchanges(given, "valid")
    lenders = {profile for exchange in train for tells in exchange.lent_profiles for _, profile in tells}
    assert lenders
    assert lenders <= {exchange.profiles[0] for exchange in train}
    assert held_back
    assert not any(exchange.lent_profiles for exchange in held_back)


def test_where_nothing_is_to_be_lent_nothing_is_looked_for(corpus: Path) -> None:
    assert not any(exchange.lent_profiles for exchange in exchanges(prepared(corpus, 0.0), "train"))
