from dataclasses import replace

import torch
from made_up import VARIANTS, part

from menura.batches.utterances import Utterances, turns_of

CPU = torch.device("cpu")


def test_every_turn_that_differs_is_there_once_and_contexts_name_them_in_order() -> None:
    toy = VARIANTS["hierarchical"].toy()
    rows = [e for d in toy.dialogues((part("d", "hi", "ho", "hi", "hu"), part("e", "ho", "ha"))) for e in d]
    turned = Utterances.of(rows, CPU)
    hi, ho = (toy.encoder.tokenizer.encode(text) for text in ("hi", "ho"))
    # What the persona said and what its partner said are two turns, though the words are the same.
    assert turned.turns == ((False, hi), (True, ho), (False, ho))
    assert turned.contexts == ((0,), (0, 1, 0), (2,))
    assert turned.own.tolist() == [False, True, False]
    assert turned.words.lengths == (2, 2, 2)
    assert [turned.backwards.rows[row] for row in turned.backwards.row] == [hi[::-1], ho[::-1], ho[::-1]]
    assert [turned.last.rows[row] for row in turned.last.row] == [hi, hi, ho]
    assert turned.before_last.lengths == (0, 2, 0)
    assert turned.all.lengths == (1, 3, 1)


def test_contexts_that_begin_alike_share_a_row_of_turns() -> None:
    toy = VARIANTS["hierarchical"].toy()
    (dialogue,) = toy.dialogues((part("d", *(f"line {n}" for n in range(8))),))
    assert len(Utterances.of(dialogue, CPU).all.rows) == 1


def test_a_context_of_no_turn_has_none() -> None:
    toy = VARIANTS["hierarchical"].toy()
    (dialogue,) = toy.dialogues((part("d", "hi", "ho"),))
    bare = replace(dialogue[0], context=dialogue[0].context[-1:], turns=())
    turned = Utterances.of([bare], CPU)
    assert not list(turns_of(bare))
    assert turned.contexts == ((),)
    assert turned.last.lengths == (0,)
