"""The settings of an evaluation, and the flags of ``menura eval`` that are made from them.

Nothing here imports torch, so that the help is printed fast.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from menura.errors import ConfigError
from menura.memory.settings import RecallBy

if TYPE_CHECKING:
    from menura.decoding.candidates import Ranking
    from menura.decoding.generate import Decoding

OF_LIKELIHOOD = ("ppl", "bits", "latent")  # prefixes of metrics that need no generated reply
OF_RANKS = ("hits", "mrr")  # prefixes of metrics that rank the reference among other replies

Protocol = Literal["following", "leave-one-out"]
SplitName = Literal["test", "valid"]
BaseDtype = Literal["auto", "float32", "bfloat16"]


def setting(default: Any, help: str = "", *flags: str, minimum: float | None = None) -> Any:
    """Return a field, with a command-line flag if it has ``help``; ``flags`` replace the flag's default name."""
    return field(default=default, metadata={"help": help, "flags": flags, "minimum": minimum})


def _nucleus() -> "Decoding":
    from menura.decoding.sampling import Nucleus  # noqa: PLC0415  # with torch

    return Nucleus()


def _ranking() -> "Ranking":
    from menura.decoding.candidates import Ranking  # noqa: PLC0415  # with torch

    return Ranking()


@dataclass(frozen=True)
class DecodingFlags:
    """How replies are decoded, as command-line flags."""

    greedy: bool = setting(False, "Decode greedily instead.")
    top_p: float = setting(0.92, "Sample from this share of the likeliest tokens.")
    temperature: float = setting(1.0, "Below 1 is more sober, above 1 wilder.")
    num_beams: int = setting(0, "Decode by a beam of this width.", minimum=0)
    collapse: bool = setting(False, "Leave out words the beam's reply repeats.")
    min_p: float = setting(0.0, "Sample from tokens so many times as likely as the likeliest, in place of top-p.")
    repetition_penalty: float = setting(1.0, "Above 1, tokens that a reply has already become less likely.")
    length_penalty: float = setting(0.0, "Of the beam: 0 the summed log-probability, 1 its mean.")


@dataclass(frozen=True)
class EvaluateConfig:
    """The settings of an evaluation.

    With the protocol ``following`` the query is the ``queries`` dialogues after the largest of ``shots``; with
    ``leave-one-out`` each of the first ``queries`` dialogues (0 = all) is the query once, and the first other ones are
    the support. In both every row has the same query. ``draws`` repeats the adapted rows, from the second on with
    support dialogues drawn at random. Perplexity is over all query exchanges, generation and ranking over the first
    ``replies`` of each query (0 = all). ``strength`` is the persona's weight in scoring, 0 to 1, for a model that has
    one (None: the model's own); adapting always uses the model's own. ``prompt`` adds rows with the support dialogues
    in the context. If there are several ``epochs``, the number of inner epochs is first chosen on validation personas.
    ``scorers`` is the folder of the trained scorers that some metrics need, the workspace's if empty. ``upper_bound``
    adds a row in which each reply is the candidate nearest to the reference. ``ranker`` is the file, or run, of a
    ranker that replaces ``ranking``. ``split`` is the evaluated split: test, or valid, the personas on which settings
    may be chosen. Without ``metrics`` the usual ones for the text are taken. ``dtype`` is the number type of the base
    of a run that is loaded to be evaluated. With ``ask_facts`` the queries are questions after what the persona said of
    itself in the support dialogues (``memory.stated_facts``), and its answers the references.
    """

    shots: tuple[int, ...] = setting((5,), "Support dialogues, one or a sweep: 0,1,3,5,10", "--k", "-k")
    queries: int = setting(2, "Query dialogues a persona.")
    protocol: Protocol = setting("following", "following, or leave-one-out (--queries 0: each dialogue).")
    draws: int = setting(1, "Draws of the support; the first is file order.")
    epochs: tuple[int, ...] = setting((), "Inner epochs to choose from on held-back personas: 1,2,4")
    prompt: bool = setting(False, "Rows with the support dialogues in the context.")
    memory_tokens: int = setting(0, "Rows with exchanges that are recalled, in so many tokens of context.", minimum=0)
    memory_by: RecallBy = setting("bm25", "How exchanges are recalled: bm25, by words, or states of the network.")
    cache_weight: float = setting(0.0, "Rows with a cache of the person's own words, of so much weight.")
    identify: bool = setting(False, "Whose persona makes each person's held-out replies likeliest.")
    ask_facts: bool = setting(False, "Ask for what the persona said of itself in the support, in place of queries.")
    max_prompt_tokens: int = 2048  # tokens of a sequence with support dialogues in its context
    replies: int = setting(4, "Exchanges a persona to reply to and to rank; 0 = all.")
    candidates: int = setting(20, "Replies that the real one is ranked among, itself included.")
    decoding: "Decoding" = field(default_factory=_nucleus)
    max_new_tokens: int = setting(40, "Tokens a reply may have.")
    # An empty reply is none of AR's (1).
    min_new_tokens: int = setting(0, "Tokens a reply must have before it may end.", minimum=0)
    ranking: "Ranking" = field(default_factory=_ranking)  # of the candidates of a model with latents
    upper_bound: bool = setting(False, "A row that always picks the best candidate.")
    ranker: str = setting("", "A ranker's file, or its run: it chooses among candidates.")
    metrics: tuple[str, ...] = setting((), "Names, comma-separated; empty = the usual, by words or characters.")
    scorers: str = setting("", "The folder of trained scorers; the workspace's if left out.")
    strength: float | None = setting(None, "How much a persona weighs, 0 to 1, where it can.")
    split: SplitName = setting("test", "Who is scored: test, or valid, by whom settings may be chosen.")
    dtype: BaseDtype = setting("float32", "Numbers of the base: float32, bfloat16, or auto: what the memory takes.")
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to score."""
        if self.split == "valid" and self.epochs:
            raise ConfigError(
                "epochs are chosen on held-back personas, who are those to be judged here",
                hint="leave --epochs out, or --split test",
            )
        if self.ask_facts and (self.identify or not any(self.shots)):
            raise ConfigError(
                "--ask-facts: what was said in at least one support dialogue is asked for, and identifies nobody",
                hint="-k 5, without --identify",
            )
        if "whose-reply" in self.metrics and (self.protocol != "following" or self.draws > 1):
            raise ConfigError(
                "whose-reply: its classifier learns from dialogues that are neither support nor query, and none are",
                hint="--protocol following, without --draws",
            )
        if not self.shots or min(self.shots) < 0:
            raise ConfigError(f"shots {self.shots}: give at least one number, none negative")
        if self.epochs and min(self.epochs) < 1:
            raise ConfigError(f"epochs {self.epochs}: each must be at least 1")
        leasts = {
            "queries": int(self.protocol == "following"),
            "draws": 1,
            "replies": 0,
            "candidates": 2,
            "min_new_tokens": 0,
        }
        leasts["max_new_tokens"] = max(self.min_new_tokens, 1)
        for name, least in leasts.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: {getattr(self, name)}, must be at least {least}")
        if not 0 <= self.cache_weight < 1:
            raise ConfigError(f"cache_weight: {self.cache_weight:g}, must be at least 0 and below 1")
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise ConfigError(f"strength: {self.strength}, must be between 0 and 1")

    @property
    def needed(self) -> int:
        """How many dialogues a persona must have."""
        return max(self.shots) + 1 if self.protocol == "following" else 2

    @property
    def ranks(self) -> bool:
        """Whether any metric needs the reference's place among others."""
        return any(name.startswith(OF_RANKS) for name in self.metrics)

    @property
    def generates(self) -> bool:
        """Whether any metric needs a reply or a rank."""
        return any(not name.startswith(OF_LIKELIHOOD) for name in self.metrics)
