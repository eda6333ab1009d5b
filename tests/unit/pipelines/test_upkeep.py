import os
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.errors import HorizonError, LakeError, TableMissingError
from pipelines.lake import Lake, Snapshot, Table
from pipelines.lake.stock import stock
from pipelines.lake.upkeep import Upkeep, upkeep
from pipelines.materialize import materialize
from tests.fakes.aged import age
from tests.fakes.fleets import DAY_US, FAN_FEATURES, FANS, HOUR_US, NOON_US, Plant, reading
from tests.fakes.small_tables import append, contents, now_us, rows

DAYS = timedelta(days=1)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Written forty days ago: six appends, then the date as a whole."""
    table = Lake(str(tmp_path)).telemetry(FANS)
    for moment in range(1, 7):
        append(table, rows(["a", "b"], moment))
    table.open().replace(rows(["a"], 9), ["2025-11-24"])
    age(table, 40)
    return table


def data(table: Table) -> list[Path]:
    return sorted(Path(table.uri).glob("date=*/*.parquet"))


def test_files_that_left_the_table_before_the_horizon_are_removed(table):
    assert upkeep(table, now_us(), older_than=60 * DAYS, dry_run=True).files == 0
    promised = upkeep(table, now_us(), dry_run=True)
    assert (promised.files, len(data(table))) == (6, 7)
    done = upkeep(table, now_us())
    assert (done.files, done.bytes) == (promised.files, promised.bytes)
    assert done.bytes > 6 * 500
    assert len(data(table)) == 1
    assert contents(table) == [("a", 9)]
    assert upkeep(table, now_us()).files == 0


def test_files_that_no_commit_names_go_only_when_they_are_old(table):
    folder = data(table)[0].parent
    old, young = folder / "part-old.parquet", folder / "part-young.parquet"
    old.write_bytes(b"")
    young.write_bytes(b"")
    os.utime(old, (time.time() - 40 * 86_400,) * 2)
    upkeep(table, now_us())
    assert (old.exists(), young.exists()) == (False, True)


def test_a_version_that_a_training_names_stays_readable_with_its_log(table):
    kept = table.open(3).read().num_rows
    done = upkeep(table, now_us(), named=[3])
    assert (done.kept, done.files, done.entries) == ((3,), 3, 0)
    assert table.open(3).read().num_rows == kept == 6
    assert contents(table) == [("a", 9)]


def test_old_log_entries_go_once_a_durable_checkpoint_stands_in(table):
    assert upkeep(table, now_us()).entries == 7
    append(table, rows(["c"], 9))
    assert contents(table) == [("a", 9), ("c", 9)]
    assert table.open().transaction("ingest:fans") == 7
    with pytest.raises(TableMissingError):
        table.open(3)
    assert upkeep(table, now_us(), named=[3]).lost == (3,)


def test_without_a_word_from_the_registry_nothing_is_removed(table):
    done = upkeep(table, now_us(), named=None)
    assert "registry" in done.held
    assert (done.files, done.entries, len(data(table))) == (0, 0, 7)
    assert done.checkpoint is not None


def test_small_files_are_merged_and_the_horizon_protects_what_they_replace(tmp_path):
    table = Lake(str(tmp_path)).telemetry(FANS)
    for moment in range(1, 7):
        append(table, rows(["a", "b"], moment))
    before = contents(table)
    assert upkeep(table, now_us(), dry_run=True) == Upkeep(upkeep(table, now_us(), dry_run=True).compacted)
    assert len(table.open().files()) == 6
    done = upkeep(table, now_us())
    assert (done.compacted.removed, done.compacted.added, done.files) == (6, 1, 0)
    assert contents(table) == before


def test_a_horizon_that_could_hit_readers_is_refused(table):
    with pytest.raises(HorizonError, match="too short"):
        upkeep(table, now_us(), older_than=6 * DAYS)


def test_a_table_that_is_not_there_is_passed_over(tmp_path):
    table = Lake(str(tmp_path)).telemetry(FANS)
    assert upkeep(table, 1).checkpoint is None
    assert stock(table) is None


def test_a_checkpoint_is_durable_before_entries_go(table, monkeypatch):
    steps: list[str] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        steps.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)

    def clean(_: Table) -> int:
        steps.append("clean")
        return 0

    monkeypatch.setattr("pipelines.lake.upkeep._clean_log", clean)
    done = upkeep(table, now_us())
    needed = {f"{done.checkpoint:020d}.checkpoint.parquet", "_last_checkpoint", "_delta_log"}
    assert needed <= set(steps[: steps.index("clean")])


def test_what_vacuum_commits_is_durable(table, monkeypatch):
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink().name))
    before = table.version()
    upkeep(table, now_us())
    assert {f"{version:020d}.json" for version in range(before + 1, table.version() + 1)} <= set(synced)


@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_checkpoint_that_a_power_cut_tore_is_named_with_the_cure(tmp_path, left):
    table = Lake(str(tmp_path)).telemetry(FANS)
    append(table, rows(["a"], 9))
    upkeep(table, now_us())
    (checkpoint,) = Path(table.uri, "_delta_log").glob("*.checkpoint.parquet")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: int(left * len(whole))])
    with pytest.raises(LakeError) as caught:
        table.open()
    torn = caught.value.fix.partition(":")[0].removeprefix("rm ").replace("'", "").split()
    assert [Path(path).name for path in torn] == [checkpoint.name, "_last_checkpoint"]
    for path in torn:
        Path(path).unlink()
    assert contents(table) == [("a", 9)]


def test_a_table_of_old_is_told_to_keep_its_log(table):
    with_default = table.open()
    with_default._delta.alter.set_table_properties({"delta.enableExpiredLogCleanup": "true"})
    assert table.open().removes_log_entries
    age(table, 40)
    upkeep(table, now_us(), named=[3])
    assert not table.open().removes_log_entries
    assert table.open(3).read().num_rows == 6


def test_the_stock_of_a_table_is_read_from_its_log(table):
    for moment in (20, 30):
        append(table, rows(["c"], moment, "2025-11-25"))
    found = stock(table)
    assert found is not None
    assert (found.rows, found.files, found.version, found.first_us, found.last_us) == (3, 3, 9, 9, 30)
    assert found.small == pytest.approx(2 / 3)
    assert found.bytes == sum(path.stat().st_size for path in data(table)) - 6 * _size(table)
    assert abs((found.changed_us or 0) - now_us()) < 600e6


def _size(table: Table) -> float:
    live = {file.path for file in table.open().files()}
    dead = [path.stat().st_size for path in data(table) if str(path.relative_to(table.uri)) not in live]
    return sum(dead) / 6


def test_the_stock_of_an_empty_table_has_no_times(tmp_path):
    table = Lake(str(tmp_path)).telemetry(FANS)
    table.create().append(pa.table(rows([], 1)), transaction=("w", 1))
    found = stock(table)
    assert found is not None
    assert (found.rows, found.first_us, found.small) == (0, None, 0.0)


NOON_OF_27TH = 1_764_244_800_000_000


def dates(table: Table) -> list[str]:
    return sorted(set(table.open().read(["date"])["date"].to_pylist()))


@pytest.fixture
def lasting(tmp_path: Path) -> Table:
    """Four dates, two files each, written forty days ago."""
    table = Lake(str(tmp_path)).telemetry(FANS)
    for date in ("2025-11-24", "2025-11-25", "2025-11-26", "2025-11-27"):
        for moment in (1, 2):
            append(table, rows(["a"], moment, date))
    age(table, 40)
    return table


def test_rows_go_by_age_in_whole_dates_and_only_where_that_is_declared(lasting):
    assert upkeep(lasting, NOON_OF_27TH).rows == 0
    promised = upkeep(lasting, NOON_OF_27TH, keep=2 * DAYS, dry_run=True)
    assert (promised.outlived, promised.rows, len(dates(lasting))) == (("2025-11-24",), 2, 4)
    done = upkeep(lasting, NOON_OF_27TH, keep=2 * DAYS)
    assert (done.outlived, done.rows) == (promised.outlived, promised.rows)
    assert dates(lasting) == ["2025-11-25", "2025-11-26", "2025-11-27"]  # noon of the 25th is young enough
    assert upkeep(lasting, NOON_OF_27TH, keep=2 * DAYS).outlived == ()
    assert upkeep(lasting, NOON_OF_27TH, keep=1 * DAYS).outlived == ("2025-11-25",)


def test_versions_that_trainings_name_keep_the_rows_that_outlived(lasting):
    version = lasting.version()
    upkeep(lasting, now_us(), keep=DAYS, named=[version])
    age(lasting, 40)
    done = upkeep(lasting, now_us(), keep=DAYS, named=[version])
    assert (done.kept, done.files, contents(lasting)) == ((version,), 0, [])
    assert len(lasting.open(version).read()) == 8
    assert upkeep(lasting, now_us(), keep=DAYS).files == 8


def test_rows_go_by_age_although_others_commit_in_between(lasting, monkeypatch):
    exchange, rivals = Snapshot.exchange, iter([True])

    def overtaken(self: Snapshot, *args: Any, **named: Any) -> int:
        if next(rivals, None):
            lasting.open().replace(rows(["b"], 5, "2025-11-24"), ["2025-11-24"])
        return exchange(self, *args, **named)

    monkeypatch.setattr(Snapshot, "exchange", overtaken)
    assert upkeep(lasting, NOON_OF_27TH, keep=2 * DAYS).rows == 1
    assert dates(lasting) == ["2025-11-25", "2025-11-26", "2025-11-27"]


def test_what_was_computed_stays_and_what_is_too_old_does_not_come_in_again(tmp_path):
    fleet = replace(FANS, max_age=400 * DAYS, keep=3 * DAYS)
    features = replace(FAN_FEATURES, fleet=fleet)
    plants = [Plant(folder, fleet=fleet) for folder in (tmp_path / "kept", tmp_path / "cut")]
    for plant in plants:
        Path(plant.store.uri).mkdir()
        plant.write([reading("a", NOON_US + hours * HOUR_US, 7.0, NOON_US + hours * HOUR_US) for hours in range(48)])
        plant.ingest(NOON_US + 2 * DAY_US)
        materialize(plant.lake, features)
        if plant is plants[1]:
            done = upkeep(plant.lake.telemetry(fleet), NOON_US + 4 * DAY_US, keep=fleet.keep)
            assert (done.outlived, done.rows) == (("2025-11-24",), 12)
        plant.write([reading("a", NOON_US + 60 * HOUR_US, 7.0), reading("a", NOON_US + HOUR_US + 1000, 9.0)])
        assert plant.ingest(NOON_US + 4 * DAY_US).quarantined == 1
        materialize(plant.lake, features)
    for name in ("panes", "features"):
        kept, cut = (
            sorted(map(repr, getattr(plant.lake, name)(features).open().read().to_pylist())) for plant in plants
        )
        assert kept == cut
