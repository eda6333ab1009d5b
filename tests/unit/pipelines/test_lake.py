import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from features.catalog import load
from features.schema import Fleet, Signal
from pipelines import tables
from pipelines.errors import CommitConflictError, LakeError, SettingsError, TableMissingError
from pipelines.lake import Lake, Table, compact
from pipelines.lake.compaction import Compacted
from pipelines.lake.engine import translated
from serving.errors import StoreDeniedError

HOUR = timedelta(hours=1)
FLEET = Fleet("vans", "", (Signal("speed", "km/h", 0, 130),), HOUR, HOUR, HOUR, HOUR)
WRITER = "ingest:vans"


def rows(*times: int, batch: int = 1, date: str = "2025-11-24", speed: float = 50.0) -> pa.Table:
    count = len(times)
    origin = [[batch] * count, [None] * count, [0] * count, list(range(count))]
    columns = [[date] * count, ["van-1"] * count, list(times), list(times), *origin, [speed] * count]
    return pa.table(columns, schema=tables.telemetry(FLEET).schema)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Lake(str(tmp_path)).telemetry(FLEET)


def test_a_table_that_nobody_wrote_says_so(table):
    assert not table.exists()
    with pytest.raises(TableMissingError, match="not been written"):
        table.open()


def test_appended_rows_are_read_back_with_their_transaction(table):
    snapshot = table.create()
    assert snapshot.transaction(WRITER) == 0
    version = snapshot.append(rows(1, 2), transaction=(WRITER, 1), metadata={"objects": 3})
    opened = table.open()
    assert opened.version == version
    assert opened.transaction(WRITER) == 1
    assert opened.read(["time"])["time"].to_pylist() == [1, 2]
    assert opened.history(1)[0]["objects"] == 3


def test_appended_rows_lie_in_a_file_for_each_date_in_the_encodings_of_what_was_measured(table):
    given = pa.concat_tables([rows(1, 2), rows(3, date="2025-11-25")])
    table.create().append(given, transaction=(WRITER, 1))
    files = table.open().files()
    assert [(file.date, file.rows, file.lows["time"], file.highs["time"]) for file in files] == [
        ("2025-11-24", 2, 1, 2),
        ("2025-11-25", 1, 3, 3),
    ]
    group = pq.ParquetFile(Path(table.uri) / files[0].path).metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in columns["time"].encodings
    assert "RLE_DICTIONARY" in columns["speed"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_the_log_does_not_keep_long_names_and_their_rows_are_found(table):
    long = rows(1).set_column(1, "device", pa.array(["v" * 1000]))
    table.create().append(pa.concat_tables([rows(2), long]), transaction=(WRITER, 1))
    (file,) = table.open().files()
    assert file.lows["device"] == "van-1"
    assert "v" * 1000 < file.highs["device"] < "v" * 255 + "w"
    assert table.open().read(["time"], devices=["v" * 1000])["time"].to_pylist() == [1]
    assert table.open().read(["time"], devices=["van-1"])["time"].to_pylist() == [2]


def test_an_append_without_rows_still_counts(table):
    table.create().append(rows(), transaction=(WRITER, 1))
    assert table.open().transaction(WRITER) == 1


def test_a_number_is_committed_once_even_from_a_snapshot_opened_before(table):
    early, late = table.create(), table.open()
    early.append(rows(1), transaction=(WRITER, 1))
    with pytest.raises(CommitConflictError):
        late.append(rows(1), transaction=(WRITER, 1))
    with pytest.raises(CommitConflictError, match="already committed"):
        table.open().append(rows(1), transaction=(WRITER, 1))
    assert table.open().read().num_rows == 1


def test_a_later_number_on_an_old_snapshot_is_refused(table):
    early, late = table.create(), table.open()
    early.append(rows(1), transaction=(WRITER, 1))
    with pytest.raises(CommitConflictError):
        late.append(rows(1), transaction=(WRITER, 2))


def test_of_writers_that_commit_one_number_at_once_exactly_one_wins(table):
    table.create()
    start = threading.Barrier(4)

    def commit(_: int) -> bool:
        snapshot = table.open()
        start.wait()
        try:
            snapshot.append(rows(1), transaction=(WRITER, 1))
        except CommitConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(commit, range(4)))
    assert sum(won) == 1
    assert table.open().read().num_rows == 1


def test_writers_that_make_the_table_at_once_agree_on_one(table):
    start = threading.Barrier(4)

    def make(_: int) -> list[str]:
        start.wait()
        return list(table.create().columns)

    with ThreadPoolExecutor(4) as pool:
        assert len({tuple(columns) for columns in pool.map(make, range(4))}) == 1
    table.open().append(rows(1), transaction=(WRITER, 1))
    assert table.open().read().num_rows == 1


def test_replacing_dates_leaves_other_dates_alone(table):
    table.create().append(pa.concat_tables([rows(1), rows(2, date="2025-11-25")]), transaction=(WRITER, 1))
    table.open().replace(rows(7, 8, date="2025-11-25"), ["2025-11-25", "2025-11-26"], transactions=[("other", 4)])
    opened = table.open()
    assert sorted(opened.read(["time"])["time"].to_pylist()) == [1, 7, 8]
    assert opened.dates() == ["2025-11-24", "2025-11-25"]
    assert (opened.transaction(WRITER), opened.transaction("other")) == (1, 4)
    opened.replace(rows(), ["2025-11-25"])
    assert table.open().read(["time"])["time"].to_pylist() == [1]


def test_replacing_no_dates_counts_the_transaction_and_changes_nothing(table):
    table.create().append(rows(1), transaction=(WRITER, 1))
    table.open().replace(rows(), [], transactions=[(WRITER, 2)])
    assert table.open().transaction(WRITER) == 2
    assert table.open().read().num_rows == 1


def test_rows_outside_the_replaced_dates_are_refused(table):
    with pytest.raises(LakeError):
        table.create().replace(rows(1, date="2025-11-25"), ["2025-11-24"])
    assert table.open().read().num_rows == 0


@pytest.mark.parametrize(("way", "dates"), [("replace", ["2025-11-24"]), ("replace", None), ("adopt", ["2025-11-24"])])
def test_what_was_appended_in_between_is_never_half_replaced(table, way, dates):
    table.create().append(rows(1), transaction=(WRITER, 1))
    old = table.open()
    table.open().append(rows(2, date="2025-11-25"), transaction=(WRITER, 2))
    if dates:  # others get on with their dates
        table.open().append(rows(3), transaction=(WRITER, 3))
    with pytest.raises(CommitConflictError):
        old.replace(rows(9), dates) if way == "replace" else old.adopt(table.folder.write(rows(9)), dates)
    assert 9 not in table.open().read()["time"].to_pylist()
    table.open().replace(rows(9), dates)
    assert sorted(table.open().read()["time"].to_pylist()) == ([2, 9] if dates else [9])


def test_files_that_cannot_hold_such_rows_are_not_opened(table):
    table.create()
    for number, device in enumerate(["van-1", "van-3", "van-5"], start=1):
        part = rows(number, batch=number, date=f"2025-11-2{number}")
        part = part.set_column(1, "device", pa.array([device]))
        table.open().append(part, transaction=(WRITER, number))
    opened = table.open()
    for file in opened.files(["2025-11-21", "2025-11-23"]):
        (Path(table.uri) / file.path).unlink()
    near: list[dict[str, Any]] = [
        {"dates": ["2025-11-22"]},
        {"devices": ["van-2", "van-3", "van-4"]},
        {"after": {"batch": 1}, "before": {"batch": 3}},
        {"after": {"speed": 0.0}, "dates": ["2025-11-22"]},  # nothing is stated of it
    ]
    for conditions in near:
        assert opened.read(["time"], **conditions)["time"].to_pylist() == [2]
    assert opened.read(devices=["van-2", "van-4"]).num_rows == 0
    with pytest.raises(LakeError, match="cannot be used"):
        opened.read()


def test_rows_that_are_not_simply_those_of_the_files_are_not_read(table):
    table.create().append(rows(1), transaction=(WRITER, 1))
    marks = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    protocol = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **marks}}
    entry = Path(table.uri) / "_delta_log" / f"{table.version() + 1:020d}.json"
    entry.write_text(json.dumps(protocol))
    with pytest.raises(LakeError, match="deletionVectors"):
        table.open().read()


def test_reading_filters_by_date_device_and_range(table):
    table.create().append(rows(1, 2, 3), transaction=(WRITER, 1))
    table.open().append(rows(4, batch=2, date="2025-11-25"), transaction=(WRITER, 2))
    opened = table.open()

    def times(**conditions: Any) -> list[int]:
        return sorted(opened.read(["time"], **conditions)["time"].to_pylist())

    assert times(dates=["2025-11-25"]) == [4]
    assert times(after={"batch": 1}) == [4]
    assert times(after={"time": 1}, before={"time": 3}) == [2]
    assert times(devices=["van-2"]) == []
    assert times(dates=[]) == []


def test_an_earlier_version_can_be_read_again(table):
    version = table.create().append(rows(1), transaction=(WRITER, 1))
    table.open().append(rows(2), transaction=(WRITER, 2))
    assert table.open(version).read().num_rows == 1
    with pytest.raises(TableMissingError, match="no version 99"):
        table.open(99)


def test_a_fleet_that_gains_a_signal_widens_its_table(tmp_path):
    Lake(str(tmp_path)).telemetry(FLEET).create().append(rows(1), transaction=(WRITER, 1))
    wider = Fleet("vans", "", (*FLEET.signals, Signal("load", "kg", 0, 900)), HOUR, HOUR, HOUR, HOUR)
    snapshot = Lake(str(tmp_path)).telemetry(wider).create()
    assert snapshot.read(["load"])["load"].to_pylist() == [None]
    row = rows(2).append_column("load", [[5.0]])
    snapshot.append(row, transaction=(WRITER, 2))
    assert sorted(Lake(str(tmp_path)).telemetry(wider).open().read(["load"])["load"].to_pylist(), key=str) == [
        5.0,
        None,
    ]


def test_many_small_files_are_merged_without_changing_rows(table):
    snapshot = table.create()
    for number in range(1, 35):
        snapshot.append(rows(number, batch=number), transaction=(WRITER, number))
        snapshot = table.open()
    assert compact(table, 1).dates == 1
    opened = table.open()
    assert sorted(opened.read(["time"])["time"].to_pylist()) == list(range(1, 35))
    assert opened.transaction(WRITER) == 34
    assert opened.row_counts() == {"2025-11-24": 34}
    assert compact(table, 1) == Compacted()


def test_a_table_without_dates_is_merged_as_a_whole(tmp_path):
    table = Lake(str(tmp_path)).events(FLEET)
    snapshot = table.create()
    for number in range(1, 35):
        row = pa.table([["van-1"], [number], ["failure"], [""], [number]], schema=table.layout.schema)
        snapshot.append(row, transaction=(WRITER, number))
        snapshot = table.open()
    assert (compact(table, 1).dates, len(table.open().read()), compact(table, 1).dates) == (1, 34, 0)


def test_nan_and_column_names_with_a_dot_survive(tmp_path):
    features = load("pumps").features
    table = Lake(str(tmp_path)).panes(features)
    schema = tables.panes(features).schema
    columns: list[object] = [["2025-11-24"], ["pump-1"], [5]]
    table.create().replace(pa.table(columns + [[np.nan]] * (len(schema) - 3), schema=schema), ["2025-11-24"])
    read = table.open().read(["start", "flow.low"], before={"start": 6})
    assert read["start"].to_pylist() == [5]
    assert np.isnan(read["flow.low"][0].as_py())


@pytest.mark.parametrize("left", [b'{"commitInfo":{"timest', bytes(300)])
def test_an_entry_that_a_power_cut_tore_is_named_with_the_cure(table, left):
    table.create().append(rows(1), transaction=(WRITER, 1))
    table.open().append(rows(2), transaction=(WRITER, 2))
    torn = Path(table.uri) / "_delta_log" / f"{2:020d}.json"
    torn.write_bytes(left)
    with pytest.raises(LakeError) as caught:
        table.open()
    assert caught.value.fix.startswith(f"rm '{torn}'")
    torn.unlink()
    assert table.open().transaction(WRITER) == 1


def test_an_entry_that_was_torn_to_nothing_is_a_commit_of_nothing(table):
    table.create().append(rows(1), transaction=(WRITER, 1))
    table.open().append(rows(2), transaction=(WRITER, 2))
    (Path(table.uri) / "_delta_log" / f"{2:020d}.json").write_bytes(b"")
    assert table.open().transaction(WRITER) == 1
    table.open().append(rows(2), transaction=(WRITER, 2))
    assert len(table.open().read()) == 2


def test_measured_columns_are_stored_as_what_they_are(table):
    count = 2**16
    steps = rows(*range(count))
    speed = pa.array(np.where(np.arange(count) < 2**14, 50.0, np.sqrt(np.arange(count))))
    place = steps.column_names.index("speed")
    table.create().append(steps.set_column(place, "speed", speed), transaction=(WRITER, 1))
    (path,) = Path(table.uri).glob("date=*/*.parquet")
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in columns["time"].encodings
    assert columns["time"].total_compressed_size < count  # less than a byte a row
    assert columns["ordinal"].total_compressed_size < count
    # A dictionary of all 49,153 values takes more than one of the first 32,768 and the others as they are.
    assert columns["speed"].total_uncompressed_size < 470_000
    assert columns["device"].total_compressed_size < 200
    assert table.open().read(["time", "speed"])["speed"].to_numpy().tolist() == speed.to_pylist()


def test_a_commit_is_durable_before_it_counts(table, monkeypatch):
    synced: list[str] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    version = table.create().append(rows(1), transaction=(WRITER, 1))
    (data,) = Path(table.uri).glob("date=*/*.parquet")
    log = Path(table.uri) / "_delta_log"
    assert {str(data), str(data.parent), str(log / f"{version:020d}.json"), str(log), table.uri} <= set(synced)


def test_stores_without_tables_are_refused():
    with pytest.raises(SettingsError, match="cannot hold tables"):
        Lake("https://plant.example/raw")


def test_panes_are_shared_by_feature_sets_only_when_they_are_the_same_panes():
    pumps = load("pumps").features
    fewer = type(pumps)(pumps.fleet, pumps.pane, pumps.every, pumps.features[:3])
    longer = type(pumps)(pumps.fleet, 2 * pumps.pane, pumps.every, pumps.features[:3])
    assert tables.panes(pumps).path == tables.panes(fewer).path
    assert tables.panes(pumps).path != tables.panes(longer).path
    assert tables.features(pumps).path != tables.features(fewer).path


def test_what_the_engine_says_stands_on_one_line_without_colours():
    painted = "\x1b[31mNo log entry\x1b[0m\n   for \x1b[1;33mversion 3\x1b[0m 0: <unknown> 1: <unknown>"
    with pytest.raises(LakeError) as caught, translated("/nowhere"):
        raise DeltaError(painted)
    assert caught.value.why == "No log entry for version 3"
    with pytest.raises(CommitConflictError) as refused, translated("/nowhere"):
        raise CommitFailedError("\x1b[31mtaken\x1b[0m")
    assert refused.value.why == "taken"


@pytest.fixture
def refusing():
    """A service that refuses whatever it is asked, and is the one a machine asks for its role as well."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_PUT(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "there are no usable credentials for S3.*set AWS_PROFILE or the AWS_"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, "S3 refuses this.*check the credentials"),
    ],
)
def test_a_table_behind_missing_or_wrong_keys_says_so(monkeypatch, tmp_path, refusing, keys, said):
    """For a task of Airflow that is TM-204, which names connection and variables, and is not tried again."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    place = {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": refusing, "AWS_ALLOW_HTTP": "true"}
    lake = Lake("s3://plant/telemetry", {**place, "AWS_METADATA_ENDPOINT": refusing})
    with pytest.raises(StoreDeniedError, match=said):
        lake.telemetry("pumps").open()
