"""The code path tells whether two runs computed with the same code."""

from pathlib import Path

import pytest

from menura.artefacts import code_path

SOURCE = '''"""A module."""

def twice(number):
    """Return it twice."""
    return 2 * number
'''


def hash_of(tmp_path: Path, source: str) -> str:
    path = tmp_path / f"{abs(hash(source))}.py"
    path.write_text(source)
    return code_path._hash(path)


@pytest.mark.parametrize(
    "change",
    [
        ('"""Return it twice."""', '"""Return twice the number."""'),
        ("    return", "    # as fast as a sum\n    return"),
        ("2 * number", "2*number"),
        ('"""A module."""\n', ""),
    ],
)
def test_words_and_layout_do_not_change_the_hash(tmp_path: Path, change: tuple[str, str]) -> None:
    assert hash_of(tmp_path, SOURCE.replace(*change)) == hash_of(tmp_path, SOURCE)


@pytest.mark.parametrize("change", [("2 *", "3 *"), ("number", "value"), ("return", "yield")])
def test_code_changes_the_hash(tmp_path: Path, change: tuple[str, str]) -> None:
    assert hash_of(tmp_path, SOURCE.replace(*change)) != hash_of(tmp_path, SOURCE)


def test_a_code_path_has_what_computes_and_not_what_shows() -> None:
    import menura.api  # noqa: PLC0415  # imports the packages above
    import menura.evaluation.evaluate  # noqa: F401, PLC0415

    modules = code_path.code_path()
    assert {"evaluation.evaluate", "metrics.significance", "artefacts.code_path"} <= set(modules)
    assert not any(name.startswith(("cli", "api", "report", "training.recipes")) for name in modules)


def test_the_code_path_of_a_training_has_nothing_of_scoring() -> None:
    import menura.evaluation.run  # noqa: F401, PLC0415

    packages = {name.split(".")[0] for name in code_path.code_path(code_path.TRAINING)}
    assert {"models", "training"} <= packages
    assert not packages & {"evaluation", "metrics", "scorers"}
    assert {"evaluation", "memory", "metrics", "scorers"} <= {name.split(".")[0] for name in code_path.code_path()}


def test_only_shared_modules_can_differ() -> None:
    here, there = {"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}
    assert code_path.differing([here, there]) == ["b"]
    assert code_path.differing([here, {"c": "4"}]) == []
