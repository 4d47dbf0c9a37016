"""The comparison with vLLM counts what differs, and tells rounding from another answer."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import interop
from benchmarks.interop import TIE, Comparison, first_difference


@pytest.mark.parametrize(
    ("ours", "theirs", "place"),
    [((1, 2, 3), (1, 2, 3), None), ((1, 2, 3), (1, 5, 3), 1), ((1, 2), (1, 2, 3), 2), ((), (4,), 0), ((), (), None)],
)
def test_the_first_difference_is_found_where_one_answer_ends_too(ours: Any, theirs: Any, place: int | None) -> None:
    assert first_difference(ours, theirs) == place


def test_a_difference_is_a_tie_only_where_the_logits_are_next_to_one_another() -> None:
    verdicts = [Comparison("a", (1,), (2,), 0, gap).verdict for gap in (TIE / 2, TIE * 2)]
    assert verdicts == ["tie", "different"]
    assert Comparison("a", (1,), (1,)).verdict == "same"


def test_the_summary_counts_personas_prompts_and_verdicts() -> None:
    found = [Comparison("a", (1, 2), (1, 2)), Comparison("a", (1,), (2,), 0, 0.5), Comparison("b", (3,), (4,), 0, 0.0)]
    assert interop.summary(found, 2) == (
        "interop: 2 personas, 3 prompts, 4 tokens: 1 same, 1 tie, 1 different; 2 are not the base's own"
    )


def test_made_up_people_are_others_and_always_the_same() -> None:
    texts = [[turn.text for one in interop.made_up(number) for turn in one.turns] for number in (0, 1, 0)]
    assert texts[0] == texts[2] != texts[1]


def test_a_reply_of_a_server_ends_before_its_end_token(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reply(SimpleNamespace):
        def __enter__(self) -> "Reply":
            return self

        def __exit__(self, *rest: object) -> None:
            pass

        def read(self) -> bytes:
            return b'{"choices": [{"token_ids": [5, 6, 2]}]}'

    monkeypatch.setattr(interop, "urlopen", lambda request, timeout: Reply())
    assert interop.asked("http://nowhere", "a", [1], [2, 0]) == (5, 6)
