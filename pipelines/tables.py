"""What each table of the lake holds, and where it lies.

Times are int64 microseconds in UTC, because engines differ in what a timestamp means; ``date`` is the UTC day of a row
as ``yyyy-mm-dd`` and the partition.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pyarrow as pa

from features.featureset import FeatureSet
from features.pane import PANE_FIELDS, PANE_VERSION
from features.regime import regimes_json
from features.schema import Fleet, digest_of

DAY_US = 86_400_000_000
_TEXT, _NUMBER, _REAL = pa.string(), pa.int64(), pa.float64()


@dataclass(frozen=True, slots=True)
class Layout:
    """One table: its path below ``lake/``, its columns, and how its files are cut.

    Attributes:
        path: Path below ``lake/``.
        schema: The columns.
        statistics: Columns whose range each file states, so that reading can skip files.
        made_by: The command that writes it.
        partitioned: Whether it is partitioned by ``date``.
        computed: Whether it holds numbers that were computed, so that hardly one occurs twice.
    """

    path: str
    schema: pa.Schema
    statistics: tuple[str, ...]
    made_by: str
    partitioned: bool = True
    computed: bool = False


def telemetry(fleet: Fleet) -> Layout:
    """Accepted readings: date, device, time, received, batch, sequence, object, ordinal, a column per signal.

    ``batch`` is the number of the ingest batch, ``object`` a position in its intent (`pipelines.ledger`), ``ordinal``
    the position of the record in that object: together they name the record a row was read from. A row that was put
    together from several records has an ``object`` of -1 and no ``ordinal`` (`pipelines.compose`). ``sequence`` is null
    where the record has none; these three are null in rows that an older version of this program wrote.
    """
    columns = [("date", _TEXT), ("device", _TEXT), ("time", _NUMBER), ("received", _NUMBER), ("batch", _NUMBER)]
    lineage = [("sequence", _NUMBER), ("object", pa.int32()), ("ordinal", pa.int32())]
    schema = _schema([*columns, *lineage], fleet.signal_names)
    return Layout(f"{fleet.name}/telemetry", schema, ("device", "time", "batch"), f"tidemill ingest {fleet.name}")


def withdrawn(fleet: Fleet) -> Layout:
    """Readings that were taken out of the telemetry and not replaced by one of the same batch: device, time, batch.

    What was computed from them is computed anew; where they are, no row says that something changed. A note is written
    before the commit that takes the reading out, so there may be one too many, never one too few.
    """
    columns = [("device", _TEXT), ("time", _NUMBER), ("batch", _NUMBER)]
    made_by = f"tidemill ingest {fleet.name}"
    return Layout(f"{fleet.name}/withdrawn", _schema(columns), ("batch",), made_by, partitioned=False)


def events(fleet: Fleet) -> Layout:
    """What happened to devices: device, time, kind, detail, known_at (when it became known)."""
    columns = [("device", _TEXT), ("time", _NUMBER), ("kind", _TEXT), ("detail", _TEXT), ("known_at", _NUMBER)]
    statistics = ("device", "time", "known_at")
    made_by = f"tidemill ingest {fleet.name}"
    return Layout(f"{fleet.name}/events", _schema(columns), statistics, made_by, partitioned=False)


def panes(features: FeatureSet) -> Layout:
    """Panes: date, device, start, ``<signal>.<field>`` for each field, ``<signal>.counts`` where quantiles are asked.

    The path names everything a pane depends on, so feature sets share panes exactly when they may.
    """
    signals = features.fleet.signal_names
    limits, regimes = [s.limit for s in features.fleet.signals], regimes_json(features.regimes)
    sketches = {signals[place]: asdict(sketch) for place, sketch in features.sketched.items()}
    kind = short(digest_of([PANE_VERSION, features.pane_us, list(signals), limits, regimes, sketches]))
    fields = (f"{signal}.{field}" for signal in signals for field in PANE_FIELDS)
    path = f"{features.fleet.name}/panes-v{PANE_VERSION}-{kind}"
    schema = _schema([("date", _TEXT), ("device", _TEXT), ("start", _NUMBER)], fields)
    for signal in sketches:
        schema = schema.append(pa.field(f"{signal}.counts", pa.list_(pa.int32())))
    return Layout(path, schema, ("device", "start"), f"tidemill materialize {features.fleet.name}", computed=True)


def devices(features: FeatureSet) -> Layout:
    """How far the panes reach that a feature set was computed from: device, first, last (starts of panes).

    It only saves looking through all readings; without it, or with one of another run, they are looked through.
    """
    schema = _schema([("device", _TEXT), ("first", _NUMBER), ("last", _NUMBER)])
    path, made_by = f"{features.fleet.name}/devices-{short(features.digest)}", features.fleet.name
    return Layout(path, schema, ("device",), f"tidemill materialize {made_by}", partitioned=False, computed=True)


def features(features: FeatureSet) -> Layout:
    """Feature rows: date, device, end (of the windows), and a column per feature."""
    columns = [("date", _TEXT), ("device", _TEXT), ("end", _NUMBER)]
    path = f"{features.fleet.name}/features-{short(features.digest)}"
    made_by = f"tidemill materialize {features.fleet.name}"
    return Layout(path, _schema(columns, features.names), ("device", "end"), made_by, computed=True)


def predictions(usecase: str) -> Layout:
    """Predictions of every placement: date (of the window's end) and the fields of `serving.record.Prediction`."""
    columns = [
        *((name, _TEXT) for name in ("date", "id", "placement", "instance", "device")),
        *((name, _NUMBER) for name in ("window_end", "predicted_at")),
        *((name, _TEXT) for name in ("version", "bundle", "feature_digest")),
        ("score", _REAL),
        ("alert", pa.bool_()),
        ("features", pa.list_(_REAL)),
    ]
    statistics = ("device", "window_end", "predicted_at")
    return Layout(f"{usecase}/predictions", _schema(columns), statistics, f"tidemill monitor {usecase}")


def outcomes(usecase: str) -> Layout:
    """What came of predictions: date (of the window's end), id, device, window_end, label, known_at, joined_at.

    The label is in the unit of the use case's label, ``known_at`` when anybody could know it, ``joined_at`` when it was
    written here. Of several rows of an id the latest holds, see `pipelines.outcomes`.
    """
    columns = [("date", _TEXT), ("id", _TEXT), ("device", _TEXT), ("window_end", _NUMBER)]
    columns += [("label", _REAL), ("known_at", _NUMBER), ("joined_at", _NUMBER)]
    statistics = ("device", "window_end", "joined_at")
    return Layout(f"{usecase}/outcomes", _schema(columns), statistics, f"tidemill monitor {usecase}")


def short(digest: str) -> str:
    """The first twelve digits of a digest, enough to tell the feature sets of a fleet apart in paths.

    Example:
        >>> short("sha256:0123456789abcdef")
        '0123456789ab'
    """
    return digest.removeprefix("sha256:")[:12]


def _schema(columns: list[tuple[str, pa.DataType]], reals: Iterable[str] = ()) -> pa.Schema:
    return pa.schema([*columns, *((name, _REAL) for name in reals)])
