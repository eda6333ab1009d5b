"""Plain scans of raw Parquet objects, the limit of whoever reads them.

``build/bench-env/bin/python tests/bench/scans.py JOB THREADS - FILE...`` runs one.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # a script of another environment, in which this project is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.peers import SIGNALS, Job, Run, Write, main, nothing

COLUMNS = ["device", "ts", "received", *SIGNALS]


def scan_polars(files: Sequence[str], _threads: int) -> Run:
    import polars as pl

    def run() -> Write:
        for file in files:
            pl.read_parquet(file, columns=COLUMNS)
        return nothing

    return run


def scan_pyarrow(files: Sequence[str], threads: int) -> Run:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(threads)

    def run() -> Write:
        for file in files:
            pq.ParquetFile(file, read_dictionary=["device"]).read(COLUMNS, use_threads=threads > 1)
        return nothing

    return run


def scan_duckdb(files: Sequence[str], threads: int) -> Run:
    import duckdb

    listed = ", ".join(f"'{file}'" for file in files)

    def run() -> Write:
        with duckdb.connect(config={"threads": threads}) as connection:
            counts = ", ".join(f"count({column})" for column in COLUMNS)
            connection.execute(f"SELECT {counts} FROM read_parquet([{listed}])").fetchall()
        return nothing

    return run


JOBS: dict[str, Job] = {job.__name__: job for job in (scan_polars, scan_pyarrow, scan_duckdb)}


if __name__ == "__main__":
    main(JOBS, sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
