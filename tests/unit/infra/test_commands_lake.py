import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from features import catalog
from infra.local import cli
from pipelines.importers.hub import RawWriter
from pipelines.lake import Lake
from pipelines.registration import TrainingSet
from pipelines.registry import Registry
from serving.store import FolderStore
from tests.fakes.aged import age

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two pumps, taken in over six runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    hub = RawWriter(FolderStore(tmp_path / "store"), "pumps")
    for number in range(6):
        stamp = 1_764_000_000_000 + 60_000 * number
        messages = [{"device": f"pump-{n}", "ts": stamp, "received": stamp, "values": {"flow": 120.0}} for n in (1, 2)]
        hub.write_telemetry(f"hub-{number}", stamp * 1000, messages)
        assert cli.run(["ingest", "pumps", "--store", "store", "--quiet"]) == 0
    return "store"


def test_a_fleet_s_tables_are_shown_and_looked_after(store, capsys):
    capsys.readouterr()
    assert cli.run(["lake", "--store", store, "--json"]) == 0
    telemetry, events = json.loads(capsys.readouterr().out)["tables"]
    assert (telemetry["table"], telemetry["rows"], telemetry["files"]) == ("telemetry", 12, 6)
    assert (telemetry["first_us"], telemetry["small"]) == (1_764_000_000_000_000, 1.0)
    assert events["rows"] == 0
    assert cli.run(["lake", "pumps", "--store", store]) == 0
    assert "2025-11-24T16:00:00Z  2025-11-24T16:05:00Z" in capsys.readouterr().out

    table = Lake(store).telemetry("pumps")
    words = ["lake", "upkeep", "pumps", "--store", store, "--tracking", NOWHERE]
    assert cli.run([*words, "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "telemetry: 6 small files became 1; checkpoint of version" in told
    assert "not vacuumed: the registry does not answer" in told.partition("events: ")[2]
    age(table, 40)
    assert cli.run([*words, "--dry-run", "--json"]) == 0
    promised = json.loads(capsys.readouterr().out)["tables"]["telemetry"]
    assert (promised["files"], table.open().read().num_rows) == (6, 12)
    assert cli.run([*words, "--vacuum-older-than", "8w", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"]["telemetry"]["files"] == 0
    assert cli.run([*words, "--quiet"]) == 0
    assert "6 files of 0.0 MB were removed" in capsys.readouterr().out
    assert table.open().read().num_rows == 12


def test_versions_that_trainings_name_are_kept(store, capsys, monkeypatch):
    learned = [TrainingSet("pump_failure", "1", "sha256:other", 0, 1, {"features": 3, "events": 0})]
    monkeypatch.setattr(Registry, "training_sets", lambda self, usecase: learned)
    capsys.readouterr()
    assert cli.run(["lake", "upkeep", "pumps", "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"]["events"]["kept"] == [0]


def test_a_fleet_whose_regimes_are_learned_has_the_tables_of_its_raw_features_looked_after(tmp_path, capsys):
    declared = catalog.load("cmapss").features
    Lake(str(tmp_path)).features(declared.computable).create()
    assert declared.computable is not declared
    assert cli.run(["lake", "cmapss", "--store", str(tmp_path), "--json"]) == 0
    assert [each["table"] for each in json.loads(capsys.readouterr().out)["tables"]] == ["features"]
    words = ["lake", "upkeep", "cmapss", "--store", str(tmp_path), "--tracking", NOWHERE, "--json"]
    assert cli.run(words) == 0
    assert list(json.loads(capsys.readouterr().out)["tables"]) == ["features"]


def test_telemetry_goes_by_age_where_the_catalog_entry_says_so(store, capsys, monkeypatch):
    pumps = catalog.load("pumps")
    fleet = replace(pumps.fleet, keep=timedelta(days=30))
    kept = catalog.Entry(fleet, replace(pumps.features, fleet=fleet))
    monkeypatch.setattr(catalog, "load", lambda _: kept)
    words = ["lake", "upkeep", "pumps", "--store", store, "--tracking", NOWHERE, "--quiet"]
    capsys.readouterr()
    assert cli.run([*words, "--dry-run"]) == 0
    assert "telemetry: 12 rows of 2025-11-24 would be removed: older than kept" in capsys.readouterr().out
    assert cli.run(words) == 0
    assert "12 rows of 2025-11-24 were removed" in capsys.readouterr().out


def test_an_age_that_is_none_is_said_so(store, capsys):
    assert cli.run(["lake", "upkeep", "pumps", "--vacuum-older-than", "soon"]) == 2
    assert "'soon' is no age" in capsys.readouterr().err


def test_nothing_stored_is_no_error(tmp_path, capsys):
    assert cli.run(["lake", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "nothing has been ingested\n"
    assert cli.run(["lake", "upkeep", "pumps", "--store", str(tmp_path), "--tracking", NOWHERE, "--quiet"]) == 0


def test_an_ingest_tells_of_its_report_and_what_is_out_of_the_ordinary(store, capsys):
    capsys.readouterr()
    stamp = 1_764_100_000_000
    hub = RawWriter(FolderStore(Path(store)), "pumps")
    hub.write_telemetry("more", stamp * 1000, [{"device": "pump-1", "ts": stamp, "received": stamp, "values": {}}])
    assert cli.run(["ingest", "pumps", "--store", store]) == 0
    told = capsys.readouterr()
    assert "1 records in = 0 accepted + 0 duplicates + 1 quarantined" in told.out
    page = Path(told.out.partition("report ")[2].splitlines()[0])
    assert page.read_text().startswith("<!doctype html>")
    warned = [line.split(":")[0] for line in told.err.splitlines() if line.startswith("WARNING")]
    assert warned == ["WARNING freshness", "WARNING volume"]
    assert 'reason="no_signals"} 1' in Path("build/work/metrics/ingest-pumps.prom").read_text()

    assert cli.run(["lake", "report", "pumps", "--store", store]) == 0
    assert f"page {page}" in capsys.readouterr().out
    assert cli.run(["lake", "report", "pumps", "--run", "1", "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["accepted"] == 2
    assert cli.run(["lake", "report", "pumps", "--run", "99", "--store", store]) == 1


def test_counters_that_cannot_be_written_do_not_undo_an_ingest(store, capsys):
    Path("build/work/metrics/ingest-pumps.prom").unlink()
    Path("build/work/metrics/ingest-pumps.prom").mkdir()
    assert cli.run(["ingest", "pumps", "--store", store, "--json"]) == 0
    told = capsys.readouterr()
    assert "WARNING metrics: " in told.err
    assert json.loads(told.out.splitlines()[-1])["metrics"] == ""
