"""The pane kernel: add readings to panes, merge panes, sum up bursts. One C99 source, compiled, or numpy in its place.

    >>> import numpy as np
    >>> from features import kernel
    >>> panes = np.zeros((1, 1, kernel.FIELDS))  # one empty pane of one signal
    >>> kernel.add(panes, np.array([0, 0]), np.array([0.0, 6e7]), np.array([[20.0], [22.0]]), np.array([21.0]))
    >>> panes[0, 0, 0], panes[0, 0, 2]  # count, and the sum about the first reading
    (np.float64(2.0), np.float64(2.0))

    pane.h pane.c   the kernel itself; also what a microcontroller compiles, with -DTM_REAL=float
    binding.c       its Python side: refuses every misfit buffer, releases the GIL in the loops
    reference.py    the same functions over panes in numpy
    columns_reference.py  the columnar entries in numpy: runs of rows, sketches, statistics of many panes
    burst_reference.py  the statistics of a burst in numpy
    stream_reference.py readings as they arrive in numpy: class Stream; ring_reference.py adds them to their panes

``features.pane`` is the friendly face of this package; use that.

Why so:
    * Compiled, optional. Status: accepted. C adds readings about 60 times and merges panes about 7 times as fast as
      numpy, and it is the very source that runs on a microcontroller. Cost: a second implementation to keep, which the
      tests turn into an oracle.
    * Sums about the first reading. Status: accepted. The first reading is kept anyway, so no anchor has to be stored,
      carried or agreed on, and the state does not depend on the order of arrival. Cost: a reading that arrives before
      the first one moves the sums, a dozen multiplications.
    * Whole microseconds in floating point. Status: accepted. Seconds would read better, but 0.022 - 600 + 600 is not
      0.022, and which of two readings came first must not depend on how panes were grouped. Cost: large squares.
    * Stable ABI. Status: accepted. One build serves every Python from 3.11 on. Cost: buffers instead of numpy's C API.
"""

import logging

from features.kernel import burst_reference, columns_reference, reference, stream_reference
from features.kernel.burst_reference import RESULTS as BURST_RESULTS
from features.kernel.columns_reference import Parts
from features.kernel.reference import FIELDS, PANE_VERSION

__all__ = [
    "BACKEND",
    "BURST_RESULTS",
    "FIELDS",
    "PANE_VERSION",
    "STATISTICS",
    "Parts",
    "Stream",
    "accumulate",
    "add",
    "burst",
    "finalize",
    "find_runs",
    "fold",
    "merge",
    "number_runs",
    "sketch_runs",
    "sum_runs",
]

try:
    from features.kernel import _pane
except ImportError:
    _compiled, _reason = None, "it was not compiled"
else:
    # A build that was left behind by another version would read fields or lack functions that are there by now.
    _whole = all(hasattr(_pane, name) for name in __all__ if name not in ("BACKEND", "BURST_RESULTS", "Parts"))
    _matches = _whole and (_pane.PANE_VERSION, _pane.FIELDS) == (PANE_VERSION, FIELDS)
    _compiled, _reason = (_pane if _matches else None), "it was compiled for another version of the pane"

if _compiled is not None:
    BACKEND = "c"
    add, merge, fold, accumulate = _compiled.add, _compiled.merge, _compiled.fold, _compiled.accumulate
    find_runs, number_runs, sum_runs = _compiled.find_runs, _compiled.number_runs, _compiled.sum_runs
    STATISTICS, finalize, sketch_runs = _compiled.STATISTICS, _compiled.finalize, _compiled.sketch_runs
    burst = _compiled.burst
    Stream: type[stream_reference.Stream] = _compiled.Stream
else:
    BACKEND = "numpy"
    add, merge, fold, accumulate = reference.add, reference.merge, reference.fold, reference.accumulate
    find_runs, number_runs = columns_reference.find_runs, columns_reference.number_runs
    sum_runs, sketch_runs = columns_reference.sum_runs, columns_reference.sketch_runs
    STATISTICS, finalize = columns_reference.STATISTICS, columns_reference.finalize
    burst = burst_reference.burst
    Stream = stream_reference.Stream
    logging.getLogger(__name__).warning("The slower numpy kernel serves in place of the C kernel: %s.", _reason)
