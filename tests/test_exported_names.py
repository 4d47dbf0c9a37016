import importlib
import inspect
from pathlib import Path

import pytest

import menura
from menura import api


def test_what_is_exported_is_sorted_and_stands_once() -> None:
    assert sorted(set(menura.__all__)) == menura.__all__


def test_what_is_exported_is_what_can_be_seen() -> None:
    assert dir(menura) == sorted([*menura.__all__, "__version__"])


@pytest.mark.parametrize("name", menura.__all__)
def test_every_exported_name_explains_itself(name: str) -> None:
    said = inspect.getdoc(getattr(menura, name))
    assert said
    assert not said.startswith(f"{name}("), "that is what a dataclass says of itself"


def test_all_that_the_front_s_functions_return_is_exported() -> None:
    made = {"load": "Model", "evaluate": "Evaluated"}
    for function, kind in made.items():
        assert inspect.signature(getattr(menura, function)).return_annotation is getattr(menura, kind)


def test_a_name_that_is_not_exported_is_none_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = menura.nonsense
    with pytest.raises(ImportError):
        importlib.import_module("menura.nonsense")


def test_no_name_of_the_api_is_hidden_by_a_module_of_the_same_name() -> None:
    folders = {path.stem for path in Path(api.__file__).parent.iterdir()}
    assert not folders & set(api.__all__)


@pytest.mark.parametrize("name", api.__all__)
def test_every_name_of_the_api_is_where_its_table_says(name: str) -> None:
    assert getattr(api, name) is not None
