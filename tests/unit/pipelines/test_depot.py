import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines import datafile, depot
from pipelines.datafile import Folder
from pipelines.depot import Disk, Service
from pipelines.errors import LakeError
from pipelines.tables import Layout
from serving.errors import MissingObjectError, StoreUnreachableError
from serving.store import Remote
from tests.fakes.stores import MemoryStore

SCHEMA = pa.schema([("date", pa.string()), ("device", pa.string()), ("time", pa.int64()), ("speed", pa.float64())])
LAYOUT = Layout("fans/telemetry", SCHEMA, ("device", "time"), "a test")
OLDER = Layout("fans/telemetry", SCHEMA.remove(3), ("device", "time"), "a test")
DATES = ["2026-01-05", "2026-01-06"]


class Behind(MemoryStore):
    """A store behind a service."""

    endpoint = "http://plant.example"


@pytest.fixture
def store():
    return Behind()


@pytest.fixture(params=["disk", "service"])
def folder(request, tmp_path, store, monkeypatch):
    """A table on a disk, or behind a service that gives two files at a time."""
    monkeypatch.setattr(depot, "_GROUP_FILES", 2)
    place = Disk(tmp_path) if request.param == "disk" else Service(store, "lake/fans/telemetry/")
    monkeypatch.setattr(datafile, "depot", lambda *_: place)
    return Folder("", LAYOUT, {})


def rows(*times: int) -> pa.Table:
    columns = [[DATES[time % 2] for time in times], [f"fan-{time % 3}" for time in times], list(times)]
    return pa.table([*columns, [time / 2 for time in times]], schema=SCHEMA)


def by_time(table: pa.Table) -> list[dict[str, object]]:
    return sorted(table.to_pylist(), key=lambda row: row["time"])


def test_rows_are_read_as_they_were_written_wherever_they_lie(folder):
    files = [file for time in range(5) for file in folder.write(rows(time, time + 5))]
    expected = rows(*range(10))
    found = folder.read(files)
    assert found.schema == SCHEMA
    assert by_time(found) == expected.to_pylist()
    only = folder.read(files, ["time", "device"], (pc.field("date") == DATES[1]) & (pc.field("time") > 3), coded=True)
    assert by_time(only) == [{"time": time, "device": f"fan-{time % 3}"} for time in (5, 7, 9)]
    assert only.schema.field("device").type == pa.dictionary(pa.int32(), pa.string())


def test_a_column_that_older_files_lack_is_null(folder):
    older = Folder("", OLDER, {}).write(rows(1).drop_columns("speed"))
    found = by_time(folder.read([*older, *folder.write(rows(2))], ["time", "speed", "date"]))
    assert found == [
        {"time": 1, "speed": None, "date": DATES[1]},
        {"time": 2, "speed": 1.0, "date": DATES[0]},
    ]


def test_no_files_are_no_rows(folder):
    assert folder.read([]).equals(SCHEMA.empty_table())
    assert folder.read([], ["time"], coded=True).equals(SCHEMA.empty_table().select(["time"]))


def test_files_at_hand_can_be_scanned_again_and_again(folder):
    files = folder.write(rows(1, 2, 3))
    with folder.nearby(files) as found:
        assert [sorted(found.to_table(columns=["time"])["time"].to_pylist()) for _ in range(2)] == [[1, 2, 3]] * 2


def test_removed_files_have_no_size(folder):
    files = folder.write(rows(1, 2))
    paths = [file.path for file in files]
    assert folder.sizes([*paths, "never.parquet"]) == [*(file.size for file in files), 0]
    folder.remove(files)
    folder.remove(files)
    assert folder.sizes(paths) == [0, 0]
    assert folder.sizes([]) == []


@pytest.mark.parametrize("folder", ["service"], indirect=True)
def test_a_file_that_is_not_the_one_of_the_table_is_never_read(folder, store):
    (file,) = folder.write(rows(1))
    key = f"lake/fans/telemetry/{file.path}"
    whole = store.get(key)
    store.put(key, whole[:-1])
    with pytest.raises(LakeError, match=f"{len(whole) - 1} bytes instead of {len(whole)}"):
        folder.read([file])
    store.delete(key)
    with pytest.raises(MissingObjectError):
        folder.read([file])


@pytest.mark.parametrize("folder", ["service"], indirect=True)
def test_no_object_is_overwritten_and_a_lost_service_is_told(folder, store, monkeypatch):
    monkeypatch.setattr("uuid.uuid4", lambda: "same")
    (file,) = folder.write(rows(1))
    with pytest.raises(LakeError, match="already"):
        folder.write(rows(1))
    assert by_time(folder.read([file])) == rows(1).to_pylist()
    store.reachable = False
    with pytest.raises(StoreUnreachableError):
        folder.write(rows(2))


def test_tables_of_a_bucket_share_a_client(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    options = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "eu-west-1"}
    one, other = (depot.depot(f"s3://plant/site/lake/{name}", options) for name in ("a", "b"))
    assert isinstance(one, Service)
    assert isinstance(other, Service)
    assert one._store is other._store
    assert isinstance(one._store, Remote)
    assert one._store.endpoint == options["AWS_ENDPOINT_URL"]
