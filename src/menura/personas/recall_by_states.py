"""A model and its encoder become what tells how like two lines are, so that a memory recalls by states."""

from collections.abc import Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from menura.batches.encode import Encoder
from menura.errors import ConfigError
from menura.memory.recall import LineStates
from menura.memory.settings import RecallBy
from menura.models.dialogue_model import DialogueModel, HasLineStates


def states_for(by: RecallBy, model: DialogueModel[Any], encoder: Encoder) -> LineStates | None:
    """Return the states that a memory is to recall by, None by words; ConfigError for a model that has none."""
    if by == "bm25":
        return None
    if not isinstance(model, HasLineStates):
        raise ConfigError(f"{type(model).__name__} has no states to recall by", hint="--memory-by bm25")

    def states_of(lines: Sequence[str]) -> NDArray[numpy.float32]:
        states = model.line_states([encoder.tokenizer.encode(line) for line in lines])
        return states.cpu().numpy().astype(numpy.float32)

    return states_of
