import torch
from hypothesis import given
from hypothesis import strategies as st

from menura.batches.time_major import TimeMajor

few = st.lists(st.integers(0, 2), max_size=5).map(tuple)  # few ids, so that beginnings meet
CPU = torch.device("cpu")
NOTHING = -1  # stands behind the block


@given(st.lists(few, min_size=1, max_size=8), st.booleans())
def test_each_sequence_is_found_again_where_it_is_said_to_stand(sequences: list[tuple[int, ...]], shared: bool) -> None:
    timed = TimeMajor.of(sequences, CPU, shared=shared)
    flat = [*timed.padded.flatten().tolist(), NOTHING]
    for sequence, own, last in zip(sequences, timed.own, timed.last.tolist(), strict=True):
        found = tuple(token for token, there in zip(flat, own.tolist(), strict=True) if there)
        assert found == (sequence or (NOTHING,))
        assert flat[last] == found[-1]
        assert bool(own[last])


@given(st.lists(few, min_size=1, max_size=8))
def test_the_line_holds_all_rows_side_by_side(sequences: list[tuple[int, ...]]) -> None:
    timed = TimeMajor.of(sequences, CPU, shared=False)
    for sequence, row in zip(sequences, timed.row, strict=True):
        assert tuple(timed.packed[timed.packed_row == row].tolist()) == sequence


@given(st.lists(few, min_size=1, max_size=8))
def test_at_each_time_there_are_no_more_rows_than_before(sequences: list[tuple[int, ...]]) -> None:
    timed = TimeMajor.of(sequences, CPU, shared=False)
    assert list(timed.batch_sizes) == sorted(timed.batch_sizes, reverse=True)
    assert sum(timed.batch_sizes) == len(timed.packed) == sum(map(len, sequences))


def test_sequences_that_begin_alike_share_a_row_only_where_that_is_asked_for() -> None:
    sequences = [(1, 2), (1, 2, 3), (1, 3)]
    assert TimeMajor.of(sequences, CPU, shared=True).rows == ((1, 2, 3), (1, 3))
    assert len(TimeMajor.of(sequences, CPU, shared=False).rows) == 3
