"""Tables of one's own: the mapping file decides, and says what is wrong with itself."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import ImportFileError, ImportOptionError
from pipelines.importers.mapped import Columns, items
from pipelines.importers.rows import moment
from pipelines.importers.verbatim import copy
from tests.fakes.stores import MemoryStore

MAPPING = """
fleet = "boilers"
device = "boiler"
time = "measured at"
zone = "Europe/Berlin"
delimiter = ";"
[signals]
water = "T water [C]"
flue = "T flue"
"""
ROWS = """other;boiler;measured at;T water [C];T flue
x;b-1;2026-03-01 09:05:00;71.5;182
x;b-1;2026-07-01 09:05:00;;NA
x;b-2;2026-07-01T09:05:00+00:00;70;
"""


def columns(tmp_path: Path, text: str = MAPPING) -> Columns:
    path = tmp_path / "boilers.toml"
    path.write_text(text)
    return Columns.read(path)


def test_rows_of_csv_become_messages_under_the_names_of_the_mapping(tmp_path):
    (tmp_path / "export.csv").write_text(ROWS)
    found = list(items(tmp_path / "export.csv", columns(tmp_path), "export"))
    assert [(reading.device, reading.time_us, dict(reading.values)) for reading in found] == [
        ("b-1", moment("2026-03-01 08:05:00"), {"water": 71.5, "flue": 182}),
        ("b-2", moment("2026-07-01 09:05:00"), {"water": 70}),
    ]


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("s", [1_764_000_000.25, 1_764_000_001]),
        ("ms", [1_764_000_000_250, 1_764_000_001_000]),
        ("us", [1_764_000_000_250_000, 1_764_000_001_000_000]),
        ("ns", [1_764_000_000_250_000_999, 1_764_000_001_000_000_000]),
        ("iso", [datetime(2025, 11, 24, 16, 0, 0, 250_000, UTC), datetime(2025, 11, 24, 16, 0, 1, tzinfo=UTC)]),
        ("iso", ["2025-11-24T16:00:00.250", "2025-11-24T16:00:01Z"]),
        ("%d.%m.%Y %H:%M:%S.%f", ["24.11.2025 16:00:00.25", "24.11.2025 16:00:01.0"]),
    ],
)
def test_parquet_and_every_unit_of_time(tmp_path, unit, times):
    table = pa.table({"t": times, "value": [1.0, None], "second": [float("nan"), 2.5], "unused": ["a", "b"]})
    pq.write_table(table, tmp_path / "export.parquet")
    said = f'fleet="f"\ndevice_name="d"\ntime="t"\ntime_unit="{unit}"\n[signals]\nv="value"\nw="second"'
    found = list(items(tmp_path / "export.parquet", columns(tmp_path, said), "export"))
    assert [(reading.time_us, dict(reading.values)) for reading in found] == [
        (1_764_000_000_250_000, {"v": 1.0}),
        (1_764_000_001_000_000, {"w": 2.5}),
    ]
    assert {reading.device for reading in found} == {"d"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('fleet = "boilers"', 'fleet = "my boilers"'), "'my boilers' is no word"),
        (('fleet = "boilers"\n', ""), "the key 'fleet' is missing"),
        (('device = "boiler"\n', ""), "device or device_name is needed"),
        (("zone", "zones"), "there is no key 'zones'. Fix: did you mean zone?"),
        (("Europe/Berlin", "Europe/Atlantis"), "zone = 'Europe/Atlantis' is unknown"),
        (("delimiter", 'time_unit = "hours"\ndelimiter'), "time_unit = 'hours' is unknown"),
        ((";", ";;"), "one character"),
        (('water = "T water [C]"\nflue = "T flue"', ""), "there are no signals"),
        (("[signals]", "[signals"), "cannot be read"),
    ],
)
def test_a_mapping_file_says_what_is_wrong_with_itself(tmp_path, change, told):
    with pytest.raises(ImportOptionError) as caught:
        columns(tmp_path, MAPPING.replace(*change))
    assert told in str(caught.value).replace(" (mapping file)", "")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("T flue", "flue gas"), "columns are missing: T flue"),
        (("71.5", "warm"), "export.csv:2.*could not convert"),
        (("2026-03-01 09:05:00", "soon"), "export.csv:2.*soon"),
        (("x;b-1;2026-03", "x;;2026-03"), "there is no device in boiler"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, change, told):
    (tmp_path / "export.csv").write_text(ROWS.replace(*change))
    with pytest.raises(ImportFileError, match=told):
        list(items(tmp_path / "export.csv", columns(tmp_path), "export"))


def test_a_column_missing_in_parquet_is_named(tmp_path):
    pq.write_table(pa.table({"boiler": ["b"]}), tmp_path / "export.parquet")
    with pytest.raises(ImportFileError, match=r"columns are missing: T flue, T water \[C\], measured at"):
        list(items(tmp_path / "export.parquet", columns(tmp_path), "export"))


def test_numbers_that_json_has_no_word_for_are_named_and_the_others_become_numbers(tmp_path):
    said = 'fleet="f"\ndevice_name="d"\ntime="t"\ntime_unit="s"\n[signals]\nv="v"'
    for value, found in ((Decimal("2.50"), 2.5), (True, 1), (7, 7)):
        pq.write_table(pa.table({"t": [1], "v": [value]}), tmp_path / "export.parquet")
        (reading,) = items(tmp_path / "export.parquet", columns(tmp_path, said), "export")
        assert reading.values["v"] == found
    pq.write_table(pa.table({"t": [1, 2], "v": [1.0, float("inf")]}), tmp_path / "export.parquet")
    with pytest.raises(ImportFileError, match=r"export\.parquet:2.*inf is no finite number"):
        list(items(tmp_path / "export.parquet", columns(tmp_path, said), "export"))


@pytest.mark.parametrize("unit", ["s", "us"])
def test_a_unit_of_time_that_cannot_be_is_doubted(tmp_path, unit):
    said = f'fleet="f"\ndevice_name="d"\ntime="t"\ntime_unit="{unit}"\n[signals]\nv="v"'
    (tmp_path / "export.csv").write_text("t,v\n1764000000000,1\n" if unit == "s" else "t,v\n-5,1\n")
    with pytest.raises(ImportFileError, match=rf"is the time_unit '{unit}' right"):
        list(items(tmp_path / "export.csv", columns(tmp_path, said), "export"))


def test_files_are_copied_byte_for_byte_and_once(tmp_path):
    store = MemoryStore()
    for name in ("a b.csv", "c.parquet"):
        (tmp_path / name).write_bytes(name.encode())
    paths = sorted(tmp_path.iterdir())
    keys, unchanged = copy(store, "boilers", paths, moment("2026-03-01 09:05:00"))
    assert keys == [f"raw/boilers/telemetry/2026/03/01/09/{name}" for name in ("a-b.csv", "c.parquet")]
    assert (store.get(keys[0]), unchanged) == (b"a b.csv", 0)
    assert copy(store, "boilers", paths, moment("2026-03-02")) == ([], 2)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ImportFileError, match=r"nowhere\.csv"):
        copy(MemoryStore(), "boilers", [tmp_path / "nowhere.csv"], 0)


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "1").mkdir()
    for path in (tmp_path / "a b.csv", tmp_path / "1" / "a-b.csv"):
        path.write_text("")
    store = MemoryStore()
    with pytest.raises(ImportOptionError, match=r"two files are called a-b\.csv"):
        copy(store, "boilers", [tmp_path / "a b.csv", tmp_path / "1" / "a-b.csv"], 0)
    assert not store.objects
