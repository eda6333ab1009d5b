"""The stream entry: the compiled one and the one in numpy leave the same arrays behind, whatever arrives."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.kernel import FIELDS, stream_reference
from features.kernel.columns_reference import SIDE, STEPS
from features.kernel.reference import CHANGE, COUNT
from features.kernel.stream_reference import (
    FARTHEST,
    MARK_DUE,
    MARK_EMITTED,
    MARK_NEWEST,
    MARK_OPEN,
    MARK_PANE,
    MARK_SLOT,
    MARKS,
    NEVER,
    TAKEN,
    TAKEN_AND_DUE,
    TALLIES,
    TALLY_CROWDED,
    TALLY_DUE,
    TALLY_REFUSED,
    WAITS,
)
from tests.unit.features.readings import NO_COMPILER

try:
    from features.kernel._pane import Stream as CompiledStream
except ImportError:  # pragma: no cover - a machine without a compiler
    CompiledStream = None  # type: ignore[assignment,misc] # then the C rows of the tables below skip

SIGNALS, PANE, EVERY, REACH, LATENESS, PANES = 2, 10, 20, 40, 15, 7
ROOM = PANES * PANE + EVERY - REACH
NUMBERS = (PANE, EVERY, LATENESS, ROOM)
ARRAYS = ("state", "start", "marks", "seen", "held", "limits", "tally", "counts", "sketched", "top")

STREAMS = [
    pytest.param(CompiledStream, id="c", marks=NO_COMPILER),
    pytest.param(stream_reference.Stream, id="numpy"),
]
both = pytest.mark.parametrize("kind", STREAMS)


def arrays(devices: int = 3, capacity: int = 4, *, ordered: bool = False) -> dict[str, Any]:
    marks = np.full((devices, MARKS), NEVER)
    marks[:, [MARK_OPEN, MARK_SLOT, MARK_DUE]] = 0
    return {
        "state": np.zeros((devices, PANES, SIGNALS, FIELDS)),
        "start": np.full((devices, PANES), NEVER),
        "marks": marks,
        "seen": np.zeros((devices, capacity), np.int64),
        "held": np.zeros((devices, capacity if ordered else 0, SIGNALS)),
        "limits": np.array([0.5, np.nan]),
        "tally": np.zeros(TALLIES, np.int64),
        "counts": np.full((devices, PANES, 2, 1 + 2 * SIDE), 7, np.uint32),  # whatever was there before
        "sketched": np.array([1, 0], np.int32),
        "top": np.array([27 * STEPS - 1, 5 * STEPS - 1], np.int32),
    }


def deeper(given_arrays: dict[str, Any]) -> dict[str, Any]:
    """The same arrays with twice the capacity."""
    twice = dict(given_arrays)
    for name in ("seen", "held"):
        twice[name] = np.concatenate([given_arrays[name], np.zeros_like(given_arrays[name])], axis=1)
    return twice


def stream(kind: Any, given_arrays: dict[str, Any], most_open: int = 16) -> Any:
    return kind(*(given_arrays[name] for name in ARRAYS), *NUMBERS, most_open)


def run(kind: Any, rows: list[tuple[int, int, float]], cuts: list[int], *, ordered: bool, most_open: int) -> Any:
    """Feed rows in pieces, emitting and growing where the stream asks for it; gives what is left behind."""
    held = arrays(ordered=ordered)
    live = stream(kind, held, most_open)
    device = np.array([row[0] for row in rows], np.int32)
    time = np.array([row[1] for row in rows], np.int64)
    values = np.array([[row[2], np.nan if row[2] < 0 else 1e8 + row[2]] for row in rows]).reshape(-1, SIGNALS)
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        row = 0
        while True:
            row = live.take(device[begin:end], time[begin:end], values[begin:end], row)
            due = np.flatnonzero(held["marks"][:, MARK_DUE])
            assert held["tally"][TALLY_DUE] == len(due)
            held["marks"][due, MARK_EMITTED] = (held["marks"][due, MARK_NEWEST] - LATENESS) // EVERY * EVERY
            held["marks"][due, MARK_DUE] = held["tally"][TALLY_DUE] = 0
            if row == end - begin:
                break
            if not len(due):
                held = deeper(held)
                live = stream(kind, held, most_open)
    return held


@st.composite
def arrivals(draw: Any) -> list[tuple[int, int, float]]:
    """Rows of three devices and an unknown one: forwards, back within and beyond the lateness, twice, after pauses."""
    least = draw(st.sampled_from([0, 15, 30]))
    steps = draw(
        st.lists(st.sampled_from([0, 1, 1, 2, 3, 5, 9, -1, -4, -12, -30, 45, 400]), min_size=least, max_size=70)
    )
    time = draw(st.integers(-300, 300))
    rows = []
    for number, step in enumerate(steps):
        time += step
        rows.append((draw(st.sampled_from([-1, 0, 0, 0, 1, 2])), time, float(draw(st.sampled_from([-1, number])))))
    return rows


@NO_COMPILER
@given(rows=arrivals(), ordered=st.booleans(), most_open=st.sampled_from([4, 8, 64]), data=st.data())
def test_the_compiled_stream_leaves_what_the_one_in_numpy_leaves(
    rows: list[tuple[int, int, float]],
    ordered: bool,  # noqa: FBT001 - hypothesis gives it by name
    most_open: int,
    data: Any,
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    found = run(CompiledStream, rows, cuts, ordered=ordered, most_open=most_open)
    expected = run(stream_reference.Stream, rows, cuts, ordered=ordered, most_open=most_open)
    np.testing.assert_array_equal(found["tally"], expected["tally"])
    np.testing.assert_array_equal(found["start"], expected["start"])
    told = [mark for mark in range(MARKS) if mark not in {MARK_PANE, MARK_SLOT}]
    np.testing.assert_array_equal(found["marks"][:, told], expected["marks"][:, told])
    for device, count in enumerate(found["marks"][:, MARK_OPEN].tolist()):
        np.testing.assert_array_equal(found["seen"][device, :count], expected["seen"][device, :count])
        if ordered:
            np.testing.assert_array_equal(found["held"][device, :count], expected["held"][device, :count])
    used = found["start"] != NEVER
    np.testing.assert_array_equal(found["counts"][used], expected["counts"][used])
    np.testing.assert_array_equal(found["counts"][used].sum(axis=-1), found["state"][used][:, ::-1, COUNT])
    np.testing.assert_allclose(found["state"][used], expected["state"][used], rtol=1e-9, atol=1e-9)


@both
def test_one_reading_at_a_time_tells_whether_it_waits_or_makes_a_device_due(kind: Any) -> None:
    held = arrays(capacity=1)
    live = stream(kind, held)
    assert live.take_one(0, 0, (1.0, 2.0)) == TAKEN
    assert live.take_one(0, 1, (1.0, 2.0)) == WAITS  # for capacity
    live = stream(kind, deeper(held))
    assert live.take_one(0, 1, [1, 2]) == TAKEN
    assert live.take_one(0, 1000, [1.0, 2.0]) == WAITS  # until windows are emitted
    assert held["tally"][TALLY_DUE] == 1
    assert live.take_one(1, 40, [1.0, 2.0]) == TAKEN_AND_DUE
    assert live.take_one(-1, 40, [1.0, 2.0]) == TAKEN_AND_DUE
    assert held["tally"][TALLY_REFUSED] == 1


@both
def test_readings_beyond_what_may_stand_open_are_dropped_and_counted(kind: Any) -> None:
    held = arrays(capacity=2)
    live = stream(kind, held, most_open=2)
    assert [live.take_one(0, time, [1.0, 1.0]) for time in (0, 1, 2)] == [TAKEN] * 3
    assert (held["tally"][TALLY_CROWDED], held["marks"][0, MARK_OPEN]) == (1, 2)


@both
def test_a_pane_that_got_readings_out_of_order_is_summed_up_anew_when_it_closes(kind: Any) -> None:
    shuffled, sorted_ = arrays(capacity=8, ordered=True), arrays(capacity=8, ordered=True)
    for held, times in ((shuffled, (1, 10, 5, 3, 9, 12)), (sorted_, (1, 3, 5, 9, 10, 12))):
        live = stream(kind, held)
        for time in times:
            assert live.take_one(0, time, (time * time / 3.0, 1e8 / (time + 3.0))) == TAKEN
    torn = np.isnan(shuffled["state"][0, :, :, CHANGE])
    assert torn[0].all()  # nobody is given a wrong number before
    assert not torn[1:].any()
    for held in (shuffled, sorted_):
        assert stream(kind, held).take_one(0, 25, (0.0, 0.0)) == TAKEN_AND_DUE  # the first pane closes
        assert held["marks"][0, MARK_OPEN] == 3
    np.testing.assert_array_equal(shuffled["state"], sorted_["state"])
    changes = sum(abs(after**2 - before**2) / 3 for before, after in pairwise((1, 3, 5, 9)))
    assert shuffled["state"][0, 0, 0, CHANGE] == pytest.approx(changes, rel=1e-12)


@both
def test_rows_of_a_batch_that_closes_their_own_pane_count_once(kind: Any) -> None:
    held = arrays(devices=1, capacity=8, ordered=True)
    live = stream(kind, held)
    times = [1, 7, 4, 8, 26]  # out of order, then in order, then the pane closes: in two batches
    for batch in (times[:3], times[3:]):
        rows = np.array(batch)
        device = np.zeros(len(rows), np.int32)
        assert live.take(device, rows, np.stack([rows, -rows], axis=1).astype(float), 0) == len(rows)
    assert held["state"][0, 0, :, COUNT].tolist() == [4, 4]
    assert held["state"][0, 0, :, CHANGE].tolist() == [7, 7]


MISFITS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "states of fewer fields": ("state", lambda a: a[..., :14].copy()),
    "starts of other rings": ("start", lambda a: a[:, 1:].copy()),
    "marks that lack one": ("marks", lambda a: a[:, 1:].copy()),
    "times of fewer devices": ("seen", lambda a: a[1:].copy()),
    "readings held of another capacity": ("held", lambda a: np.zeros((3, 3, SIGNALS))),
    "limits of other signals": ("limits", lambda a: a[1:].copy()),
    "a tally that lacks a number": ("tally", lambda a: a[1:].copy()),
    "sketches of other rings": ("counts", lambda a: a[:, 1:].copy()),
    "sketches of other buckets": ("counts", lambda a: a[..., 1:].copy()),
    "a sketch of no signal": ("sketched", lambda a: a + 1),
    "sketches of fewer signals": ("sketched", lambda a: a[1:].copy()),
    "a top beyond all numbers": ("top", lambda a: a * 100),
}


@both
@pytest.mark.parametrize("case", MISFITS)
def test_arrays_that_do_not_fit_are_refused(kind: Any, case: str) -> None:
    name, spoil = MISFITS[case]
    spoiled = arrays()
    spoiled[name] = spoil(spoiled[name])
    with pytest.raises(ValueError, match="must"):
        stream(kind, spoiled)


@both
@pytest.mark.parametrize(
    "numbers",
    [
        (0, 20, 15, ROOM),
        (10, 15, 15, ROOM),
        (10, 20, -1, ROOM),
        (10, 20, 15, 30),
        (10, 20, 15, ROOM + 1),
        (10, 20, 70, 200),
    ],
)
def test_numbers_that_do_not_fit_are_refused(kind: Any, numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"fit together|too short"):
        kind(*arrays().values(), *numbers, 16)


@both
@pytest.mark.parametrize("mark", [(MARK_SLOT, PANES), (MARK_SLOT, -1), (MARK_OPEN, 5), (MARK_OPEN, -1)])
def test_marks_that_point_nowhere_are_refused(kind: Any, mark: tuple[int, int]) -> None:
    spoiled = arrays()
    spoiled["marks"][1, mark[0]] = mark[1]
    with pytest.raises(ValueError, match="point beyond"):
        stream(kind, spoiled)


@both
@pytest.mark.parametrize(
    ("device", "time"), [(3, 0), (2**31 - 1, 0), (0, FARTHEST + 1), (0, -FARTHEST - 1), (0, -(2**63))]
)
def test_a_row_of_no_device_or_beyond_all_calendars_is_refused_before_any_is_taken(
    kind: Any, device: int, time: int
) -> None:
    held = arrays()
    live = stream(kind, held)
    with pytest.raises(ValueError, match="row 1 has no such device"):
        live.take(np.array([0, device], np.int32), np.array([0, time]), np.zeros((2, SIGNALS)), 0)
    assert (held["start"] == NEVER).all()
    with pytest.raises(ValueError, match="no such device"):
        live.take_one(device, time, (0.0, 0.0))


@both
def test_rows_that_do_not_fit_are_refused(kind: Any) -> None:
    live = stream(kind, arrays())
    device, time, values = np.zeros(2, np.int32), np.zeros(2, np.int64), np.zeros((2, SIGNALS))
    for misfit in (
        (device.astype(np.int64), time, values, 0),
        (device, time.astype(float), values, 0),
        (device, time, values.astype(np.float32), 0),
        (device, time[1:], values, 0),
        (device, time, values[:, 1:].copy(), 0),
        (device, time, values, 3),
        (device, time, values, -1),
    ):
        with pytest.raises(ValueError, match=r"device|time|values"):
            live.take(*misfit)
    for numbers in ((1.0,), (1.0, 2.0, 3.0)):
        with pytest.raises(ValueError, match="one number per signal"):
            live.take_one(0, 0, numbers)


@NO_COMPILER
def test_a_reading_of_more_signals_than_fit_on_the_stack_is_taken() -> None:
    wide = arrays()
    wide["state"], wide["limits"] = np.zeros((3, PANES, 100, FIELDS)), np.full(100, np.nan)
    wide["held"] = np.zeros((3, 0, 100))
    live = stream(CompiledStream, wide)
    assert live.take_one(2, 0, list(map(float, range(100)))) == TAKEN
    assert wide["state"][2, 0, :, 11].tolist() == list(range(100))
    for strange in (None, "x" * 100, [object()] * 100):
        with pytest.raises((ValueError, TypeError)):
            live.take_one(2, 0, strange)
