"""Flags of decoding become how replies are found."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from menura.decoding.generate import Decoding


def decoding(
    usual: "Decoding", *, greedy: bool, beam: int, collapse: bool = False, length_penalty: float = 0.0
) -> "Decoding":
    """Return what the flags say, the usual way if nothing; ConfigError for flags that contradict one another."""
    from menura.decoding.beam import Beam
    from menura.decoding.choice import Greedy
    from menura.errors import ConfigError

    if greedy and beam:
        raise ConfigError("--greedy and --beam: two ways to find a reply", hint="--beam 1 is greedy")
    if collapse and not beam:
        raise ConfigError("--collapse: it is a beam's reply that is collapsed", hint="add --beam 5")
    if length_penalty and not beam:
        raise ConfigError("--length-penalty: it is a beam's replies that are long or short", hint="add --beam 5")
    if beam:
        return Beam(beam, length_penalty, collapse)
    return Greedy() if greedy else usual
