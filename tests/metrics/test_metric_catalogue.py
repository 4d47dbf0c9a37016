"""Metrics by name."""

import pytest

from menura.errors import ConfigError
from menura.metrics.catalogue import BY_CHARACTERS, BY_PROGRAM, DEFAULT, METRICS, named, usual


def test_names_become_metrics_in_their_order() -> None:
    assert [metric.name for metric in named(["f1", "ppl"])] == ["f1", "ppl"]
    assert tuple(metric.name for metric in named()) == DEFAULT


def test_text_without_blanks_is_measured_by_characters() -> None:
    assert usual(["Do you like rain?", "The word 雨 is rain.", ""]) == DEFAULT
    assert usual(["雨は好き?", "OK、好きだよ!", "いい夢を"]) == BY_CHARACTERS
    assert usual(["你喜欢下雨吗?", "喜欢 :)"]) == BY_CHARACTERS
    assert usual([]) == usual(["?!", "1 2 3"]) == DEFAULT
    assert [metric.name for metric in named(BY_CHARACTERS)] == list(BY_CHARACTERS)


def test_every_unknown_name_is_told_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError) as caught:
        named(["pppl", "ppl", "Dist-1", "zebra"])
    assert str(caught.value).splitlines() == [
        "error[config]: unknown metric 'pppl' (hint: did you mean ppl?)",
        "error[config]: unknown metric 'Dist-1' (hint: did you mean dist-1?)",
        f"error[config]: unknown metric 'zebra' (hint: there are {', '.join([*METRICS, *BY_PROGRAM])})",
    ]
