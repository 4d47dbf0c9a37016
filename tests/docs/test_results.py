"""No figure of a results page is typed: all are made from what is published beside it."""

import re
from pathlib import Path

import pytest

from menura.report import page

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PAGES = sorted(RESULTS.glob("*.md"))
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
UNIT = r"(?:%|s|ms|seconds?|min|minutes?|h|hours?|core-hours?|[KMG]i?B|tokens?|nats|bits|steps|personas|speakers)"
FIGURES = (
    re.compile(rf"[\d.,]*\d ?{UNIT}(?![\w-])"),  # with a unit
    re.compile(r"[-−+]?\d[\d.,]* \[[^\]]*\]"),  # with an interval
    re.compile(r"^\|.*\d.*\|$", re.MULTILINE),  # in a cell
    re.compile(r"\d\.\d"),  # measured, most likely
)


def typed_figures(text: str) -> list[str]:
    """Return the figures of a page that stand outside its blocks and outside code."""
    bare = CODE.sub(" ", page.BLOCK.sub(" ", text))
    return [match[0] for pattern in FIGURES for match in pattern.finditer(bare)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_figure_of_a_page_is_typed(path: Path) -> None:
    assert typed_figures(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_all_figures_of_a_page_are_what_its_scores_give(path: Path) -> None:
    assert page.verified(path.read_text(encoding="utf-8"), path.parent) == []


@pytest.mark.parametrize(
    "typed",
    [
        "It falls by 3.4 %.",
        "It falls by 12 % in 30 s.",
        "to 24 [22, 27], which",
        "| adapted | 25 |",
        "after 150 steps",
        "a share of 0.31 of them",
    ],
)
def test_a_typed_figure_is_found(typed: str) -> None:
    assert typed_figures(f"# A page\n\n{typed}\n")


@pytest.mark.parametrize(
    "text",
    [
        "Gemma 3 270M has no template.",
        "`menura reproduce cmaml --hours 2`",
        "Table 2 of the paper, spec A14, K=5.",
        "<!-- table cmaml/scores -->\n| adapted | 24.1 [20, 30] |\n<!-- end -->",
        "five dialogues, three seeds",
    ],
)
def test_names_code_and_blocks_are_not_figures(text: str) -> None:
    assert typed_figures(text) == []
