"""What the kernel refuses, in both implementations: a misfit buffer is a ValueError, never a crash."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import features.kernel
from features.pane import PANE_FIELDS, PANE_VERSION, empty
from tests.unit.features.readings import KERNELS

both_kernels = pytest.mark.parametrize("kernel", KERNELS)

Arrays = dict[str, Any]


def _add() -> Arrays:
    return {
        "panes": empty((2, 3)),
        "group": np.array([0, 1, 1], np.int64),
        "at": np.zeros(3),
        "values": np.ones((3, 3)),
        "limits": np.full(3, np.nan),
    }


def _merge() -> Arrays:
    return {"left": empty((2, 3)), "right": empty((2, 3)), "shift": np.zeros(1)}


def _unaligned(array: Any) -> Any:
    return np.frombuffer(bytearray(b"x" + array.tobytes()), array.dtype, offset=1).reshape(array.shape)


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


BAD_ADD: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "panes of another type": ("panes", lambda a: a.astype(np.float32)),
    "panes of another byte order": ("panes", lambda a: a.astype(">f8")),
    "panes without signals axis": ("panes", lambda a: a[:, 0].copy()),
    "panes with fewer fields": ("panes", lambda a: a[..., :12].copy()),
    "panes with gaps in memory": ("panes", lambda a: np.repeat(a, 2, axis=1)[:, ::2]),
    "panes of other signals": ("panes", lambda a: a[:, :2].copy()),
    "panes that are not an array": ("panes", lambda _: None),
    "panes that are read-only": ("panes", _read_only),
    "panes off alignment": ("panes", _unaligned),
    "groups of 32 bits": ("group", lambda a: a.astype(np.int32)),
    "unsigned groups": ("group", lambda a: a.astype(np.uint64)),
    "groups that are floats": ("group", lambda a: a.astype(float)),
    "a group too high": ("group", lambda a: a + 1),
    "a group too low": ("group", lambda a: a - 1),
    "an enormous group": ("group", lambda a: a + np.iinfo(np.int64).max - 1),
    "fewer groups": ("group", lambda a: a[:2]),
    "a matrix of groups": ("group", lambda a: a[None]),
    "fewer times": ("at", lambda a: a[:2]),
    "a list of times": ("at", list),
    "times that are integers": ("at", lambda a: a.astype(np.int64)),
    "times off alignment in foreign memory": ("at", lambda a: memoryview(b"x" + a.tobytes())[1:].cast("d")),
    "fewer values": ("values", lambda a: a[:2].copy()),
    "values of other signals": ("values", lambda a: a[:, :2].copy()),
    "values in columns": ("values", np.asfortranarray),
    "values off alignment": ("values", _unaligned),
    "a vector of values": ("values", lambda a: a.ravel()),
    "fewer limits": ("limits", lambda a: a[:2].copy()),
    "limits of 32 bits": ("limits", lambda a: a.astype(np.float32)),
    "a limit for all": ("limits", lambda _: 3.0),
}

BAD_MERGE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "left read-only": ("left", _read_only),
    "left with gaps in memory": ("left", lambda a: np.repeat(a, 2, axis=1)[:, ::2]),
    "left with other fields": ("left", lambda a: np.zeros((2, 3, 13))),
    "a left without axes": ("left", lambda _: np.array(1.0)),
    "right of another length": ("right", lambda a: a[:1].copy()),
    "right of another form": ("right", lambda a: a.reshape(6, 15)),
    "right of another type": ("right", lambda a: a.astype(np.float32)),
    "two shifts for six panes": ("shift", lambda _: np.zeros(2)),
    "no shift": ("shift", lambda _: np.zeros(0)),
    "a scalar shift": ("shift", lambda _: 0.0),
}


@both_kernels
@pytest.mark.parametrize(("name", "spoil"), [pytest.param(*case, id=title) for title, case in BAD_ADD.items()])
def test_adding_refuses_what_does_not_fit_and_changes_nothing(
    kernel: ModuleType, name: str, spoil: Callable[[Any], Any]
) -> None:
    arrays = _add()
    arrays[name] = spoil(arrays[name])
    before = np.array(arrays["panes"])
    with pytest.raises(ValueError, match=r"must|has|belongs|do not"):
        kernel.add(*arrays.values())
    np.testing.assert_array_equal(arrays["panes"], before)


@both_kernels
@pytest.mark.parametrize(("name", "spoil"), [pytest.param(*case, id=title) for title, case in BAD_MERGE.items()])
def test_merging_refuses_what_does_not_fit(kernel: ModuleType, name: str, spoil: Callable[[Any], Any]) -> None:
    arrays = _merge()
    arrays[name] = spoil(arrays[name])
    with pytest.raises(ValueError, match=r"must|has"):
        kernel.merge(*arrays.values())


@both_kernels
def test_the_wrong_number_of_arguments_is_a_type_error(kernel: ModuleType) -> None:
    with pytest.raises(TypeError):
        kernel.add()
    with pytest.raises(TypeError):
        kernel.merge(empty(1))


@both_kernels
def test_the_refusal_names_the_first_row_without_a_group(kernel: ModuleType) -> None:
    with pytest.raises(ValueError, match="row 1 belongs to a group that does not exist"):
        kernel.add(empty((1, 1)), np.array([0, 5, 7]), np.zeros(3), np.ones((3, 1)), np.zeros(1))


@both_kernels
def test_no_rows_and_no_panes_are_fine(kernel: ModuleType) -> None:
    kernel.add(empty((0, 3)), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 3)), np.zeros(3))
    kernel.add(empty((2, 0)), np.zeros(1, np.int64), np.zeros(1), np.zeros((1, 0)), np.zeros(0))
    kernel.merge(empty((0, 3)), empty((0, 3)), np.zeros(1))


@both_kernels
def test_the_right_panes_may_lie_further_ahead_in_the_same_memory(kernel: ModuleType) -> None:
    panes = empty((4, 1))
    kernel.add(panes, np.arange(4), np.zeros(4), np.arange(4.0)[:, None], np.zeros(1))
    kernel.merge(panes[:-1], panes[1:], np.array([60.0]))
    assert panes[:, 0, PANE_FIELDS.index("count")].tolist() == [2, 2, 2, 1]
    assert panes[:, 0, PANE_FIELDS.index("high")].tolist() == [1, 2, 3, 3]


@both_kernels
def test_threads_may_add_to_tables_of_their_own_at_once(kernel: ModuleType) -> None:
    random = np.random.default_rng(0)
    group, at, values = random.integers(0, 50, 20_000), random.uniform(0, 600, 20_000), random.normal(size=(20_000, 2))
    tables = [empty((50, 2)) for _ in range(4)]
    threads = [Thread(target=kernel.add, args=(table, group, at, values, np.zeros(2))) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for table in tables[1:]:
        np.testing.assert_array_equal(table, tables[0])


def _backend(preparation: str) -> tuple[str, str]:
    program = f"import sys, types\n{preparation}\nfrom features import kernel, pane\n"
    program += "print(kernel.BACKEND, pane.summarize([0.0, 1.0], [3.0, 5.0])[:3])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


def test_without_the_extension_numpy_serves_and_says_so() -> None:
    out, err = _backend("sys.modules['features.kernel._pane'] = None")
    assert out == "numpy [2. 0. 2.]"
    assert "numpy kernel serves in place of the C kernel: it was not compiled" in err


@pytest.mark.parametrize(
    ("version", "functions"),
    [
        pytest.param((0, 14), features.kernel.__all__, id="of another version of the pane"),
        pytest.param((PANE_VERSION, len(PANE_FIELDS)), (), id="without functions of today"),
    ],
)
def test_an_extension_that_was_left_behind_is_not_used(version: tuple[int, int], functions: Sequence[str]) -> None:
    fake = f"old = types.ModuleType('features.kernel._pane'); old.__dict__.update(dict.fromkeys({list(functions)}))"
    fake += f"; old.PANE_VERSION, old.FIELDS = {version}"
    out, err = _backend(f"{fake}; sys.modules['features.kernel._pane'] = old")
    assert out.startswith("numpy")
    assert "another version of the pane" in err


@pytest.mark.parametrize("kernel", KERNELS[:1])
def test_with_the_extension_c_serves(kernel: ModuleType) -> None:
    assert _backend("") == ("c [2. 0. 2.]", "")
