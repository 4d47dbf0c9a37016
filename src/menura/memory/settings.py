"""How a persona recalls, unless asked otherwise. Nothing here imports a library, so that help is printed fast."""

from typing import Literal

RecallBy = Literal["bm25", "states"]  # by words, or by hidden states of the un-adapted base
MEMORY_TOKENS = 256  # of recalled exchanges before a context
