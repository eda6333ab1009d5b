import pickle

import pytest

from features import errors
from features.errors import DataError, TidemillError

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, TidemillError)]


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({}, "it broke"),
        ({"where": "line 3"}, "it broke (line 3)"),
        ({"why": "no lid"}, "it broke: no lid"),
        ({"fix": "close it"}, "it broke. Fix: close it"),
        ({"where": "line 3", "why": "no lid", "fix": "close it"}, "it broke (line 3): no lid. Fix: close it"),
    ],
)
def test_a_message_tells_the_parts_it_has(parts: dict[str, str], line: str) -> None:
    assert str(TidemillError("it broke", **parts)) == line


def test_an_error_crosses_processes_whole() -> None:
    error = pickle.loads(pickle.dumps(DataError("it broke", where="here", why="age", fix="mend it")))
    assert (type(error), str(error), error.fix) == (DataError, "it broke (here): age. Fix: mend it", "mend it")


def test_codes_are_unique_and_every_class_explains_itself() -> None:
    assert len({cls.code for cls in CLASSES}) == len(CLASSES)
    assert all(cls.__doc__ and len(cls.__doc__.split()) > 15 for cls in CLASSES)
    assert all(cls.code.startswith("TM-1") for cls in CLASSES if cls is not TidemillError)
