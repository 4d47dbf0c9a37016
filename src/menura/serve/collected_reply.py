"""The engine's events of one request add up to what its reply is so far, whichever route asked for it."""

from collections import defaultdict
from dataclasses import dataclass, field

from menura.serve.generation import Begun, Delta, Event, Finished, FinishReason, Ranked, TokenLogprob


@dataclass
class ReplyChoice:
    """One choice as far as it has come; ``reason`` is None until it has ended."""

    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    reason: FinishReason | None = None
    tokens: int = 0


@dataclass
class CollectedReply:
    """A request's reply as far as it has come: its choices by index."""

    prompt: Begun | None = None  # what was read
    choices: dict[int, ReplyChoice] = field(default_factory=lambda: defaultdict(ReplyChoice))
    ranked: Ranked | None = None

    def take(self, event: Event) -> None:
        """Add what an event says."""
        match event:
            case Begun():
                self.prompt = event
            case Delta():
                choice = self.choices[event.index]
                choice.text += event.text
                choice.logprobs += event.logprobs
            case Finished():
                choice = self.choices[event.index]
                choice.reason, choice.tokens = event.reason, event.tokens
            case Ranked():
                self.ranked = event

    @property
    def best(self) -> int:
        """The index of the choice with the best score; the first where they have none."""
        return self.ranked.best if self.ranked else min(self.choices, default=0)

    @property
    def tokens(self) -> int:
        """The tokens of all choices that have ended."""
        return sum(choice.tokens for choice in self.choices.values())
