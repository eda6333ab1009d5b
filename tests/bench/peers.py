"""The pane stage in other libraries, each in its best idiom; and plain scans, the limit of all of them.

``build/bench-env/bin/python tests/bench/peers.py JOB THREADS OUTPUT FILE...`` runs one job and reports what it took.
OUTPUT is a Parquet file for the result, written after the clock has stopped, or ``-``.

Of each signal of each (device, pane) every peer computes what count, nulls, mean, std, min, max, first, last, slope
(least squares), rms and above (a limit) need: the same sums, so that nobody pays for arithmetic on a few results. Where
a library knows several ways (built-in variance and regression, sums, casts, masks), the one that took least CPU time
stands here.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a script of another environment, in which this project is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.stopwatch import Stopwatch, report

PANE_US = 600_000_000
HOUR_US = 3.6e9
LIMIT = 60.0
SIGNALS = tuple(f"s{number}" for number in range(8))
COLUMNS = ["device", "time", *SIGNALS]

Write = Callable[[str], object]
Run = Callable[[], Write]
Job = Callable[[Sequence[str], int], Run]


def scan_polars(files: Sequence[str], _threads: int) -> Run:
    import polars as pl

    def run() -> Write:
        for file in files:
            pl.read_parquet(file, columns=COLUMNS, hive_partitioning=False)
        return nothing

    return run


def scan_pyarrow(files: Sequence[str], threads: int) -> Run:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(threads)

    def run() -> Write:
        for file in files:
            parquet = pq.ParquetFile(file, read_dictionary=["device"])
            for group in range(parquet.num_row_groups):
                parquet.read_row_group(group, columns=COLUMNS, use_threads=threads > 1)
        return nothing

    return run


def scan_duckdb(files: Sequence[str], threads: int) -> Run:
    import duckdb

    def run() -> Write:
        with duckdb.connect(config={"threads": threads}) as connection:
            counts = ", ".join(f"count({column})" for column in COLUMNS)
            connection.execute(f"SELECT {counts} FROM {_table(files)}").fetchall()
        return nothing

    return run


def polars(files: Sequence[str], _threads: int) -> Run:
    import polars as pl

    time, t = pl.col("time"), pl.col("t")
    found = [pl.len().alias("records")]
    for signal in SIGNALS:
        x = pl.col(signal)
        at = pl.when(x.is_not_null()).then(t)
        terms = {
            "count": x.count(),
            "sum": x.sum(),
            "square": (x * x).sum(),
            "time": at.sum(),
            "time_square": (at * t).sum(),
            "time_value": (t * x).sum(),
            "above": (x > LIMIT).sum(),
            "low": x.min(),
            "high": x.max(),
            "first": x.first(ignore_nulls=True),
            "last": x.last(ignore_nulls=True),
        }
        found += [term.alias(f"{signal}.{name}") for name, term in terms.items()]

    def run() -> Write:
        readings = pl.scan_parquet(list(files), hive_partitioning=False)
        offset = time % PANE_US
        readings = readings.select("device", (time - offset).alias("start"), (offset / HOUR_US).alias("t"), *SIGNALS)
        result: Any = readings.group_by("device", "start").agg(found).collect(engine="streaming")
        return lambda path: result.write_parquet(path)  # noqa: PLW0108 - typed here

    return run


def duckdb(files: Sequence[str], threads: int) -> Run:
    import duckdb as engine
    import pyarrow.parquet as pq

    found = ["count(*) AS records"]
    for signal in SIGNALS:
        terms = {
            "count": f"count({signal})",
            "sum": f"sum({signal})",
            "square": f"sum({signal} * {signal})",
            "time": f"sum(CASE WHEN {signal} IS NOT NULL THEN t END)",
            "time_square": f"sum(CASE WHEN {signal} IS NOT NULL THEN t * t END)",
            "time_value": f"sum(t * {signal})",
            "above": f"sum(({signal} > {LIMIT})::INT)",
            "low": f"min({signal})",
            "high": f"max({signal})",
            "first": f"arg_min({signal}, time)",
            "last": f"arg_max({signal}, time)",
        }
        found += [f'{term} AS "{signal}.{name}"' for name, term in terms.items()]
    query = f"""
        SELECT device, start, {", ".join(found)} FROM (
            SELECT device, time, time - time % {PANE_US} AS start, (time % {PANE_US}) / {HOUR_US} AS t,
                {", ".join(SIGNALS)}
            FROM {_table(files)})
        GROUP BY device, start"""

    def run() -> Write:
        with engine.connect(config={"threads": threads, "preserve_insertion_order": False}) as connection:
            result = connection.sql(query).to_arrow_table()
        return lambda path: pq.write_table(result, path)

    return run


def pandas(files: Sequence[str], threads: int) -> Run:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(threads)
    again = {"low": "min", "high": "max", "first": "first", "last": "last"}

    def panes(table: pa.Table) -> pd.DataFrame:
        frame = table.to_pandas(use_threads=threads > 1)
        device, time = frame.pop("device"), frame.pop("time")
        offset = time % PANE_US
        t = (offset / HOUR_US).to_numpy()
        start = time - offset
        group, first = pd.factorize(device.cat.codes.astype("int64") * (1 << 40) + start // PANE_US)
        at = frame.notna() * t[:, None]
        found = {
            "square": frame * frame,
            "time": at,
            "time_square": at * t[:, None],
            "time_value": frame * t[:, None],
            "above": frame > LIMIT,
        }
        found = {name: term.groupby(group, sort=False).sum() for name, term in found.items()}
        grouped = frame.groupby(group, sort=False)
        for name in ("count", "sum", "min", "max", "first", "last"):
            found[{"min": "low", "max": "high"}.get(name, name)] = getattr(grouped, name)()
        columns = [result.add_suffix(f".{name}") for name, result in found.items()]
        names = pd.Categorical.from_codes(first // (1 << 40), dtype=device.dtype).astype(str)
        keys = pd.DataFrame({"device": names, "start": first % (1 << 40) * PANE_US})
        return pd.concat([keys, grouped.size().rename("records"), *columns], axis=1)

    def run() -> Write:
        # By row group: a day at a time takes twice as long and five gigabytes.
        parquets = [pq.ParquetFile(file, read_dictionary=["device"]) for file in files]
        parts = [
            panes(parquet.read_row_group(group, columns=COLUMNS, use_threads=threads > 1))
            for parquet in parquets
            for group in range(parquet.num_row_groups)
        ]
        whole = pd.concat(parts)
        hows = {name: again.get(name.rpartition(".")[2], "sum") for name in whole.columns[2:]}
        result = whole.groupby(["device", "start"], sort=False).agg(hows).reset_index()
        return lambda path: result.to_parquet(path)  # noqa: PLW0108 - typed here

    return run


def pyarrow(files: Sequence[str], threads: int) -> Run:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    pa.set_cpu_count(threads)
    sums = ("square", "time", "time_square", "time_value", "above")
    plain = ("count", "sum", "min", "max", "first", "last")
    asked = [("t", "count"), *((signal, name) for signal in SIGNALS for name in plain)]
    asked += [(f"{signal}.{name}", "sum") for signal in SIGNALS for name in sums]
    again = [(f"{name}_{how}", "sum" if how == "count" else how) for name, how in asked]
    names = ["device", "start", "records"]
    called = {"min": "low", "max": "high"}
    names += [f"{signal}.{called.get(name, name)}" for signal in SIGNALS for name in plain]
    names += [f"{signal}.{name}" for signal in SIGNALS for name in sums]

    def panes(table: pa.Table) -> pa.Table:
        time = table["time"]
        start = pc.multiply(pc.divide(time, PANE_US), PANE_US)
        t = pc.divide(pc.cast(pc.subtract(time, start), pa.float64()), HOUR_US)
        columns = {"device": table["device"], "start": start, "t": t}
        for signal in SIGNALS:
            x = table[signal]
            at = pc.if_else(pc.is_valid(x), t, None)
            columns |= {
                signal: x,
                f"{signal}.square": pc.multiply(x, x),
                f"{signal}.time": at,
                f"{signal}.time_square": pc.multiply(at, t),
                f"{signal}.time_value": pc.multiply(x, t),
                f"{signal}.above": pc.greater(x, LIMIT),
            }
        # First and last need the order of rows, which Arrow keeps with one thread only.
        found = pa.table(columns).group_by(["device", "start"], use_threads=False).aggregate(asked)
        return found.set_column(0, "device", found["device"].cast("string"))

    def run() -> Write:
        # By row group: a day at a time takes three times as long and four gigabytes.
        parquets = [pq.ParquetFile(file, read_dictionary=["device"]) for file in files]
        parts = [
            panes(parquet.read_row_group(group, columns=COLUMNS, use_threads=threads > 1))
            for parquet in parquets
            for group in range(parquet.num_row_groups)
        ]
        whole = pa.concat_tables(parts).group_by(["device", "start"], use_threads=False).aggregate(again)
        return lambda path: pq.write_table(whole.rename_columns(names), path)

    return run


def _table(files: Sequence[str]) -> str:
    listed = ", ".join(f"'{file}'" for file in files)
    return f"read_parquet([{listed}], hive_partitioning = false)"


def nothing(_path: str) -> None:
    """A scan has no result."""


JOBS: dict[str, Job] = {
    job.__name__: job for job in (scan_polars, scan_pyarrow, scan_duckdb, polars, duckdb, pandas, pyarrow)
}


def main(jobs: Mapping[str, Job], name: str, threads: int, output: str, files: Sequence[str]) -> None:
    # polars and the arithmetic libraries read their threads when they are imported.
    for variable in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    run = jobs[name](files, threads)
    watch = Stopwatch()
    write = run()
    measured = watch.stop()
    if output != "-":
        write(output)
    report(measured)


if __name__ == "__main__":
    main(JOBS, sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
