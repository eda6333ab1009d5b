"""The Azure data set as a hub would have written it: every row arrives, once, in the shape of the catalog."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from features import catalog
from pipelines.errors import ImportFileError, ImportFolderError
from pipelines.formats import decode
from pipelines.importers.arrivals import HOUR_US, Imported, Target, write
from pipelines.importers.azure_pdm import items
from serving.store import FolderStore, Store
from tests.fakes.stores import MemoryStore

HEADERS = {
    "telemetry": "datetime,machineID,volt,rotate,pressure,vibration",
    "errors": '"datetime","machineID","errorID"',
    "failures": '"datetime","machineID","failure"',
    "maint": '"datetime","machineID","comp"',
}
FIRST_US = 1_420_092_000_000_000  # 2015-01-01T06:00Z


def write_files(folder: Path, **rows: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, header in HEADERS.items():
        text = "\n".join([header, *rows.get(name, [])]) + "\n"
        if name == "telemetry":
            (folder / f"PdM_{name}_slice.csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / f"PdM_{name}.csv").write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hours = [f"2015-01-01 {hour:02d}:00:00" for hour in range(6, 12)]
    return write_files(
        tmp_path / "data",
        telemetry=[f"{hour},{machine},170.5,450.25,100.125,40.5" for machine in (1, 2) for hour in hours],
        errors=[
            '2015-01-01 07:00:00,1,"error1"',
            '2015-01-01 07:00:00,1,"error5"',
            '2015-01-01 07:30:00,2,"error2"',
            '2015-03-01 07:00:00,1,"error3"',
            '2015-01-01 08:00:00,9,"error4"',
        ],
        failures=[
            '2015-01-01 09:00:00,1,"comp1"',
            '2015-01-01 09:00:00,1,"comp3"',
            '2015-06-01 09:00:00,1,"comp1"',
            '2015-01-01 09:00:00,9,"comp1"',
        ],
        maint=['2014-06-01 06:00:00,2,"comp2"'],
    )


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    (tmp_path / "store").mkdir()
    return FolderStore(tmp_path / "store")


def import_azure_pdm(store: Store, folder: Path, **options: Any) -> Imported:
    return write(store, Target.of(catalog.load("azure_pdm").fleet), items(folder), **options)


def lines(store: FolderStore, prefix: str) -> list[dict[str, Any]]:
    objects = [store.get(entry.key) for entry in store.list(f"raw/azure_pdm/{prefix}")]
    return [json.loads(line) for data in objects for line in gzip.decompress(data).splitlines()]


def test_every_row_becomes_one_message_with_its_errors(folder: Path, store: FolderStore):
    summary = import_azure_pdm(store, folder)
    messages = lines(store, "telemetry")
    assert summary.messages == len(messages) == 13
    assert (summary.devices, summary.tags) == (2, {"error": 3})
    assert messages[2] == {
        "device": "machine-01",
        "ts": (FIRST_US + HOUR_US) // 1000,
        "received": (FIRST_US + HOUR_US) // 1000 + 2000,
        "values": {"volt": 170.5, "rotate": 450.25, "pressure": 100.125, "vibration": 40.5, "error1": 1, "error5": 1},
    }


def test_an_error_between_two_readings_is_a_record_of_its_own(folder: Path, store: FolderStore):
    import_azure_pdm(store, folder)
    assert [m["values"] for m in lines(store, "telemetry") if len(m["values"]) == 1] == [{"error2": 1}]


def test_events_are_those_of_machines_with_telemetry_until_it_ends(folder: Path, store: FolderStore):
    summary = import_azure_pdm(store, folder)
    events = lines(store, "events")
    assert [(e["device"], e["kind"], e["detail"]) for e in events] == [
        ("machine-02", "maintenance", "comp2"),
        ("machine-01", "failure", "comp1"),
        ("machine-01", "failure", "comp3"),
    ]
    assert all(event["known_at"] == event["ts"] for event in events)
    assert summary.events == {"failure": 2, "maintenance": 1}


def test_the_messages_fit_the_mapping_of_the_catalog(folder: Path, store: FolderStore):
    import_azure_pdm(store, folder)
    fleet = catalog.load("azure_pdm").fleet
    key = "raw/azure_pdm/telemetry/2015/01/01/07/azure-pdm.json.gz"
    decoded = decode(store.get(key), fleet.mapping, list(fleet.signal_names))
    assert not decoded.rejects
    assert decoded.device.to_pylist() == ["machine-01", "machine-02", "machine-02"]
    assert decoded.times.tolist() == [FIRST_US + HOUR_US, FIRST_US + HOUR_US, FIRST_US + 3 * HOUR_US // 2]
    assert decoded.values[0, 4] == 1.0


def test_a_second_import_goes_on_where_the_first_ended(folder: Path, store: FolderStore):
    first = import_azure_pdm(store, folder, until_us=FIRST_US + 2 * HOUR_US + 5)
    etags = {entry.key: entry.etag for entry in store.list("raw/")}
    second = import_azure_pdm(store, folder)
    again = import_azure_pdm(store, folder)
    assert (first.messages, second.messages, again.messages) == (5, 8, 0)
    assert first.last_us == FIRST_US + HOUR_US * 3 // 2
    assert (again.objects, again.unchanged) == (0, first.objects + second.objects)
    assert etags.items() <= {entry.key: entry.etag for entry in store.list("raw/")}.items()


def test_missing_files_are_named_together_with_what_is_there(folder: Path, store: FolderStore):
    (folder / "PdM_errors.csv").unlink()
    (folder / "PdM_maint.csv").rename(folder / "maintenance.csv")
    with pytest.raises(ImportFolderError) as caught:
        import_azure_pdm(store, folder)
    for part in ("PdM_errors.csv, PdM_maint.csv missing", "PdM_telemetry_slice.csv.gz", "maintenance.csv"):
        assert part in str(caught.value)
    assert not list(store.list("raw/"))


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path, store: FolderStore):
    with pytest.raises(ImportFolderError, match="no such folder"):
        import_azure_pdm(store, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["2015-01-01 06:00:00,1,170.5,450.25,x,40.5"], "could not convert string to float"),
        (["2015-01-01 06:00:00,1,170.5"], "csv.gz:2"),
        (["soon,1,1,1,1,1"], "soon"),
        ([], "there is no telemetry at all"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, store: FolderStore, rows: list[str], told: str):
    with pytest.raises(ImportFileError) as caught:
        import_azure_pdm(store, write_files(tmp_path / "data", telemetry=rows))
    assert told in str(caught.value)


def test_a_column_that_is_missing_is_named(folder: Path, store: FolderStore):
    (folder / "PdM_failures.csv").write_text("datetime,machineID,part\n")
    with pytest.raises(ImportFileError, match="columns are missing: failure"):
        import_azure_pdm(store, folder)


def test_a_cut_off_archive_is_an_error(folder: Path, store: FolderStore):
    path = folder / "PdM_telemetry_slice.csv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImportFileError, match="a row cannot be read"):
        import_azure_pdm(store, folder)


def test_an_end_before_the_data_is_said_so(folder: Path, store: FolderStore):
    with pytest.raises(ImportFileError, match="no telemetry before 2015-01-01 06:00"):
        import_azure_pdm(store, folder, until_us=FIRST_US)


@pytest.mark.skipif("TIDEMILL_DATA" not in os.environ, reason="TIDEMILL_DATA names no folder with the real files")
def test_the_real_files_give_every_row():
    azure_pdm = Path(os.environ["TIDEMILL_DATA"], "azure_pdm")
    seen: list[tuple[int, int]] = []
    store = MemoryStore()
    summary = import_azure_pdm(store, azure_pdm, progress=lambda _stage, done, total: seen.append((done, total)))
    assert summary == Imported(
        objects=summary.objects,
        unchanged=0,
        messages=43_200,
        faults={},
        events={"failure": 42, "maintenance": 208},
        tags={"error": 211},
        devices=20,
        first_us=FIRST_US,
        last_us=1_427_864_400_000_000,
    )
    assert seen[-1] == (summary.objects, summary.objects)
