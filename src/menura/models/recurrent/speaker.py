"""A seq2seq whose decoder has a speaker embedding at every word (Li et al., 2016; CMAML's Speaker baseline).

Shape letters: B exchanges, U users, W width of a user embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch
from menura.errors import ConfigError
from menura.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig


@dataclass(frozen=True)
class SpeakerConfig(Seq2SeqConfig):
    """A seq2seq's settings and those of the user embeddings.

    ``num_users`` is how many there are; a run counts its training personas, and one more for all others.
    """

    name: ClassVar[str] = "speaker"

    num_users: int = 1
    user_size: int = 64

    def __post_init__(self) -> None:
        """Refuse an embedding without a row."""
        super().__post_init__()
        for name in ("num_users", "user_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: {getattr(self, name)}, must be at least 1")


class Speaker(Seq2Seq):
    """The last user embedding is for personas not trained on: drawn from N(0, 1), never trained, free to adapt."""

    def __init__(self, config: SpeakerConfig, persona_ids: Sequence[str] = ()) -> None:
        super().__init__(config, beside=config.user_size)
        self.users = nn.Embedding(config.num_users, config.user_size)  # initialised from N(0, 1)
        self._row: Mapping[str, int] = {persona_id: row for row, persona_id in enumerate(persona_ids)}

    def _beside(self, batch: Batch) -> Tensor:
        """Return (B, W) the user embeddings."""
        unknown = self.users.num_embeddings - 1
        rows = [self._row.get(exchange.persona_id, unknown) for exchange in batch.exchanges]
        found: Tensor = self.users(torch.tensor(rows, dtype=torch.long, device=self.device))
        return found
