"""Flags of decoding become how replies are found."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from menura.decoding.candidates import Ranking
    from menura.decoding.generate import Decoding

RANK_BY = Annotated[
    str, typer.Option(help="What candidates of a model with latents are ranked by: rs, lm, lm-norm or mixture.")
]


def decoding(
    usual: "Decoding", *, greedy: bool, num_beams: int, collapse: bool = False, length_penalty: float = 0.0
) -> "Decoding":
    """Return what the flags say, the usual way if nothing; ConfigError for flags that contradict one another."""
    from menura.decoding.beam import Beam
    from menura.decoding.choice import Greedy
    from menura.errors import ConfigError

    if greedy and num_beams:
        raise ConfigError("--greedy and --num-beams: two ways to find a reply", hint="--num-beams 1 is greedy")
    if collapse and not num_beams:
        raise ConfigError("--collapse: it is a beam's reply that is collapsed", hint="add --num-beams 5")
    if length_penalty and not num_beams:
        raise ConfigError("--length-penalty: it is a beam's replies that are long or short", hint="add --num-beams 5")
    if num_beams:
        return Beam(num_beams, length_penalty, collapse)
    return Greedy() if greedy else usual


def ranking(by: str, *, top: int = 0) -> "Ranking":
    """Return how candidates are ranked; ConfigError for a word that means nothing."""
    from menura.decoding.candidates import Ranking
    from menura.errors import ConfigError, shown

    match by:
        case "rs" | "lm" | "lm-norm" | "mixture":
            return Ranking(by, top)
    raise ConfigError(f"--rank-by {shown(by)}: one of rs, lm, lm-norm, mixture wanted")
