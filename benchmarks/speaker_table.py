"""What an experiment found on validation speakers becomes a table: perplexity, and paired differences to two rows."""

from collections.abc import Mapping, Sequence

from menura.metrics import catalogue
from menura.metrics.score import Sample
from menura.metrics.significance import paired_difference, score


def sample(persona: str, nll: float, tokens: int) -> Sample:
    """Return what perplexity needs of a speaker: the summed NLL (nats) of its held-out replies, and their tokens."""
    return Sample(persona, "", "", "", nll, tokens)


def line(persona: str, samples: Mapping[str, Sequence[Sample]]) -> str:
    """Return the last speaker's NLL by row, in nats a token."""
    each = (f"{name} {own[-1].reference_nll / own[-1].reference_tokens:.3f}" for name, own in samples.items())
    return f"{persona[:8]}: {', '.join(each)}"


def table(samples: Mapping[str, Sequence[Sample]], what: str, beside: Sequence[str]) -> str:
    """Return the table as Markdown; each row is compared with those ``beside``."""
    (ppl,) = catalogue.named(("ppl",))
    lines = [f"| {what} | ppl |{''.join(f' − {other} |' for other in beside)}"]
    lines += [f"| --- | ---: |{' ---: |' * len(beside)}"]
    for name, own in samples.items():
        figure = score(ppl, own, seed=0)
        others = [paired_difference(ppl, own, samples[other], seed=0) for other in beside]
        cells = "".join(f" {one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}] |" for one in others)
        lines += [f"| {name} | {figure.value:.1f} [{figure.low:.1f}, {figure.high:.1f}] |{cells}"]
    return "\n".join(lines)
