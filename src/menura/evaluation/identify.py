"""Held-out replies of everybody under everybody's persona, for identification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy

from menura.batches.encode import EncodedExchange
from menura.evaluation.generation import Evaluator
from menura.evaluation.systems import System
from menura.metrics.identification import HeldOutReplies, Identified, identified


@dataclass
class Identification:
    """NLL of the held-out replies of all personas (owners) under each persona (judge), by row.

    ``queries`` are the owners' exchanges, in the order of the personas.
    """

    evaluator: Evaluator
    queries: Sequence[Sequence[EncodedExchange]]
    limit: int  # tokens of a sequence with a prompt in it
    seed: int = 0
    nll: dict[str, list[list[list[float]]]] = field(default_factory=dict)  # by row: judges, owners, replies

    def judge(self, system: System) -> None:
        """Score everybody's replies under the next persona, as one row has it."""
        self.nll.setdefault(system.kind.name, []).append(
            self.evaluator.nll(self.queries, system, prompt_limit=self.limit)
        )

    def results(self) -> Mapping[str, tuple[Identified, ...]]:
        """Return how well each row's personas are told apart."""
        unadapted = self.evaluator.nll(self.queries)
        return {
            name: tuple(identified(self._owners(judges, unadapted), seed=self.seed))
            for name, judges in self.nll.items()
        }

    def _owners(
        self, judges: Sequence[Sequence[Sequence[float]]], unadapted: Sequence[Sequence[float]]
    ) -> list[HeldOutReplies]:
        owners = []
        for place, exchanges in enumerate(self.queries):
            names = {exchange.dialogue_id: None for exchange in exchanges}
            numbers = {name: number for number, name in enumerate(names)}
            owners.append(
                HeldOutReplies(
                    numpy.array([judge[place] for judge in judges]),
                    numpy.array(unadapted[place]),
                    numpy.array([len(exchange.reply) for exchange in exchanges]),
                    numpy.array([numbers[exchange.dialogue_id] for exchange in exchanges]),
                )
            )
        return owners
