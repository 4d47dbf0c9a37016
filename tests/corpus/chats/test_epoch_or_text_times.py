"""Times of tables and of SillyTavern's chats, in the forms that they come in."""

import pytest

from menura.corpus.chats.epoch_or_text_times import stamp_of


@pytest.mark.parametrize(
    ("written", "date", "order"),
    [
        ("2023-12-01T10:00:05.123Z", (2023, 12, 1), "ymd"),
        ("2023-12-01 10:00:05", (2023, 12, 1), "ymd"),
        (1701424805, (2023, 12, 1), "ymd"),
        ("1701424805123", (2023, 12, 1), "ymd"),
        (1701424805123456.0, (2023, 12, 1), "ymd"),
        ("2023-12-1@10h 0m 5s 9ms", (2023, 12, 1), "ymd"),
        ("December 1, 2023 10:00:05am", (2023, 12, 1), "ymd"),
        ("1/12/2023 10:00:05", (1, 12, 2023), ""),
    ],
)
def test_times_are_read_in_many_forms(written: object, date: tuple[int, int, int], order: str) -> None:
    stamp = stamp_of(written)
    assert stamp is not None
    assert (stamp.date, stamp.seconds, stamp.order) == (date, 36005, order)


@pytest.mark.parametrize(
    "written", [None, True, "", "x", "12", -5, 1e300, float("inf"), [], "9" * 30, "2023-13-45T99:99"]
)
def test_what_is_no_time_has_no_stamp(written: object) -> None:
    assert stamp_of(written) is None
