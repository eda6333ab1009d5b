"""What the smaller sets leave open is read as their importers say."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import catalog
from pipelines.errors import ImportFileError, ImportFolderError
from pipelines.importers import backblaze, femto, nab, occupancy, skab
from pipelines.importers.arrivals import HOUR_US, Reading, Report
from pipelines.importers.rows import moment

DAY_US = 24 * HOUR_US


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def split(found):
    items = list(found)
    readings = [item for item in items if isinstance(item, Reading)]
    return readings, [item for item in items if isinstance(item, Report)]


def told(reports: list[Report]) -> list[tuple[str, str, int]]:
    return [(report.kind, report.detail, report.time_us) for report in reports]


def test_a_drive_sends_what_it_reports_and_fails_on_the_day_after_its_last(tmp_path):
    header = "date,serial_number,model,capacity_bytes,failure,smart_5_normalized,smart_5_raw,smart_187_raw\r\n"
    put(tmp_path / "2013-04-11.csv.gz", header + "2013-04-11,B,M2,2000,0,99,7,\r\n")
    put(tmp_path / "2013-04-10.csv", header + "2013-04-10,A,M1,1000,1,,3,\r\n2013-04-10,B,M2,2000,0,,,\r\n")
    put(tmp_path / "README.csv", "nothing of the set")
    readings, reports = split(backblaze.items(tmp_path))
    day = moment("2013-04-10")
    assert [(r.device, r.time_us, dict(r.values)) for r in readings] == [
        ("A", day, {"smart_5": 3}),
        ("B", day, {}),
        ("B", day + DAY_US, {"smart_5_normalized": 99, "smart_5": 7}),
    ]
    assert readings[0].more == {"model": "M1", "capacity_bytes": 1000}
    assert told(reports) == [("failure", "M1", day + DAY_US * 3 // 2)]
    assert reports[0].known_us == day + 2 * DAY_US


def test_runs_are_of_one_testbed_and_their_labels_are_events_known_a_day_later(tmp_path):
    header = "datetime;" + ";".join(reversed(skab.MEASURED))
    row = "2020-03-09 10:00:0{};1;2;3;4;5;6;7;8"
    labels = [(0, 0), (1, 1), (1, 0), (0, 0), (1, 0)]
    rows = "".join(f"{row.format(n)};{a}.0;{c}.0\r\n" for n, (a, c) in enumerate(labels))
    put(tmp_path / "valve1/3.csv.gz", f"{header};anomaly;changepoint\r\n{rows}")
    put(tmp_path / "anomaly-free/anomaly-free.csv", f"{header}\n{row.format(0).replace('03-09', '02-08')}\n")
    readings, reports = split(skab.items(tmp_path))
    assert {reading.device for reading in readings} == {"testbed"}
    assert (len(readings), dict(readings[0].values)) == (
        6,
        dict(zip(catalog.load("skab").fleet.signal_names, range(8, 0, -1), strict=True)),
    )
    begin = moment("2020-03-09 10:00:00")
    assert told(reports) == [
        ("run", "anomaly-free/anomaly-free", moment("2020-02-08 10:00:00")),
        ("normal_begin", "anomaly-free/anomaly-free", moment("2020-02-08 10:00:00")),
        ("normal_end", "anomaly-free/anomaly-free", moment("2020-02-08 10:00:00")),
        ("run", "valve1/3", begin),
        ("anomaly_begin", "valve1/3", begin + 1_000_000),
        ("changepoint", "valve1/3", begin + 1_000_000),
        ("anomaly_end", "valve1/3", begin + 3_000_000),
        ("anomaly_begin", "valve1/3", begin + 4_000_000),
        ("anomaly_end", "valve1/3", begin + 4_000_000),
    ]
    assert {report.known_us - report.time_us for report in reports if report.kind != "run"} == {DAY_US}


def test_a_series_is_a_device_and_its_windows_are_known_a_day_after_they_end(tmp_path):
    put(tmp_path / "realKnownCause/taxi.csv.gz", "timestamp,value\n2014-07-01 00:00:00,10\n2014-07-01 00:00:00,11.5\n")
    windows = {"realKnownCause/taxi.csv": [["2014-07-01 00:00:00.000000", "2014-07-01 06:00:00.000000"]]}
    put(tmp_path / "labels/combined_windows.json", json.dumps(windows))
    readings, reports = split(nab.items(tmp_path))
    begin = moment("2014-07-01")
    assert [(r.device, r.time_us, r.values["value"]) for r in readings] == [("taxi", begin, 10), ("taxi", begin, 11.5)]
    assert [(kind, time) for kind, _, time in told(reports)] == [
        ("anomaly_begin", begin),
        ("anomaly_end", begin + 6 * HOUR_US),
    ]
    assert {report.known_us for report in reports} == {begin + 30 * HOUR_US}


def test_a_series_without_labels_is_refused(tmp_path):
    put(tmp_path / "realKnownCause/taxi.csv", "timestamp,value\n")
    with pytest.raises(ImportFolderError, match=r"combined_windows\.json missing"):
        list(nab.items(tmp_path))
    put(tmp_path / "labels/combined_windows.json", "{}")
    with pytest.raises(ImportFileError, match=r"realKnownCause/taxi\.csv"):
        list(nab.items(tmp_path))


def test_the_header_of_the_room_is_one_name_short_and_its_label_is_no_signal(tmp_path):
    header = '"date","Temperature","Humidity","Light","CO2","HumidityRatio","Occupancy"\n'
    rows = "".join(f'"{n}","2015-02-02 14:0{n}:00",23.7,26.2,585.2,749.2,0.0047,{n % 3 % 2}\n' for n in range(5))
    put(tmp_path / "datatest.txt.gz", header + rows)
    readings, reports = split(occupancy.items(tmp_path))
    begin = moment("2015-02-02 14:00:00")
    assert [reading.time_us for reading in readings] == [begin + n * 60_000_000 for n in range(5)]
    assert readings[0].values == {
        "temperature": 23.7, "humidity": 26.2, "light": 585.2, "co2": 749.2, "humidity_ratio": 0.0047,
    }  # fmt: skip
    assert [(kind, (time - begin) // 60_000_000) for kind, _, time in told(reports)] == [
        ("occupied_begin", 1),
        ("occupied_end", 2),
        ("occupied_begin", 4),
        ("occupied_end", 4),
    ]


def write_bearing(path: Path, numbers: list[int], clock: list[float], acc: float = 0.552) -> None:
    count = len(numbers) * femto.SAMPLES
    each = np.tile(np.arange(femto.SAMPLES), len(numbers))
    pq.write_table(
        pa.table(
            {
                "snapshot": pa.array(np.repeat(numbers, femto.SAMPLES), pa.int32()),
                "tod_s": np.repeat(clock, femto.SAMPLES),
                "sample": pa.array(each, pa.int16()),
                "acc_h_g": pa.array(np.full(count, acc), pa.float32()),
                "acc_v_g": pa.array(each / 4, pa.float32()),
            }
        ),
        path,
    )


def test_a_bearing_has_a_day_of_its_own_and_times_by_number_also_where_its_clock_steps_back(tmp_path):
    write_bearing(tmp_path / "Bearing1_1.parquet", [1, 11, 21], [100.5, 200.5, 7.0])
    write_bearing(tmp_path / "Bearing2_1.parquet", [1, 3], [50.0, 70.0])
    readings, reports = split(femto.items(tmp_path))
    assert [(r.device, r.more["snapshot"], r.time_us - femto.START_US) for r in readings] == [
        ("bearing-1-1", 1, 100_500_000),
        ("bearing-1-1", 11, 200_500_000),
        ("bearing-1-1", 21, 300_500_000),
        ("bearing-2-1", 1, DAY_US + 50_000_000),
        ("bearing-2-1", 3, DAY_US + 70_000_000),
    ]
    assert readings[0].values["acc_h"] == [0.552] * femto.SAMPLES
    assert readings[3].values["acc_v"][:3] == [0.0, 0.25, 0.5]
    assert [(report.device, report.time_us - femto.START_US) for report in reports] == [
        ("bearing-1-1", 310_500_000),
        ("bearing-2-1", DAY_US + 80_000_000),
    ]


def test_snapshots_that_are_mixed_cut_or_infinite_are_refused(tmp_path):
    path = tmp_path / "Bearing1_1.parquet"
    write_bearing(path, [1], [1.0], acc=np.inf)
    with pytest.raises(ImportFileError, match="missing or infinite"):
        list(femto.items(tmp_path))
    write_bearing(path, [1, 2], [1.0, 2.0])
    pq.write_table(pq.read_table(path).slice(0, 4_000), path)
    with pytest.raises(ImportFileError, match="no whole number of snapshots"):
        list(femto.items(tmp_path))
    write_bearing(path, [1, 2], [1.0, 2.0])
    pq.write_table(pq.read_table(path).slice(9, femto.SAMPLES), path)
    with pytest.raises(ImportFileError, match="two snapshots are mixed"):
        list(femto.items(tmp_path))


@pytest.mark.parametrize("importer", [backblaze, femto, nab, occupancy, skab], ids=lambda module: module.FLEET)
def test_an_empty_folder_is_said_so(tmp_path, importer):
    with pytest.raises(ImportFolderError, match="found: nothing"):
        list(importer.items(tmp_path))


def test_a_column_that_is_missing_is_named(tmp_path):
    put(tmp_path / "2013-04-10.csv", "date,serial_number,model\n")
    with pytest.raises(ImportFileError, match="columns are missing: capacity_bytes, failure"):
        list(backblaze.items(tmp_path))
