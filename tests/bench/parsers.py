"""Gzipped JSON lines to Parquet in other libraries, each in its best idiom, and nothing else: no check, no duplicate
found, no table committed. ``build/bench-env/bin/python tests/bench/parsers.py JOB THREADS - FILE...`` runs one.

Where a library knows several ways (its own decompression, its own reader of many files), the one that took least CPU
time stands here.
"""

import gzip
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # a script of another environment, in which this project is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.peers import SIGNALS, Job, Run, Write, main, nothing

KEYS = ("device", "ts", "received")


def polars(files: Sequence[str], _threads: int) -> Run:
    import polars as pl

    values = pl.Struct(dict.fromkeys(SIGNALS, pl.Float64))
    schema = {"device": pl.String, "ts": pl.Int64, "received": pl.Int64, "values": values}

    def run() -> Write:
        with tempfile.TemporaryDirectory() as folder:
            for number, file in enumerate(files):
                lines = gzip.decompress(Path(file).read_bytes())
                frame = pl.read_ndjson(io.BytesIO(lines), schema=schema).unnest("values")
                frame.write_parquet(f"{folder}/{number}.parquet", compression="zstd", compression_level=1)
        return nothing

    return run


def duckdb(files: Sequence[str], threads: int) -> Run:
    import duckdb as engine

    fields = ", ".join(f"{name} DOUBLE" for name in SIGNALS)
    columns = f"{{device: 'VARCHAR', ts: 'BIGINT', received: 'BIGINT', values: 'STRUCT({fields})'}}"
    listed = ", ".join(f"'{file}'" for file in files)
    signals = ", ".join(f'"values".{name}' for name in SIGNALS)

    def run() -> Write:
        settings = {"threads": threads, "preserve_insertion_order": False}
        with tempfile.TemporaryDirectory() as folder, engine.connect(config=settings) as connection:
            read = f"read_json([{listed}], columns = {columns}, format = 'newline_delimited', compression = 'gzip')"
            kind = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
            connection.execute(f"COPY (SELECT device, ts, received, {signals} FROM {read}) TO '{folder}/all' {kind}")
        return nothing

    return run


def pyarrow(files: Sequence[str], threads: int) -> Run:
    import pyarrow as pa
    import pyarrow.json
    import pyarrow.parquet as pq

    pa.set_cpu_count(threads)
    values = pa.struct([(name, pa.float64()) for name in SIGNALS])
    schema = pa.schema([("device", pa.string()), ("ts", pa.int64()), ("received", pa.int64()), ("values", values)])
    parsing = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    reading = pyarrow.json.ReadOptions(use_threads=threads > 1, block_size=1 << 24)

    def run() -> Write:
        with tempfile.TemporaryDirectory() as folder:
            for number, file in enumerate(files):
                lines = gzip.decompress(Path(file).read_bytes())
                table = pyarrow.json.read_json(pa.BufferReader(lines), reading, parsing).flatten()
                pq.write_table(table, f"{folder}/{number}.parquet", compression="zstd", compression_level=1)
        return nothing

    return run


JOBS: dict[str, Job] = {job.__name__: job for job in (polars, duckdb, pyarrow)}


if __name__ == "__main__":
    main(JOBS, sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
