"""The Spark engine: for telemetry that one machine does not read in time.

    tidemill materialize pumps --engine spark --master 'local[4]'
    tidemill materialize pumps --engine spark --master spark://head:7077

It makes the same tables as the local engine, with the same kernel: Spark deals out names of files and brings partial
panes together, nothing else. ::

    names of telemetry files → mapInArrow: summarise → repartition by date and device → mapInArrow: merge and write
    names of pane files → mapInArrow: read → repartition by device → mapInArrow: rows → by date → mapInArrow: write

Executors read and write Parquet where it lies and send back names; the driver commits these names in one commit. No
row passes through the driver, and no table format of the cluster has to be of the version of ours: no jars are added.
A task that Spark repeats leaves a file that no commit names.

On a cluster each executor needs this package (an image, or ``spark.archives``), the Python of ``PYSPARK_PYTHON`` and
credentials for the store; everything else is Spark's own configuration (``SPARK_CONF_DIR``).
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from pipelines.datafile import DataFile
from pipelines.errors import EngineError, EngineMissingError
from pipelines.piecework import Load, PaneJob, RowJob

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Batches = Iterator[pa.RecordBatch]

_ON_THIS_MACHINE = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
}
_MOST_ROWS_A_FILE = 1_000_000
_NAMES = pa.schema([("file", pa.string())])


class SparkCrew:
    """The executors of a Spark session.

    Args:
        session: The session; see `started`.
    """

    def __init__(self, session: "SparkSession") -> None:
        self._session = session

    @classmethod
    @contextlib.contextmanager
    def started(cls, master: str) -> Iterator[Self]:
        """Start Spark, or join the session there is, which then goes on afterwards.

        Args:
            master: ``local[n]`` for n threads here, or the address of a cluster, as Spark takes it.

        Raises:
            EngineMissingError: Spark does not start.
        """
        try:
            from pyspark.sql import SparkSession  # noqa: PLC0415 - the module can be read without the extra
        except ImportError as error:
            fix = "make spark, or leave out --engine spark"
            raise EngineMissingError("the Spark engine is not installed here", where=str(error), fix=fix) from error
        running = SparkSession.getActiveSession()
        session = running or _start(SparkSession.builder, master)
        try:
            yield cls(session)
        finally:
            if running is None:
                session.stop()

    def panes(self, job: PaneJob) -> list[DataFile]:
        """See `pipelines.partitions.Crew`."""
        readings = sum(file.rows for load in job.loads for file in load)
        parts = self._loads(job.loads).mapInArrow(_Summarise(job).run, _columns(job.panes.layout.schema))
        dealt = self._by_date(parts, len({load[0].date for load in job.loads}), readings)
        return _collected(dealt.mapInArrow(_Finish(job).run, _columns(_NAMES)))

    def rows(self, job: RowJob) -> list[DataFile]:
        """See `pipelines.partitions.Crew`."""
        panes = self._loads(job.loads).mapInArrow(_Read(job).run, _columns(job.panes.layout.schema))
        dealt = panes.repartition(max(len(job.loads), self._width), "device")
        rows = dealt.mapInArrow(_Compute(job).run, _columns(job.rows.layout.schema))
        dates = len({load[0].date for load in job.loads})
        most = sum(file.rows for load in job.loads for file in load)
        return _collected(self._by_date(rows, dates, most).mapInArrow(_Write(job).run, _columns(_NAMES)))

    @property
    def _width(self) -> int:
        return int(self._session.sparkContext.defaultParallelism)

    def _loads(self, loads: Sequence[Load]) -> "DataFrame":
        """A partition for each load, so that a task is one load."""
        named = [("\n".join(file.to_json() for file in load),) for load in loads]
        return self._session.sparkContext.parallelize(named, max(1, len(named))).toDF("load string")

    def _by_date(self, frame: "DataFrame", dates: int, rows: int) -> "DataFrame":
        """Bring the rows of a date together; of a date with very many, those of each share of the devices."""
        from pyspark.sql import functions as f  # noqa: PLC0415 - see above

        shares = -(-rows // (max(dates, 1) * _MOST_ROWS_A_FILE)) or 1
        wide = max(self._width, min(dates * shares, -(-rows // _MOST_ROWS_A_FILE)))
        return frame.repartition(wide, "date", f.pmod(f.hash("device"), f.lit(shares)))


def _start(builder: Any, master: str) -> "SparkSession":
    from py4j.protocol import Py4JError  # noqa: PLC0415 - see above
    from pyspark.errors import PySparkException  # noqa: PLC0415 - see above

    builder = builder.appName("tidemill").master(master)
    here = master.startswith("local")
    for name, value in (_ON_THIS_MACHINE if here else {}).items():
        builder = builder.config(name, value)
    try:
        session: SparkSession = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        why = " ".join(str(error).split())[:300]
        raise EngineMissingError(
            "Spark does not start",
            where=f"master {master}",
            why=why,
            fix="install a Java 17, for example `apt-get install openjdk-17-jre-headless`, and look at --master",
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    if here:
        session.sparkContext.pythonExec = sys.executable  # else the first python3 of the search path
    return session


@dataclass(frozen=True)
class _Summarise:
    job: PaneJob

    def run(self, batches: Batches) -> Batches:
        for load in _given(batches):
            yield from _sent(self.job.summarise(load))


@dataclass(frozen=True)
class _Finish:
    job: PaneJob

    def run(self, batches: Batches) -> Batches:
        parts = _whole(batches, self.job.panes.layout.schema)
        yield from _named(self.job.finish(parts) if len(parts) else [])


@dataclass(frozen=True)
class _Read:
    job: RowJob

    def run(self, batches: Batches) -> Batches:
        for load in _given(batches):
            yield from _sent(self.job.read(load))


@dataclass(frozen=True)
class _Compute:
    job: RowJob

    def run(self, batches: Batches) -> Batches:
        panes = _whole(batches, self.job.panes.layout.schema)
        yield from _sent(self.job.compute(panes)) if len(panes) else ()


@dataclass(frozen=True)
class _Write:
    job: RowJob

    def run(self, batches: Batches) -> Batches:
        rows = _whole(batches, self.job.rows.layout.schema)
        yield from _named(self.job.rows.write(rows.sort_by([("device", "ascending"), ("end", "ascending")])))


def _given(batches: Batches) -> Iterator[list[DataFile]]:
    for batch in batches:
        for text in batch["load"].to_pylist():
            yield [DataFile.from_json(line) for line in text.splitlines()]


def _whole(batches: Batches, schema: pa.Schema) -> pa.Table:
    tables = (pa.Table.from_batches([batch]).rename_columns(schema.names).cast(schema) for batch in batches)
    return pa.concat_tables([schema.empty_table(), *tables])


def _sent(table: pa.Table) -> Batches:
    yield from table.rename_columns(_plain(table.schema)).to_batches()


def _plain(schema: pa.Schema) -> list[str]:
    """Names without dots, which Spark would take for fields within fields."""
    return [name.replace(".", "__") for name in schema.names]


def _named(files: Sequence[DataFile]) -> Batches:
    yield pa.record_batch([pa.array([file.to_json() for file in files], pa.string())], schema=_NAMES)


def _columns(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - see above

    return from_arrow_schema(pa.schema([f.with_name(n) for f, n in zip(schema, _plain(schema), strict=True)]))


def _collected(names: "DataFrame") -> list[DataFile]:
    from py4j.protocol import Py4JError  # noqa: PLC0415 - see above
    from pyspark.errors import PySparkException  # noqa: PLC0415 - see above

    try:
        found = names.collect()
    except (PySparkException, Py4JError) as error:
        text = str(error)
        cause = next((line for line in reversed(text.splitlines()) if "Error: " in line or "Exception: " in line), text)
        raise EngineError(
            "a Spark job failed", why=" ".join(cause.split())[:500], fix="mend it, run it again"
        ) from error
    return [DataFile.from_json(row["file"]) for row in found]
