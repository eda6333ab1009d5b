import numpy as np
from numpy.typing import NDArray

PANE_VERSION: int
FIELDS: int

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
