"""C-MAPSS files in every form seen in the wild become flights on a clock, and failures."""

import gzip
from pathlib import Path

import pytest

from pipelines.errors import ImportFileError, ImportFolderError, ImportOptionError
from pipelines.importers.arrivals import HOUR_US, Reading, Report
from pipelines.importers.cmapss import DAY_US, START_US, Clock, items
from pipelines.importers.cmapss_columns import PUBLISHED, columns_of


def flight(unit: int, cycle: int) -> list[str]:
    return [str(unit), str(cycle), "-0.0007", "0.0003", "100.0", *(f"{500 + place}.5" for place in range(21))]


FLIGHTS = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]


def write_set(folder: Path, *, rul: str = "5 \n0 \n", delimiter: str = " ", ending: str = "  \n") -> Path:
    text = "".join(delimiter.join(flight(*each)) + ending for each in FLIGHTS)
    (folder / "train_FD001.txt").write_text(text)
    (folder / "test_FD001.txt.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "RUL_FD001.txt").write_text(rul)
    return folder


def split(found):
    items = list(found)
    readings = [item for item in items if isinstance(item, Reading)]
    return readings, [item for item in items if isinstance(item, Report)]


def test_a_cycle_is_an_hour_and_an_engine_starts_a_day_after_the_one_before(tmp_path):
    readings, _ = split(items(write_set(tmp_path)))
    train = [(reading.device, (reading.time_us - START_US) // HOUR_US) for reading in readings[:5]]
    assert train == [
        ("fd001-train-001", 0),
        ("fd001-train-001", 1),
        ("fd001-train-001", 2),
        ("fd001-train-002", 24),
        ("fd001-train-002", 25),
    ]
    assert list(readings[0].values) == list(PUBLISHED[2:])
    assert (readings[0].values["setting1"], readings[0].values["T24"]) == (-0.0007, 501.5)


def test_training_engines_fail_before_their_next_flight_ends_and_test_engines_after_their_rul(tmp_path):
    readings, reports = split(items(write_set(tmp_path)))
    told = [(report.device, (report.time_us - START_US) / HOUR_US) for report in reports]
    test_starts = 2 * 24  # the last training engine fails on the second day
    assert told == [
        ("fd001-train-001", 3.5),
        ("fd001-train-002", 26.5),
        ("fd001-test-001", test_starts + 3 + 5.5),
        ("fd001-test-002", test_starts + 24 + 2 + 0.5),
    ]
    assert readings[5].device == "fd001-test-001"
    assert readings[5].time_us == START_US + test_starts * HOUR_US
    assert [report.known_us - report.time_us for report in reports] == [0, 0, 30 * DAY_US, 30 * DAY_US]


def test_the_clock_can_be_another(tmp_path):
    clock = Clock(start_us=0, step_us=2 * HOUR_US, stagger_us=0, truth_after_us=DAY_US)
    readings, reports = split(items(write_set(tmp_path), clock=clock))
    assert [reading.time_us // HOUR_US for reading in readings[:5]] == [0, 2, 4, 0, 2]
    assert reports[2].known_us - reports[2].time_us == DAY_US
    with pytest.raises(ImportOptionError):
        Clock(step_us=0)


@pytest.mark.parametrize("form", [(" ", "\n"), ("   ", "\n"), (",", "\r\n"), (", ", "\n")], ids=repr)
def test_spaces_and_commas_are_the_same(tmp_path, form):
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.mkdir()
    other.mkdir()
    expected = list(items(write_set(plain)))
    assert list(items(write_set(other, delimiter=form[0], ending=form[1]))) == expected


def test_a_header_names_the_columns_that_are_there(tmp_path):
    (tmp_path / "train_FD003.csv").write_text(
        '"unit_nr","time_cycles","s_2","s_11","RUL"\n1,1,641.5,47.5,2\n1,2,642,,1\n'
    )
    readings, reports = split(items(tmp_path))
    assert [dict(reading.values) for reading in readings] == [{"T24": 641.5, "Ps30": 47.5}, {"T24": 642}]
    assert [report.device for report in reports] == ["fd003-train-001"]


def test_sixteen_columns_without_a_header_have_to_be_told(tmp_path):
    few = [row[:2] + row[6:20] for row in (flight(1, 1), flight(1, 2))]
    (tmp_path / "train_FD001.txt").write_text("".join(" ".join(row) + "\n" for row in few))
    with pytest.raises(ImportFileError, match=r"16 columns, expected 26.*--columns"):
        list(items(tmp_path))
    told = ("unit", "cycle", *(f"sensor{number}" for number in range(2, 16)))
    readings, _ = split(items(tmp_path, columns=told))
    assert list(readings[0].values)[:2] == ["T24", "T30"]
    assert len(readings[0].values) == 14


def test_several_sets_are_told_apart_and_one_can_be_chosen(tmp_path):
    write_set(tmp_path)
    (tmp_path / "train_FD004.txt").write_text(" ".join(flight(1, 1)) + "\n")
    assert {item.name for item in items(tmp_path)} == {"fd001-train", "fd001-test", "fd004-train"}
    assert {item.name for item in items(tmp_path, subsets=("fd004",))} == {"fd004-train"}
    with pytest.raises(ImportFolderError, match=r"train_FD002.txt missing.*RUL_FD001"):
        list(items(tmp_path, subsets=("FD002",)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("1 4 0.1\n", "train_FD001.txt:6.*3 fields, expected 26"),
        (" ".join(flight(1, 4)).replace("500.5", "x") + "\n", "train_FD001.txt:6.*could not convert"),
        (" ".join(flight(1, 4)).replace("500.5", "nan") + "\n", "train_FD001.txt:6.*no finite number"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, change, told):
    with (write_set(tmp_path) / "train_FD001.txt").open("a") as file:
        file.write(change)
    with pytest.raises(ImportFileError, match=told):
        list(items(tmp_path))


def test_a_truth_for_other_engines_is_refused(tmp_path):
    with pytest.raises(ImportFileError, match="1 lines for 2 engines"):
        list(items(write_set(tmp_path, rul="5\n")))


def test_an_empty_folder_is_said_so(tmp_path):
    with pytest.raises(ImportFolderError, match=r"train_FD001.txt missing"):
        list(items(tmp_path))


@pytest.mark.parametrize(
    ("first", "given", "error", "told"),
    [
        (["unit", "cycle", "T42"], (), ImportFileError, "mean nothing here: T42"),
        (["1", "2"], ("unit", "sensor22"), ImportOptionError, "sensor22"),
        (["1", "2"], ("unit", "T24"), ImportFileError, "unit and cycle are needed"),
        (["unit", "id", "cycle"], (), ImportFileError, "each column once"),
    ],
)
def test_columns_that_cannot_be_told_are_refused(first, given, error, told):
    with pytest.raises(error) as caught:
        columns_of(first, given, "file")
    assert told in str(caught.value)
