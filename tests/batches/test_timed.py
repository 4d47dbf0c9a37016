import torch
from hypothesis import given
from hypothesis import strategies as st

from menura.batches.timed import Timed

few = st.lists(st.integers(0, 2), max_size=5).map(tuple)  # few ids, so that beginnings meet
CPU = torch.device("cpu")


@given(st.lists(few, min_size=1, max_size=8), st.booleans())
def test_each_sequence_is_found_again_where_it_is_said_to_stand(sequences: list[tuple[int, ...]], shared: bool) -> None:
    timed = Timed.of(sequences, CPU, shared=shared)
    for sequence, places, mask in zip(sequences, timed.places, timed.mask, strict=True):
        assert tuple(timed.line[places[mask]].tolist()) == sequence
        assert int(mask.sum()) == len(sequence)


@given(st.lists(few, min_size=1, max_size=8), st.booleans())
def test_the_last_token_stands_last_and_one_without_any_behind_the_line(
    sequences: list[tuple[int, ...]], shared: bool
) -> None:
    timed = Timed.of(sequences, CPU, shared=shared)
    for sequence, last in zip(sequences, timed.last.tolist(), strict=True):
        assert timed.line[last].item() == sequence[-1] if sequence else last == len(timed.line)


@given(st.lists(few, min_size=1, max_size=8))
def test_at_each_time_there_are_no_more_rows_than_before(sequences: list[tuple[int, ...]]) -> None:
    timed = Timed.of(sequences, CPU, shared=False)
    assert list(timed.counts) == sorted(timed.counts, reverse=True)
    assert sum(timed.counts) == len(timed.line) == sum(map(len, sequences))


def test_sequences_that_begin_alike_share_a_row_only_where_that_is_asked_for() -> None:
    sequences = [(1, 2), (1, 2, 3), (1, 3)]
    assert Timed.of(sequences, CPU, shared=True).rows == ((1, 2, 3), (1, 3))
    assert len(Timed.of(sequences, CPU, shared=False).rows) == 3
