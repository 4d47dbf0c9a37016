import random

import pytest
import torch

from menura.batches.encode import EncodedExchange
from menura.models.parts.persona_weight import graded, telling


def exchange(place: int, *, expresses: bool) -> EncodedExchange:
    return EncodedExchange("mira", f"d{place}", (), (4,), (5, 6), expresses=expresses)


def test_a_share_of_the_replies_that_say_nothing_of_their_persona_is_kept_and_all_others() -> None:
    replies = [exchange(place, expresses=place % 10 == 0) for place in range(4000)]
    kept = telling(replies, 0.25, random.Random(3))
    assert [e for e in kept if e.expresses] == [e for e in replies if e.expresses]
    assert sum(not e.expresses for e in kept) / 3600 == pytest.approx(0.25, abs=0.03)
    assert list(kept) == sorted(kept, key=lambda e: int(e.dialogue_id[1:]))


def test_where_no_reply_would_be_left_the_first_is_learnt_from() -> None:
    replies = [exchange(place, expresses=False) for place in range(3)]
    assert telling(replies, 0.0, random.Random(0)) == tuple(replies[:1])


def test_a_graded_strength_is_the_chance_of_its_label_where_both_are_as_many() -> None:
    labels = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(20_000)
    drawn = graded(labels, random.Random(5))
    assert drawn.dtype == labels.dtype
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 1
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        within = (drawn >= low) & (drawn < low + 0.2)
        assert float(labels[within].mean()) == pytest.approx(low + 0.1, abs=0.02)
