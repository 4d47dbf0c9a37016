"""A sweep of rates becomes a CSV and a picture with the suggestion in it."""

from collections.abc import Sequence

from menura.report import curves
from menura.report.curves import HEIGHT, WIDTH, picture
from menura.training.lr_finder import Tried

COLUMNS = ("lr", "loss", "smoothed")


def csv_text(tried: Sequence[Tried]) -> str:
    """Return one line a rate, numbers in full."""
    return curves.csv_text(tried, COLUMNS)


def svg(tried: Sequence[Tried], rate: float, title: str) -> str:
    """Return a picture: loss over rate, as it was and smoothed, and a line at the rate suggested."""
    rates = [one.lr for one in tried]
    with picture(WIDTH, HEIGHT) as (figure, text):
        panel = figure.subplots()
        panel.plot(rates, [one.loss for one in tried], lw=0.6, alpha=0.5, label="a step's loss")
        panel.plot(rates, [one.smoothed for one in tried], lw=1.4, label="smoothed")
        panel.axvline(rate, ls="--", lw=0.8, color="black", label=f"suggestion {rate:.1e}")
        panel.set(xscale="log", xlabel="outer.lr", ylabel="NLL per token", title=title)
        panel.legend(fontsize=7)
        panel.grid(alpha=0.3)
    return text.getvalue()
