"""What `tidemill status` reads off the object storage."""

import json
from pathlib import Path

import pytest

from features import catalog
from infra.local import cli
from infra.local.pumps.plan import Plan, parse_start
from infra.local.pumps.run import write_fleet
from infra.local.status import collect, reports, usecase_state
from serving.promotion import Promotion, PromotionLedger
from serving.store import FolderStore
from tests.fakes.seal import SecretSeal

NOW_US = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def report(**changes: object) -> bytes:
    told = {
        "id": "gateway-1", "usecase": "pump_failure", "state": "serving", "reason": "", "version": "3",
        "desired": {"version": "4"}, "at": "2026-09-21T14:13:00Z", "process": "running", "predictions": 12,
        "standing_alerts": 1, "updates": {"state": "current", "reason": ""},
    }  # fmt: skip
    return json.dumps(told | changes).encode()


def test_a_gateway_counts_as_running_what_it_says_it_runs(store: FolderStore):
    store.put("reports/pumps/gateway-1.json", report())
    (state,) = reports(store, NOW_US)
    assert (state.version, state.desired, state.age_s, state.state) == ("3", "4", 20, "serving")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"at": "2026-09-21T14:00:00Z"}, "silent"),
        ({"at": "2026-09-21T14:00:00Z", "process": "stopped"}, "stopped"),
        ({"state": "failing"}, "failing"),
    ],
)
def test_silent_stopped_and_failing_are_told_apart(store: FolderStore, changes: dict[str, object], state: str):
    store.put("reports/pumps/gateway-1.json", report(**changes))
    assert [found.state for found in reports(store, NOW_US)] == [state]


def test_a_gateway_that_cannot_update_says_why(store: FolderStore):
    store.put("reports/pumps/gateway-1.json", report(updates={"state": "failing", "reason": "expired"}))
    assert [found.reason for found in reports(store, NOW_US)] == ["expired"]


def test_a_damaged_report_is_shown_and_hides_nobody(store: FolderStore):
    store.put("reports/pumps/gateway-1.json", report())
    store.put("reports/pumps/gateway-0.json", b"{")
    store.put("reports/monitoring/pump_failure/2026-01-01.json", b"{}")
    assert [(found.gateway, found.state) for found in reports(store, NOW_US)] == [
        ("gateway-0", "unreadable"),
        ("gateway-1", "serving"),
    ]


def promotion(outcome: str, before: str, wanted: str, number: int, reason: str = "") -> Promotion:
    return Promotion("pump_failure", NOW_US, outcome, number, before, wanted, "", "", reason)  # type: ignore[arg-type]


def test_a_refusal_leaves_the_former_version_released(store: FolderStore):
    ledger = PromotionLedger(store, "pump_failure", SecretSeal())
    assert usecase_state(store, "pump_failure") is None
    ledger.append(None, promotion("released", "", "3", 1))
    ledger.append(ledger.last(), promotion("refused", "3", "4", 1, "its gate failed"))
    state = usecase_state(store, "pump_failure")
    assert state is not None
    assert (state.version, state.number, state.refused) == ("3", 1, "version 4: its gate failed")


def test_an_empty_store_has_fleets_without_telemetry(store: FolderStore):
    found = collect(store, ["pump_failure"], NOW_US)
    assert [(fleet.fleet, fleet.version) for fleet in found.fleets] == [(name, None) for name in catalog.names()]
    assert not found.usecases
    assert not found.gateways


def test_the_commands_from_simulation_to_status(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    plan = Plan(2, 2, 7, parse_start("2026-01-05"), late_share=0.0, corrupt_share=0.01)
    written = write_fleet(plan, "store", processes=1)
    assert cli.run(["ingest", "pumps", "--store", "store", "--json"]) == 0
    taken = json.loads(capsys.readouterr().out)
    assert taken["duplicates"] == written.duplicates
    assert taken["accepted"] == written.messages - written.duplicates - written.spoilt - written.spikes
    assert taken["quarantined"] == written.spoilt + written.spikes
    assert cli.run(["quarantine", "list", "pumps", "--store", "store", "--json"]) == 0
    (batch,) = json.loads(capsys.readouterr().out)["batches"]
    assert sum(batch["reasons"].values()) == written.spoilt + written.spikes
    assert cli.run(["quarantine", "list", "pumps", batch["name"], "--limit", "3", "--store", "store"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert cli.run(["quarantine", "list", "pumps", "--store", "store"]) == 0
    assert f"{taken['quarantined']:,} rejected in 1 batches" in capsys.readouterr().out
    assert cli.run(["quarantine", "show", "pumps", batch["name"], "0", "--store", "store"]) == 0
    assert "\nrepair  " in capsys.readouterr().out
    assert cli.run(["quarantine", "show", "pumps", batch["name"], "9999", "--store", "store"]) == 2
    assert cli.run(["quarantine", "purge", "pumps", "--store", "store"]) == 2
    assert cli.run(["quarantine", "purge", "pumps", "--older-than", "1d", "--store", "store", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == {}
    assert cli.run(["quarantine", "replay", "pumps", batch["name"], "--store", "store", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == taken["quarantined"]
    assert cli.run(["status", "--store", "store"]) == 0
    assert "pumps      2026-01-05  2026-01-06" in capsys.readouterr().out
