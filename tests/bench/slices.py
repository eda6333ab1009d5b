"""Peers that compute in Python, a value at a time or a pane at a time: measured on a slice, for the table.

``build/bench-env/bin/python tests/bench/slices.py JOB THREADS - FILE`` reports what one took.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a script of another environment, in which this project is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.peers import COLUMNS, PANE_US, SIGNALS, Job, Run, Write, main, nothing

SLICE_ROWS = 8_640  # a day of one device: a fleet would take hours


def tsfresh(files: Sequence[str], _threads: int) -> Run:
    import pandas as pd
    import pyarrow.parquet as pq
    from tsfresh import extract_features

    rows = pq.ParquetFile(files[0]).read_row_group(0, columns=COLUMNS).slice(0, SLICE_ROWS)
    frame = rows.to_pandas()
    frame["pane"] = frame["device"] + "/" + (frame["time"] // PANE_US).astype(str)
    long = frame.melt(["pane", "time"], list(SIGNALS), "signal", "value").dropna()
    names = ("length", "mean", "standard_deviation", "minimum", "maximum", "root_mean_square")
    asked: dict[str, Any] = dict.fromkeys(names) | {"linear_trend": [{"attr": "slope"}]}

    def run() -> Write:
        extract_features(
            pd.DataFrame(long),
            column_id="pane",
            column_sort="time",
            column_kind="signal",
            column_value="value",
            default_fc_parameters=asked,
            n_jobs=0,
            disable_progressbar=True,
        )
        return nothing

    return run


def river(files: Sequence[str], _threads: int) -> Run:
    import pyarrow.parquet as pq
    from river import stats

    rows = pq.ParquetFile(files[0]).read_row_group(0, columns=COLUMNS).slice(0, SLICE_ROWS)
    records = [tuple(record.values()) for record in rows.to_pylist()]

    def run() -> Write:
        panes: dict[tuple[str, int, int], tuple[Any, ...]] = {}
        for device, time, *values in records:
            for signal, value in enumerate(values):
                if value is None:
                    continue
                key = (device, time // PANE_US, signal)
                pane = panes.get(key)
                if pane is None:
                    pane = (stats.Mean(), stats.Var(), stats.Min(), stats.Max(), stats.Cov())
                    panes[key] = pane
                for statistic in pane[:4]:
                    statistic.update(value)
                pane[4].update(time % PANE_US, value)
        return nothing

    return run


JOBS: dict[str, Job] = {job.__name__: job for job in (tsfresh, river)}

if __name__ == "__main__":
    main(JOBS, sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
