import torch
from hypothesis import given
from hypothesis import strategies as st

from menura.batches.batch import Batch
from menura.batches.collate import pack, pad
from menura.batches.encode import EncodedExchange

few = st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple)  # few ids, so that beginnings meet


@given(st.lists(few, min_size=1, max_size=8), st.booleans())
def test_padding_loses_no_token_and_marks_no_filling(sequences: list[tuple[int, ...]], left: bool) -> None:
    ids, mask = pad(sequences, left=left, fill=9)
    assert [tuple(row[real].tolist()) for row, real in zip(ids, mask, strict=True)] == sequences
    assert bool((ids[~mask] == 9).all())
    edge = mask[:, -1] if left else mask[:, 0]
    assert bool(edge.all())


@given(st.lists(st.tuples(few, few), min_size=1, max_size=8))
def test_every_label_stands_where_its_token_is_and_after_its_own_prefix(
    exchanges: list[tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    rows, labels = pack(exchanges)
    found: dict[int, list[tuple[int, int]]] = {}
    columns = (labels.row, labels.position, labels.token, labels.exchange)
    for row, position, token, exchange in zip(*(c.tolist() for c in columns), strict=True):
        assert rows[row][position] == token
        assert rows[row][:position][: len(exchanges[exchange][0])] == exchanges[exchange][0]
        found.setdefault(exchange, []).append((position, token))
    for index, (prefix, reply) in enumerate(exchanges):
        assert found[index] == [(len(prefix) + offset, token) for offset, token in enumerate(reply)]


@given(st.lists(st.tuples(few, few), min_size=1, max_size=8))
def test_no_row_is_the_beginning_of_another(exchanges: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    rows, _ = pack(exchanges)
    beginnings = [
        (a, b) for a in range(len(rows)) for b in range(len(rows)) if a != b and rows[b][: len(rows[a])] == rows[a]
    ]
    assert not beginnings
    assert [len(row) for row in rows] == sorted((len(row) for row in rows), reverse=True)


def exchange(facts: tuple[int, ...], context: tuple[int, ...], reply: tuple[int, ...]) -> EncodedExchange:
    return EncodedExchange("p", "d", facts, context, reply)


def test_a_batch_shows_each_piece_and_the_prefix_filled_on_the_left() -> None:
    batch = Batch((exchange((1,), (2, 3), (4, 5)), exchange((), (6,), (7,))))
    assert len(batch) == 2
    assert batch.facts.ids.tolist() == [[1], [0]]
    assert batch.facts.mask.tolist() == [[True], [False]]
    assert batch.context.ids.tolist() == [[2, 3], [6, 0]]
    assert batch.reply.ids.tolist() == [[4, 5], [7, 0]]
    assert batch.reply.lengths.tolist() == batch.reply_lengths.tolist() == [2, 1]
    assert batch.prefix.ids.tolist() == [[1, 2, 3], [0, 0, 6]]
    assert batch.prefix.mask.tolist() == [[True] * 3, [False, False, True]]


def test_replies_of_one_dialogue_share_a_row() -> None:
    first, second = exchange((1,), (2,), (3, 4)), exchange((1,), (2, 3, 4, 5), (6,))
    packed = Batch((first, second, exchange((), (9,), (9,)))).packed
    assert packed.ids.tolist() == [[1, 2, 3, 4, 5, 6], [9, 9, 0, 0, 0, 0]]
    assert packed.labels.row.tolist() == [0, 0, 0, 1]
    assert packed.labels.position.tolist() == [2, 3, 5, 1]
    assert packed.labels.exchange.tolist() == [0, 0, 1, 2]


def test_a_batch_is_where_it_was_asked_to_be() -> None:
    batch = Batch((exchange((), (1,), (2,)),), torch.device("meta"))
    assert batch.reply.ids.device.type == batch.packed.labels.row.device.type == "meta"
