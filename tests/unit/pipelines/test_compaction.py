import contextlib
import dataclasses
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.schema import Signal
from pipelines import tables
from pipelines.errors import CommitConflictError, LakeError
from pipelines.lake import Lake, Table, compact
from tests.fakes.fleets import FANS
from tests.fakes.small_tables import DATE, NEXT, append, contents, rows


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Six files of one date, each with four devices at one time."""
    table = Lake(str(tmp_path)).telemetry(FANS)
    for time in (5, 1, 3, 2, 6, 4):
        append(table, rows(["d", "b", "a", "c"], time))
    return table


def test_rows_come_out_by_device_and_time_however_little_fits_in_memory(table):
    before = contents(table)
    width = 8 * (len(tables.telemetry(FANS).schema) - 1)
    done = compact(table, 1, crowded=5, at_once=12 * width)  # two devices at a time
    assert (done.dates, done.removed, done.added) == (1, 6, 1)
    (file,) = table.open().files()
    parquet = pq.ParquetFile(Path(table.uri) / file.path)
    read = parquet.read(["device", "time"])
    assert list(zip(read["device"].to_pylist(), read["time"].to_pylist(), strict=True)) == before == contents(table)
    ranges = [parquet.metadata.row_group(at).column(0).statistics for at in range(parquet.num_row_groups)]
    assert [(each.min, each.max) for each in ranges] == [("a", "b"), ("c", "d")]
    assert (file.lows["device"], file.highs["device"], file.lows["time"], file.highs["time"]) == ("a", "d", 1, 6)


def test_a_date_with_few_files_and_a_table_that_is_not_there_stay_as_they_are(table, tmp_path):
    assert compact(table, 1, crowded=6).dates == 0
    assert compact(Lake(str(tmp_path / "else")).telemetry(FANS), 1).dates == 0


def test_of_two_compactions_at_once_one_counts_and_no_row_comes_twice(table):
    before = contents(table)
    start = threading.Barrier(3)

    def work(_: int) -> int:
        start.wait()
        return compact(table, 1, crowded=5).dates

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(work, range(3))) >= 1
    assert contents(table) == before


def test_the_second_of_two_compactions_is_refused(table):
    first, second = table.open(), table.open()
    files = first.files()
    first.swap(files, files[:0], 1)
    with pytest.raises(CommitConflictError):
        second.swap(files, files[:0], 1)


def test_rows_appended_meanwhile_stay(table):
    before = contents(table)
    opened, late = table.open(), table.open()
    append(table, rows(["e"], 9))
    merged = table.folder.write_parts(DATE, [opened.read().drop_columns("date").sort_by("device")], 10, 10**9)
    opened.swap(opened.files(), list(merged), 1)
    assert contents(table) == sorted([*before, ("e", 9)])
    late.append(rows(["f"], 9), transaction=("another", 1))  # opened before both
    assert contents(table) == sorted([*before, ("e", 9), ("f", 9)])


@pytest.mark.parametrize("way", ["replace", "adopt"])
def test_what_replaces_a_date_and_a_compaction_refuse_each_other(table, way):
    def put(snapshot):
        if way == "replace":
            return snapshot.replace(rows(["z"], 1), [DATE])
        return snapshot.adopt(table.folder.write(rows(["z"], 1)), [DATE])

    old = table.open()
    compact(table, 1, crowded=5)
    before = contents(table)
    with pytest.raises(CommitConflictError):
        put(old)
    assert contents(table) == before
    stale, files = table.open(), table.open().files()
    put(table.open())
    with pytest.raises(CommitConflictError):
        stale.swap(files, [], 1)
    assert contents(table) == [("z", 1)]


def test_a_refused_compaction_leaves_no_files_behind_and_other_dates_go_on(table, monkeypatch):
    for time in range(6):
        append(table, rows(["a"], time, NEXT))
    swap = type(table.open()).swap

    def beaten(snapshot, removed, added, now_us):
        if removed[0].date == DATE:
            table.open().replace(rows(["z"], 1), [DATE])
        return swap(snapshot, removed, added, now_us)

    monkeypatch.setattr(type(table.open()), "swap", beaten)
    done = compact(table, 1, crowded=5)
    assert (done.dates, done.refused) == (1, 1)
    assert contents(table) == sorted([("z", 1), *(("a", time) for time in range(6))])
    assert len(list((Path(table.uri) / f"date={DATE}").iterdir())) == 7  # the six that were replaced, and the new one


def test_a_commit_that_was_taken_though_it_seems_refused_keeps_its_files(table, monkeypatch):
    """The answer of a service got lost, and the engine's second try met its own commit."""
    before = contents(table)
    swap = type(table.open()).swap

    def unheard(snapshot, removed, added, now_us):
        swap(snapshot, removed, added, now_us)
        raise CommitConflictError("another writer changed the table first")

    monkeypatch.setattr(type(table.open()), "swap", unheard)
    assert compact(table, 1, crowded=5).refused == 1
    assert contents(table) == before
    assert len(table.open().files()) == 1


def test_a_column_that_the_catalog_no_longer_has_is_kept(table, tmp_path):
    fewer = dataclasses.replace(FANS, signals=(Signal("speed", "rpm", 0, 3000),))
    compact(Lake(str(tmp_path)).telemetry(fewer), 1, crowded=5)
    assert "current" in table.open().columns
    assert pq.read_schema(Path(table.uri) / table.open().files()[0].path).names[-1] == "current"


def test_fewer_rows_than_before_are_never_committed(table, monkeypatch):
    monkeypatch.setattr("pipelines.lake.compaction._shares", lambda found, most: [["a", "b", "c"]])
    before = contents(table)
    with pytest.raises(LakeError, match="18 of 24 rows"):
        compact(table, 1, crowded=5)
    assert contents(table) == before


def test_every_file_a_compaction_names_is_durable_before_it_returns(table, monkeypatch):
    synced: list[str] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    compact(table, 1, crowded=5)
    opened = table.open()
    (file,) = opened.files()
    log = Path(table.uri) / "_delta_log"
    data = Path(table.uri) / file.path
    assert {str(data), str(data.parent), str(log / f"{opened.version:020d}.json"), str(log)} <= set(synced)


def test_beside_writers_of_all_kinds_every_row_stays_exactly_once(table):
    """One thread appends, one puts whole dates anew with the rows they have, two compact all the while."""
    writing = threading.Event()
    writing.set()

    def add(_: int) -> None:
        for number in range(20):
            part = rows(["p", "q"], 100 + number, (DATE, NEXT)[number % 2])
            while True:
                snapshot = table.open()
                with contextlib.suppress(CommitConflictError):
                    snapshot.append(part, transaction=("adder", number + 1))
                    break

    def renew(_: int) -> None:
        done = 0
        while done < 6:
            snapshot = table.open()
            date = (DATE, NEXT)[done % 2]
            with contextlib.suppress(CommitConflictError):
                snapshot.replace(snapshot.read(dates=[date]), [date])
                done += 1

    def merge(_: int) -> None:
        while writing.is_set():
            compact(table, 1, crowded=2)

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(add, 0), pool.submit(renew, 0)]
        mergers = [pool.submit(merge, number) for number in range(2)]
        try:
            for each in writers:
                each.result()
        finally:
            writing.clear()
        for each in mergers:
            each.result()
    added = [(device, 100 + number) for number in range(20) for device in "pq"]
    first = [(device, time) for time in range(1, 7) for device in "abcd"]
    assert contents(table) == sorted(first + added)
    assert table.open().transaction("adder") == 20
