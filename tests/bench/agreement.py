"""Whether peers computed the same numbers: a benchmark that computes something else is no benchmark."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.bench.fleet import SIGNALS

Column = NDArray[np.float64]
_KEYS = [("device", "ascending"), ("start", "ascending")]


def largest_difference(ours: Path, peer: Path) -> float:
    """The largest difference of any statistic of any pane, by scale: over the largest size of that statistic.

    Returns:
        The difference; infinite where the panes are not the same ones or one side has a value and the other has none.
    """
    mine, theirs = (pq.read_table(path).sort_by(_KEYS) for path in (ours, peer))
    if mine["device"].to_pylist() != theirs["device"].to_pylist() or not mine["start"].equals(
        theirs["start"].cast("int64")
    ):
        return np.inf
    records = theirs["records"].to_numpy().astype(np.float64)
    worst = 0.0
    for signal in SIGNALS:
        sums = {
            name.removeprefix(f"{signal}."): theirs[name].to_numpy().astype(np.float64)
            for name in theirs.column_names
            if name.startswith(f"{signal}.")
        }
        for name, values in statistics_of(sums, records).items():
            worst = max(worst, difference(mine[f"{signal}.{name}"].to_numpy(), values))
    return worst


def statistics_of(sums: dict[str, Column], records: Column) -> dict[str, Column]:
    """What the sums of a peer say, in the words of ours."""
    count, total, time = sums["count"], sums["sum"], sums["time"]
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = count * sums["time_square"] - time**2
        return {
            "count": count,
            "missing_share": (records - count) / records,
            "mean": total / count,
            "std": np.sqrt((sums["square"] - total**2 / count) / (count - 1)),
            "min": sums["low"],
            "max": sums["high"],
            "first": sums["first"],
            "last": sums["last"],
            "slope": (count * sums["time_value"] - time * total) / spread,
            "rms": np.sqrt(sums["square"] / count),
            "above_share": sums["above"] / count,
        }


def difference(ours: Column, theirs: Column) -> float:
    """The largest difference over the largest size; infinite where only one of two is NaN."""
    if (np.isnan(ours) != np.isnan(theirs)).any():
        return np.inf
    return float(np.nanmax(np.abs(ours - theirs)) / max(float(np.nanmax(np.abs(ours))), 1e-300))
