import numpy as np
from numpy.typing import NDArray

PANE_VERSION: int
FIELDS: int
STATISTICS: tuple[str, ...]

def add(
    panes: NDArray[np.float64],
    group: NDArray[np.int64],
    at: NDArray[np.float64],
    values: NDArray[np.float64],
    limits: NDArray[np.float64],
    /,
) -> None: ...
def merge(left: NDArray[np.float64], right: NDArray[np.float64], shift: NDArray[np.float64], /) -> None: ...
def burst(
    samples: NDArray[np.float64],
    rate: float,
    twiddles: NDArray[np.float64],
    bands: NDArray[np.int64],
    result: NDArray[np.float64],
    /,
) -> None: ...
def find_runs(
    device: NDArray[np.int32],
    times: NDArray[np.int64],
    pane_us: int,
    begin: NDArray[np.uint32],
    start: NDArray[np.int64],
    /,
) -> tuple[int, bool, bool, int, int, int, int]: ...
def number_runs(
    device: NDArray[np.int32],
    times: NDArray[np.int64],
    pane_us: int,
    begin: NDArray[np.uint32],
    start: NDArray[np.int64],
    first: tuple[int, int],
    cells: NDArray[np.uint32],
    group: NDArray[np.uint32],
    pane_device: NDArray[np.int32],
    pane_start: NDArray[np.int64],
    latest: NDArray[np.int64],
    /,
) -> tuple[int, bool]: ...
def sum_runs(
    panes: NDArray[np.float64],
    pane_start: NDArray[np.int64],
    times: NDArray[np.int64],
    begin: NDArray[np.uint32],
    group: NDArray[np.uint32] | None,
    columns: tuple[tuple[NDArray[np.float64], NDArray[np.uint8] | None, int], ...],
    limits: NDArray[np.float64],
    scratch: NDArray[np.uint32],
    /,
) -> None: ...
def fold(
    panes: NDArray[np.float64],
    parts: NDArray[np.float64],
    order: NDArray[np.int64],
    begin: NDArray[np.int64],
    /,
) -> None: ...
def finalize(
    states: NDArray[np.float64],
    window_us: NDArray[np.float64],
    signals: NDArray[np.int64],
    codes: NDArray[np.int64],
    out: NDArray[np.float64],
    /,
) -> None: ...
def accumulate(states: NDArray[np.float64], shift: NDArray[np.float64], /) -> None: ...
def sketch_runs(
    counts: NDArray[np.uint32],
    begin: NDArray[np.uint32],
    group: NDArray[np.uint32] | None,
    columns: tuple[tuple[NDArray[np.float64], NDArray[np.uint8] | None, int], ...],
    top: NDArray[np.int32],
    below: int,
    /,
) -> None: ...

class Stream:
    def __init__(
        self,
        state: NDArray[np.float64],
        start: NDArray[np.int64],
        marks: NDArray[np.int64],
        seen: NDArray[np.int64],
        held: NDArray[np.float64],
        limits: NDArray[np.float64],
        tally: NDArray[np.int64],
        counts: NDArray[np.uint32],
        sketched: NDArray[np.int32],
        top: NDArray[np.int32],
        pane_us: int,
        every_us: int,
        lateness_us: int,
        room_us: int,
        most_open: int,
        /,
    ) -> None: ...
    def take(
        self, device: NDArray[np.int32], time: NDArray[np.int64], values: NDArray[np.float64], begin: int, /
    ) -> int: ...
    def take_one(self, device: int, time: int, values: tuple[float, ...] | list[float], /) -> int: ...
