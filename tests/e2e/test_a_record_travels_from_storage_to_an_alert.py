"""Raw records in object storage become a model, and the same kind of records make a gateway raise an alert in time."""

import urllib.request

from features import catalog
from infra.local.demo.replay import feed, record
from pipelines.lake import Lake
from pipelines.registry import Registry
from serving.store import open_store
from tests.e2e.house import USECASE, eventually

DAY_US = 86_400_000_000


def test_a_pump_that_will_fail_raises_an_alert_on_its_gateway_the_day_before(house, trained):
    Registry(house.stack.mlflow_url).set_alias(USECASE, "champion", trained["version"])
    house.tidemill("release")
    eventually(lambda: house.gateway("/status").get("version") == trained["version"])
    store, fleet = open_store(str(house.store)), catalog.load("pumps").fleet
    warned = []

    for device, failed_at in _failures(house)[-8:]:
        recorded = record(store, fleet, (failed_at - 2 * DAY_US) // 1000, failed_at // 1000)
        feed(house.stack.gateways[0].url, recorded.of([device]), lambda _count: None)
        raised = [alert for alert in house.gateway("/alerts")["recent"] if alert["device"] == device]
        timely = [alert for alert in raised if failed_at - DAY_US < alert["window_end_us"] <= failed_at]
        warned += [alert for alert in timely if alert["kind"] == "raised"]

    assert len({alert["device"] for alert in warned}) >= 5
    assert {alert["version"] for alert in warned} == {trained["version"]}


def test_what_cannot_be_believed_is_kept_with_its_reason(house):
    kept = house.tidemill("quarantine", "list", "pumps")

    reasons = {reason for batch in kept["batches"] for reason in batch["reasons"]}
    assert {"unreadable", "out_of_range"} <= reasons


def test_taking_the_same_objects_in_again_changes_nothing(house):
    version = Lake(str(house.store)).telemetry("pumps").version()

    again = house.tidemill("ingest", "pumps")

    assert (again["objects"], again["accepted"]) == (0, 0)
    assert Lake(str(house.store)).telemetry("pumps").version() == version


def test_a_gateway_refuses_what_ingest_would_quarantine(house):
    body = b'{"device": "pump-001", "ts": 1, "values": {"flow": "much"}}\nnot json'
    request = urllib.request.Request(house.stack.gateways[0].url + "/telemetry", body, method="POST")
    answer = urllib.request.urlopen(request).read()
    assert b'"accepted": 0' in answer or b'"accepted":0' in answer


def _failures(house) -> list[tuple[str, int]]:
    events = Lake(str(house.store)).events("pumps").open().read(["device", "time", "kind"]).to_pylist()
    return sorted(((e["device"], e["time"]) for e in events if e["kind"] == "failure"), key=lambda pair: pair[1])
