"""The table of ways to decode counts what it says it counts."""

from benchmarks.decoded_replies import repeated, table
from menura.metrics.score import Sample


def said(persona: str, reply: str, rank: int) -> Sample:
    return Sample(persona, "d", reply, "i like my boat", 0.0, 1, persona_rank=rank, identified_by="a classifier")


def test_four_words_that_occur_twice_are_a_repetition() -> None:
    assert repeated(["a b c d a b c d", "a b c a b c", "one two", "x a b c d y A B C D"]) == 50.0


def test_a_way_stands_beside_the_same_way_under_a_wrong_persona() -> None:
    own = {
        "real": [said("ann", "hi", 0), said("bo", "hi", 3)],
        "greedy": [said("ann", "a boat", 0), said("bo", "no", 0)],
    }
    wrong = {"greedy": [said("ann", "no", 2), said("bo", "no", 1)]}
    _, _, first, greedy = table(own, wrong).splitlines()
    assert first.startswith("| real | 50 [")
    assert first.endswith("| – |")
    assert greedy.startswith("| greedy | 100 [100, 100] |")
    assert greedy.endswith("| +100 [+100, +100] |")
    assert "| 1.5 | 0 |" in greedy, "words a reply, and none with a repetition"
