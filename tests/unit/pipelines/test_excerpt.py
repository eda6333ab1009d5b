import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import datafile
from pipelines.datafile import Folder
from pipelines.depot import Service
from pipelines.errors import LakeError
from pipelines.excerpt import excerpt
from pipelines.tables import Layout
from tests.fakes.stores import MemoryStore

ROWS = 5_000
NAMES = [f"s{number}" for number in range(60)]
COLUMNS = [("device", pa.string()), ("time", pa.int64()), *((name, pa.float64()) for name in NAMES)]
SCHEMA = pa.schema([*COLUMNS, ("s7.counts", pa.list_(pa.int32()))])
LAYOUT = Layout("fans/telemetry", SCHEMA, ("device", "time"), "a test", partitioned=False)


class Parted(MemoryStore):
    """A store behind a service that gives parts, and tells how many bytes it gave."""

    endpoint = "http://plant.example"

    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    def part(self, key: str, start: int, length: int) -> bytes:
        self.given += length
        return self.get(key)[start : start + length]


def wide() -> pa.Table:
    chance = np.random.default_rng(5)
    counts = pa.array([[number, number + 1] for number in range(ROWS)], pa.list_(pa.int32()))
    values = [chance.normal(size=ROWS) for _ in NAMES]
    return pa.table([[f"fan-{n % 3}" for n in range(ROWS)], list(range(ROWS)), *values, counts], schema=SCHEMA)


@pytest.fixture
def store():
    return Parted()


@pytest.fixture
def folder(store, monkeypatch):
    monkeypatch.setattr(datafile, "depot", lambda *_: Service(store, "t/"))
    return Folder("", LAYOUT, {})


def test_of_a_large_file_only_the_columns_are_fetched(folder, store):
    (file,) = folder.write(wide())
    for columns in (["time", "s3"], ["s7.counts"], ["device", "s7"]):
        store.given = 0
        assert folder.read([file, file], columns).equals(pa.concat_tables([wide(), wide()]).select(columns))
        assert 0 < store.given < 2 * file.size / 4
    store.given = 0
    assert folder.read([file]).equals(wide())
    assert store.given <= 64 * 1024  # its description; then it was fetched as a whole


def test_columns_that_a_large_file_lacks_are_null(folder):
    (file,) = folder.write(wide())
    more = Layout("fans/telemetry", SCHEMA.append(pa.field("late", pa.float64())), ("time",), "a test")
    assert (
        Folder("", more, {})
        .read([file], ["late", "time"])
        .equals(pa.table([pa.nulls(ROWS, pa.float64()), list(range(ROWS))], names=["late", "time"]))
    )


def test_a_changed_byte_in_a_part_is_noticed(folder, store):
    (file,) = folder.write(wide())
    data = bytearray(store.get(f"t/{file.path}"))
    chunk = pq.read_metadata(io.BytesIO(bytes(data))).row_group(0).column(SCHEMA.get_field_index("s30"))
    data[chunk.dictionary_page_offset + chunk.total_compressed_size // 2] ^= 1
    store.put(f"t/{file.path}", bytes(data))
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        folder.read([file], ["s30"])


def test_a_description_longer_than_the_tail_is_fetched_in_full(folder, store, monkeypatch):
    (file,) = folder.write(wide())
    monkeypatch.setattr("pipelines.excerpt._TAIL", 100)
    assert folder.read([file], ["s3"]).equals(wide().select(["s3"]))
    assert store.given < file.size / 4


@pytest.mark.parametrize("ending", [b"", b"\xff\xff\xff\x7fPAR1"])
def test_what_is_no_parquet_file_is_told(store, ending):
    store.put("a", data := bytes(100) + ending)
    with pytest.raises(LakeError, match="no Parquet file"):
        excerpt(store, "a", len(data), ["time"])
