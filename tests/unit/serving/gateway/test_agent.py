import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.errors import InvalidStoreUriError, MissingStoreError
from serving.gateway import agent as agent_module
from serving.gateway.agent import Agent
from serving.gateway.state import StateFolder
from serving.gateway.trial import Limits
from serving.gateway.updates import LateStore, Updates
from serving.journal import Journal
from tests.fakes import bundles, fans, models
from tests.fakes.releases import Releases
from tests.fakes.stores import MemoryStore

DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def signing(tmp_path_factory):
    return tmp_path_factory.mktemp("signing")


class Plant:
    """A store with releases, and a gateway in front of it whose time stands still until it is moved."""

    def __init__(self, folder: Path, signing: Path, usecases: tuple[str, ...] = ("fan_failure",)) -> None:
        self.store = MemoryStore()
        self.releases = Releases(self.store, signing / folder.name)
        self.usecases = usecases
        self.folder = folder
        self.lines = io.StringIO()
        self.seconds = 0.0
        self.offset_us = 0
        self.start()

    def start(self) -> None:
        self.state = StateFolder(self.folder / "state")
        root = self.releases.root.read_bytes()
        updates = Updates(self.store, self.state.folder("updates"), root, production=False)
        self.agent = Agent(
            "gw-1",
            self.usecases,
            state=self.state,
            store=self.store,
            updates=updates,
            journal=Journal(self.lines, per_minute=10_000),
            poll_s=1.0,
            limits=Limits(256, 20),
            clock=lambda: self.releases._now() + self.offset_us,
            monotonic=lambda: self.seconds,
        )
        self.agent.start()

    def stop(self) -> None:
        self.agent.close()
        self.state.close()

    def crash(self) -> None:
        """End without saving anything."""
        self.agent._spool.close()
        self.state.close()

    def step(self, seconds: float = 2.0) -> dict[str, Any]:
        self.seconds += seconds
        self.agent.step()
        return self.agent.status()

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.store.get("reports/fans/gw-1.json"))
        return found


@pytest.fixture
def plant(tmp_path, signing):
    plant = Plant(tmp_path, signing)
    yield plant
    plant.stop()


def test_a_gateway_takes_what_is_released_and_reports_what_it_runs(plant):
    assert plant.step()["state"] == "waiting"
    release = plant.releases.release("3", bundles.packed())
    status = plant.step()
    assert (status["version"], status["bundle"], status["slot"]) == ("3", release.bundle, "a")
    report = plant.report()
    assert (report["id"], report["version"], report["bundle"]) == ("gw-1", "3", release.bundle)
    assert report["desired"] == {"version": "3", "number": 1, "bundle": release.bundle}
    assert report["memory_mib"] > 10
    assert 0 < report["disk_free_share"] <= 1
    assert report["features"] == {"bundle": "", "values": 0, "missing": 0}
    assert report["clock"] == "plausible"


def test_the_report_says_what_answers_and_not_what_was_sent(plant):
    plant.releases.release("1", bundles.packed())
    plant.step()
    bad = plant.releases.release("2", models.has_other_golden_scores())
    plant.step()
    report = plant.report()
    assert (report["version"], report["desired"]["bundle"]) == ("1", bad.bundle)
    assert "version 2 was refused" in report["reason"]


def test_predictions_reach_the_store_and_are_counted_in_the_report(plant):
    plant.releases.release("1", bundles.packed())
    plant.step()
    intake = plant.agent.take(fans.body(0, 131))
    plant.step()
    assert intake.predictions == 2
    assert sum(key.startswith("predictions/fan_failure/gateway/gw-1/") for key in plant.store.objects) == 1
    plant.step(agent_module.REPORT_S)
    assert (plant.report()["predictions"], plant.report()["accepted"]) == (2, 131)
    assert plant.report()["last_telemetry_at"] is not None


def test_the_last_good_bundle_answers_after_a_crash_with_the_store_out_of_reach(plant):
    plant.releases.release("1", bundles.packed())
    plant.step()
    plant.crash()
    plant.store.reachable = False
    plant.start()
    status = plant.step()
    assert (status["version"], status["updates"]["state"], status["healthy"]) == ("1", "unreachable", True)
    assert plant.agent.take(fans.body(0, 71)).predictions == 1
    plant.step()
    assert plant.agent.status()["spool"]["pending"] == 1
    plant.store.reachable = True
    plant.step()
    plant.step()
    assert plant.agent.status()["spool"]["pending"] == 0
    assert plant.agent.status()["updates"]["state"] == "current"


def test_features_go_on_after_a_regular_stop(plant):
    plant.releases.release("1", bundles.packed())
    plant.step()
    plant.agent.take(fans.body(0, 100))
    plant.stop()
    plant.start()
    assert plant.agent.take(fans.body(95, 131)).predictions == 1
    assert plant.agent.status()["duplicates"] == 5


def test_expired_metadata_stops_updates_and_not_predictions(plant):
    plant.releases.release("1", bundles.packed())
    plant.step()
    plant.offset_us = 4000 * DAY_US
    status = plant.step()
    assert status["updates"]["state"] == "expired"
    plant.offset_us = 0
    assert plant.agent.take(fans.body(0, 71)).predictions == 1


def test_a_tampered_store_is_refused_and_what_runs_keeps_running(plant):
    plant.releases.release("1", bundles.packed())
    plant.step()
    plant.releases.release("2", bundles.packed(bias=1.0))
    timestamp = plant.store.get("updates/metadata/timestamp.json")
    plant.store.put("updates/metadata/timestamp.json", timestamp.replace(b'"version":3', b'"version":4'))
    assert plant.store.get("updates/metadata/timestamp.json") != timestamp
    status = plant.step()
    assert (status["version"], status["updates"]["state"]) == ("1", "refused")


def test_a_withdrawal_reaches_the_report(plant):
    plant.releases.release("1", bundles.packed())
    plant.step()
    plant.releases.withdraw()
    status = plant.step()
    assert (status["state"], status["version"], status["healthy"]) == ("withdrawn", "", True)
    assert plant.report()["state"] == "withdrawn"


def test_a_gateway_whose_only_release_is_bad_is_not_healthy(plant):
    plant.releases.release("1", models.has_other_golden_scores())
    status = plant.step()
    assert (status["state"], status["healthy"]) == ("failing", False)
    assert plant.agent.health()[0] is False


def test_nothing_is_written_to_the_store_while_nothing_changes(plant):
    plant.releases.release("1", bundles.packed())
    plant.step()
    plant.step()
    before = len(plant.store.writes)
    for _ in range(5):
        plant.step()
    assert len(plant.store.writes) == before
    plant.step(agent_module.REPORT_S)
    assert plant.store.writes[before:] == ["reports/fans/gw-1.json"]


def test_states_are_said_once(plant):
    plant.store.reachable = False
    for _ in range(5):
        plant.step()
    assert plant.lines.getvalue().count("state=unreachable") == 1


def test_the_end_is_reported(plant):
    plant.releases.release("1", bundles.packed())
    plant.step()
    plant.agent.close()
    assert plant.report()["process"] == "stopped"
    plant.state.close()
    plant.start()


def test_two_use_cases_are_fed_by_the_same_telemetry(tmp_path, signing):
    plant = Plant(tmp_path, signing, ("fan_failure", "fan_wear"))
    plant.releases.release("1", bundles.packed())
    plant.releases.release("5", bundles.packed(usecase="fan_wear"), usecase="fan_wear")
    plant.step()
    assert plant.agent.take(fans.body(0, 71)).predictions == 2
    uses: Any = plant.agent.status()["usecases"]
    assert [(use["usecase"], use["version"]) for use in uses] == [("fan_failure", "1"), ("fan_wear", "5")]
    plant.stop()
    assert [key for key in plant.store.objects if key.startswith("reports/")] == [
        "reports/fans/gw-1.fan_failure.json",
        "reports/fans/gw-1.fan_wear.json",
    ]


def test_the_metrics_tell_version_records_and_predictions(plant):
    release = plant.releases.release("1", bundles.packed())
    plant.step()
    plant.agent.take(fans.body(0, 71) + b"\n{")
    text = plant.agent.metrics().decode()
    assert (
        f'tidemill_gateway_model_info{{usecase="fan_failure",version="1",bundle="{release.bundle}",slot="a"}} 1' in text
    )
    assert 'tidemill_gateway_records_total{usecase="fan_failure",became="accepted"} 71' in text
    assert 'tidemill_gateway_records_total{usecase="fan_failure",became="unreadable"} 1' in text
    assert 'tidemill_gateway_predictions_total{usecase="fan_failure"} 1' in text


def test_the_metrics_tell_of_fields_that_nobody_reads(plant):
    fleet = replace(bundles.FLEET, unknown_fields="count")
    plant.releases.release("1", bundles.packed(features=replace(bundles.FEATURES, fleet=fleet)))
    plant.step()
    plant.agent.take(b'{"device":"a","ts":0,"fw":1}{"device":"b","ts":0,"fw":"2"}{"device":"b","ts":0,"fw":null}')
    assert 'tidemill_gateway_unknown_fields_total{usecase="fan_failure",field="fw"} 2' in plant.agent.metrics().decode()


def test_a_store_folder_that_is_mounted_later_is_found(tmp_path):
    store = LateStore(str(tmp_path / "later"))
    with pytest.raises(MissingStoreError):
        store.get("x")
    (tmp_path / "later").mkdir()
    store.put("x", b"1")
    assert store.get("x") == b"1"


def test_a_store_that_can_never_be_opened_is_refused_at_once():
    with pytest.raises(InvalidStoreUriError):
        LateStore("gopher://x")
