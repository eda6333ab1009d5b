import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import quarantine
from pipelines.datapage import page
from pipelines.errors import ReportMissingError
from pipelines.findings import Memory
from pipelines.ingest import IngestSummary, ingest
from pipelines.ingestmetrics import metrics
from pipelines.witness import ReportWitness, read_memory, read_report, runs
from tests.fakes.fleets import FANS, HOUR_US, MINUTE_US, NOON_US, Plant, reading
from tests.fakes.stores import MemoryStore

NOW_US = NOON_US + HOUR_US


def take_in(plant: Plant, now_us: int = NOW_US) -> tuple[ReportWitness, IngestSummary]:
    witness = ReportWitness(plant.store, FANS, now_us)
    return witness, ingest(plant.store, plant.lake, FANS, now_us, witness=witness)


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Two devices for half an hour, one with a pause; a duplicate, a reading too fast, an event, a cut object."""
    plant = Plant(tmp_path)
    minutes = {"a": range(30), "b": [*range(5), *range(20, 30)]}
    rows = [
        reading(d, NOON_US + n * MINUTE_US, received_us=NOON_US + n * MINUTE_US + 2_000_000)
        for d in minutes
        for n in minutes[d]
    ]
    plant.write([*rows, rows[0], reading("a", NOON_US, 4000.0, received_us=NOON_US)])
    plant.store.put("raw/fans/telemetry/2025/11/24/12/cut.gz", gzip.compress(b'{"device": "c"}')[:-4])
    plant.hub.write_events("1", NOON_US, [{"device": "a", "ts": 5, "kind": "failure"}])
    return plant


def test_a_run_leaves_figures_a_page_and_a_memory(plant):
    witness, summary = take_in(plant)
    key, report = read_report(plant.store, "fans")
    assert key == witness.testimony.key == "reports/ingest/fans/00000001.json"
    assert report == json.loads(json.dumps(witness.testimony.report))
    assert report["counts"] == {
        "objects": summary.objects,
        "records": 47,
        "accepted": summary.accepted,
        "duplicates": 1,
        "superseded": 0,
        "quarantined": 1,
    }
    assert (report["events"], report["unreadable_objects"]) == (1, 1)
    assert report["gaps"]["worst"] == [{"device": "b", "gaps": 1, "missing_s": 960.0, "longest_s": 960.0}]
    assert report["violations"] == [{"signal": "speed", "below": 0, "above": 1}]
    html = plant.store.get(witness.testimony.page_key).decode()
    assert "16 min" in html
    assert len(html) < 40_000
    assert not re.search(r"(src|href)=|https?:", html)
    assert read_memory(plant.store, "fans").volumes == (45,)


def test_a_run_without_anything_new_leaves_no_report_but_judges_freshness(plant):
    take_in(plant)
    witness, _ = take_in(plant, NOW_US + 5 * HOUR_US)
    assert (witness.testimony.report, runs(plant.store, "fans")) == (None, [1])
    assert [line.partition(":")[0] for line in witness.testimony.warnings] == ["freshness"]


def test_runs_are_numbered_also_beside_another_and_without_a_memory(plant):
    take_in(plant)
    plant.store.put("reports/ingest/fans/00000002.json", b"{}")
    plant.write([reading("c", NOON_US)])
    assert take_in(plant)[0].testimony.key.endswith("/00000003.json")
    plant.store.put("reports/ingest/fans/memory.json.gz", b"torn")
    assert read_memory(plant.store, "fans") == Memory(3)
    plant.write([reading("d", NOON_US)])
    assert take_in(plant)[0].testimony.key.endswith("/00000004.json")


def test_a_report_that_is_not_there_is_an_error_that_says_so(plant):
    with pytest.raises(ReportMissingError, match="no ingest has left a report"):
        read_report(plant.store, "fans")
    with pytest.raises(ReportMissingError, match="run 7 left no report"):
        read_report(plant.store, "fans", 7)


def test_names_from_outside_are_text_on_the_page(plant):
    plant.write([reading("<script>alert(1)</script>", NOON_US)])
    witness, _ = take_in(plant)
    assert witness.testimony.report is not None
    assert "<script>" not in page(FANS, witness.testimony.report)


def samples(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(tidemill\S+) (\S+)$", text, re.MULTILINE)}


def test_counters_run_over_all_runs_and_times_stay_points_in_time(plant):
    first = samples(metrics("fans", take_in(plant)[0].testimony, NOW_US).decode())
    assert first['tidemill_ingest_records_total{fleet="fans",outcome="accepted"}'] == 45
    assert first['tidemill_ingest_rejected_total{fleet="fans",reason="out_of_range"}'] == 1
    assert first['tidemill_ingest_newest_reading_timestamp_seconds{fleet="fans"}'] == NOON_US / 1e6 + 29 * 60
    assert 2 <= first['tidemill_ingest_lateness_seconds{fleet="fans",quantile="0.5"}'] <= 2.6
    assert first['tidemill_ingest_warning{fleet="fans",kind="freshness"}'] == 0
    plant.write([reading("c", NOON_US)])
    second = samples(metrics("fans", take_in(plant, NOW_US + 9 * HOUR_US)[0].testimony, NOW_US).decode())
    assert second['tidemill_ingest_records_total{fleet="fans",outcome="accepted"}'] == 46
    assert second['tidemill_ingest_accepted{fleet="fans"}'] == 1
    assert second['tidemill_ingest_warning{fleet="fans",kind="freshness"}'] == 1


def test_before_the_first_reading_there_are_counters_and_no_times():
    witness = ReportWitness(MemoryStore(), FANS, NOW_US)
    witness.close(0)
    found = samples(metrics("fans", witness.testimony, NOW_US).decode())
    assert found['tidemill_ingest_damaged_objects{fleet="fans"}'] == 0
    assert found['tidemill_ingest_runs_total{fleet="fans"}'] == 0
    assert not any("newest" in name or "lateness" in name for name in found)


def test_rows_that_changed_and_objects_that_were_passed_over_are_told(tmp_path):
    fleet = replace(FANS, believe="last", mapping=replace(FANS.mapping, exclude=(".tmp",)))
    plant = Plant(tmp_path, fleet=fleet)
    plant.write([reading("a", NOON_US, 1.0, NOON_US)], name="x")
    plant.ingest(NOW_US)
    later = NOON_US + MINUTE_US
    plant.write([reading("a", NOON_US, 2.0, later)], name="y")
    plant.write([reading("b", NOON_US, received_us=later, values={name: 1.0}) for name in ("speed", "current")])
    plant.write([reading("c", NOON_US)], name="z.tmp")
    witness = ReportWitness(plant.store, fleet, NOW_US)
    done = ingest(plant.store, plant.lake, fleet, NOW_US, witness=witness)
    assert (done.excluded, done.objects, plant.ingest(NOW_US)) == (1, 2, IngestSummary(excluded=1))
    _, report = read_report(plant.store, "fans")
    assert report["changed"] == {"replaced": 1, "restored": 0, "joined": 1, "excluded": 1}
    html = plant.store.get(witness.testimony.page_key).decode()
    assert "Rows replaced or taken out: 1. Objects passed over, as the mapping says: 1." in html
    assert "Records that share a row with another one: 1." in html


def test_objects_that_come_damaged_are_told_in_report_and_metrics(plant):
    witness = ReportWitness(plant.store, FANS, NOW_US)
    ingest(plant.store, plant.lake, FANS, NOW_US, witness=witness)
    witness.close(2)
    _, report = read_report(plant.store, "fans", 2)
    assert report["damaged_objects"] == 2
    assert "2 objects came damaged" in plant.store.get(witness.testimony.page_key).decode()
    found = samples(metrics("fans", witness.testimony, NOW_US).decode())
    assert found['tidemill_ingest_damaged_objects{fleet="fans"}'] == 2


def test_fields_that_the_mapping_names_nowhere_are_counted_with_their_shares(tmp_path):
    fleet = replace(FANS, unknown_fields="count")
    plant = Plant(tmp_path, fleet=fleet)
    plant.write([{**reading("a", NOON_US), "fw": "1.2"}, reading("b", NOON_US), {"device": "c", "fw": "1.2"}])
    plant.write([reading("d", NOON_US, values={"speed": 1.0, "rpm": 2.0})])
    witness = ReportWitness(plant.store, fleet, NOW_US)
    assert ingest(plant.store, plant.lake, fleet, NOW_US, witness=witness).accepted == 3
    _, report = read_report(plant.store, "fans")
    assert report["unknown_fields"] == [
        {"field": "fw", "count": 2, "share": 0.5},
        {"field": "values.rpm", "count": 1, "share": 0.25},
    ]
    assert "Fields that nobody reads" in plant.store.get(witness.testimony.page_key).decode()
    found = samples(metrics("fans", witness.testimony, NOW_US).decode())
    assert found['tidemill_ingest_unknown_fields_total{fleet="fans",field="fw"}'] == 2


def test_records_with_unknown_fields_are_quarantined_where_the_fleet_says_so(tmp_path):
    fleet = replace(FANS, unknown_fields="reject")
    plant = Plant(tmp_path, fleet=fleet)
    plant.write([{**reading("a", NOON_US), "fw": "1.2"}, {**reading("b", NOON_US), "fw": None}])
    done = ingest(plant.store, plant.lake, fleet, NOW_US)
    assert (done.accepted, done.quarantined) == (1, 1)
    (line,) = quarantine.read(plant.store, "fans", "00000001")
    assert (line.reason, line.sentence) == ("unknown_field", "The mapping of the fleet names no field fw.")
