"""Replies for a page are drawn, not chosen, and none is shown that the corpus has word for word."""

from menura.corpus.dialogue import Dialogue, Turn
from menura.evaluation.drawn_replies import REPLIES, with_drawn_replies
from menura.evaluation.evaluate import SystemRow
from menura.evaluation.generation import Outputs
from menura.metrics.score import Sample
from menura.tasks.task import DialogueView, Task


def row(kind: str, said: str) -> SystemRow:
    generated = [Sample("p", f"d{n}", f"{said} {n}", "", 1.0, 1) for n in range(40)]
    return SystemRow(kind, 0, (Outputs(generated=generated),))


def test_all_rows_show_replies_to_the_same_exchanges() -> None:
    one, other = with_drawn_replies([row("un-adapted", "well"), row("adapted", "yes")], [])
    assert len(one.drawn_replies) == len(set(one.drawn_replies)) == REPLIES
    numbers = [[(reply or "").split()[-1] for reply in drawn.drawn_replies] for drawn in (one, other)]
    assert numbers[0] == numbers[1]
    assert numbers[0] != [str(n) for n in range(REPLIES)], "they are not the first ones"


def test_a_turn_of_the_corpus_is_not_shown_whatever_its_case_and_blanks() -> None:
    said = [f"Well  {n}" for n in range(40) if n % 2]
    dialogue = Dialogue("d", tuple(Turn("ann", text) for text in said))
    (drawn,) = with_drawn_replies([row("adapted", "well")], [Task("p", (DialogueView(dialogue, "ann"),))])
    (whole,) = with_drawn_replies([row("adapted", "well")], [])
    for reply, shown in zip(whole.drawn_replies, drawn.drawn_replies, strict=True):
        assert shown == (None if int((reply or "").split()[-1]) % 2 else reply)
    assert None in drawn.drawn_replies
