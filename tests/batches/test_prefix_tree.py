import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import menura.batches.prefix_tree as module
from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange
from menura.batches.prefix_tree import Branch, prefix_trees
from menura.batches.varlen import SequenceLayout

few = st.lists(st.integers(0, 2), min_size=1, max_size=5).map(tuple)  # few ids, so that beginnings meet
Ids = tuple[int, ...]


@pytest.fixture(autouse=True)
def any_beginning_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARED", 1)


def read_before(rows: list[Ids], branches: list[tuple[Branch, ...]], row: int) -> list[Ids]:
    """Return what each token of a row has read, itself included, by its mask."""
    (sees,) = SequenceLayout((len(rows[row]),), torch.device("cpu"), (branches[row],)).sees
    mask = torch.ones(len(rows[row]), len(rows[row])).tril() if sees is None else sees
    return [tuple(token for token, seen in zip(rows[row], line, strict=True) if seen) for line in mask.tolist()]


@given(st.lists(st.tuples(few, few), min_size=1, max_size=8))
def test_each_label_is_predicted_from_its_own_sequence_and_nothing_else(exchanges: list[tuple[Ids, Ids]]) -> None:
    rows, branches, labels = prefix_trees(exchanges)
    found: dict[int, list[int]] = {index: [] for index in range(len(exchanges))}
    columns = (labels.row, labels.position, labels.predict_position, labels.token, labels.exchange)
    for row, position, before, token, index in zip(*(column.tolist() for column in columns), strict=True):
        prefix, reply = exchanges[index]
        so_far = len(prefix) + len(found[index])
        known = read_before(rows, branches, row)
        assert known[before] == (prefix + reply)[:so_far]
        assert known[position] == (prefix + reply)[: so_far + 1]
        assert rows[row][position] == token
        found[index].append(token)
    assert [tuple(found[index]) for index in range(len(exchanges))] == [reply for _, reply in exchanges]


@given(st.lists(st.tuples(few, few), min_size=1, max_size=8))
def test_a_token_stands_where_as_many_were_read_before_it(exchanges: list[tuple[Ids, Ids]]) -> None:
    rows, branches, _ = prefix_trees(exchanges)
    positions = SequenceLayout(tuple(map(len, rows)), torch.device("cpu"), tuple(branches)).positions.tolist()
    assert positions == [len(read) - 1 for row in range(len(rows)) for read in read_before(rows, branches, row)]


def test_replies_to_one_context_cost_it_once() -> None:
    rows, branches, _ = prefix_trees([((1, 2, 3), (4, 5, 9)), ((1, 2, 3), (6, 9)), ((1, 2), (7,)), ((1, 2, 3), (4, 9))])
    assert rows == [(1, 2, 3, 4, 5, 9, 6, 9, 9, 7)]
    assert branches == [(Branch(3, 2), Branch(4, 1), Branch(2, 1))]


def test_what_is_in_a_trunk_already_hangs_on_no_branch() -> None:
    rows, branches, labels = prefix_trees([((1, 2), (3, 9)), ((1, 2), (3,))])
    assert (rows, branches) == ([(1, 2, 3, 9)], [()])
    assert labels.position.tolist() == [2, 3, 2]


def test_too_little_in_common_makes_two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARED", 3)
    rows, branches, _ = prefix_trees([((1, 2), (3,)), ((1, 2), (4,))])
    assert (rows, branches) == ([(1, 2, 3), (1, 2, 4)], [(), ()])


def test_a_row_that_is_full_takes_no_further_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROW_TOKENS", 5)
    rows, branches, _ = prefix_trees([((1, 2), (3,)), ((1, 2), (4,)), ((1, 2), (5,)), ((1, 2), (6,))])
    assert rows == [(1, 2, 3, 4, 5), (1, 2, 6)]
    assert branches == [(Branch(2, 1), Branch(2, 1)), ()]


def test_rows_with_branches_stand_alone_and_others_side_by_side() -> None:
    rows = SequenceLayout((3, 3, 4, 4), torch.device("cpu"), ((), (), (Branch(1, 2),), ()))
    assert rows.runs == ((2, 3), (1, 4), (1, 4))
    assert [sees is None for sees in rows.sees] == [True, False, True]
    assert rows.positions.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 1, 2, 0, 1, 2, 3]


def test_a_batchs_forest_says_where_replies_end() -> None:
    exchanges = [EncodedExchange("p", "d", (1,), (2,), reply) for reply in ((3, 4), (3,), (3, 5))]
    (made,) = Batch(tuple(exchanges)).prefix_tree.chunks(100)
    at, exchange = made.ends
    assert {int(whose): made.packed[place].item() for place, whose in zip(at, exchange, strict=True)} == {
        0: 4,
        1: 3,
        2: 5,
    }
