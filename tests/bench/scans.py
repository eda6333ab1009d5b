"""Plain scans of raw Parquet objects, the limit of whoever reads them; and copies of them, of whoever stores them too.

A copy has the same rows in the same order, nothing checked or looked for, compressed as our tables are.

``build/bench-env/bin/python tests/bench/scans.py JOB THREADS - FILE...`` runs one.
"""

import sys
import tempfile
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


def copy_polars(files: Sequence[str], _threads: int) -> Run:
    import polars as pl

    def run() -> Write:
        with tempfile.TemporaryDirectory() as folder:
            for number, file in enumerate(files):
                rows = pl.read_parquet(file, columns=COLUMNS)
                rows.write_parquet(f"{folder}/{number}.parquet", compression="zstd", compression_level=1)
        return nothing

    return run


def copy_pyarrow(files: Sequence[str], threads: int) -> Run:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(threads)

    def run() -> Write:
        with tempfile.TemporaryDirectory() as folder:
            for number, file in enumerate(files):
                rows = pq.ParquetFile(file, read_dictionary=["device"]).read(COLUMNS, use_threads=threads > 1)
                pq.write_table(rows, f"{folder}/{number}.parquet", compression="zstd", compression_level=1)
        return nothing

    return run


def copy_duckdb(files: Sequence[str], threads: int) -> Run:
    import duckdb

    listed = ", ".join(f"'{file}'" for file in files)
    kind = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"

    def run() -> Write:
        settings = {"threads": threads, "preserve_insertion_order": False}
        with tempfile.TemporaryDirectory() as folder, duckdb.connect(config=settings) as connection:
            read = f"SELECT {', '.join(COLUMNS)} FROM read_parquet([{listed}])"
            connection.execute(f"COPY ({read}) TO '{folder}/all' {kind}")
        return nothing

    return run


JOBS: dict[str, Job] = {
    job.__name__: job for job in (scan_polars, scan_pyarrow, scan_duckdb, copy_polars, copy_pyarrow, copy_duckdb)
}


if __name__ == "__main__":
    main(JOBS, sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
