"""The ML engineer sets an alias, and a gateway and the cloud predict with that version."""

import urllib.request

from features import catalog
from infra.local.demo.load import is_ready
from infra.local.demo.replay import record
from pipelines.registry import Registry
from serving.store import open_store
from tests.e2e.house import USECASE, eventually

DAY_MS = 86_400_000
START_MS = 1_767_571_200_000 + 20 * DAY_MS  # day 20 of the simulated month


def test_the_version_with_the_alias_predicts_on_the_gateway_and_in_the_cloud(house, trained):
    registry = Registry(house.stack.mlflow_url)
    registry.set_alias(USECASE, "champion", trained["version"])

    outcome = house.release(USECASE)
    eventually(lambda: house.gateway("/status").get("version") == trained["version"])
    eventually(lambda: is_ready(house.stack.server_url, USECASE))
    recorded = record(open_store(str(house.store)), catalog.load("pumps").fleet, START_MS, START_MS + 2 * DAY_MS)
    lines = [line for _, line in recorded.of(["pump-001"])]
    request = urllib.request.Request(house.stack.gateways[0].url + "/telemetry", b"\n".join(lines), method="POST")
    urllib.request.urlopen(request).read()

    assert outcome["action"] == "released"
    assert outcome["digest"] == trained["digest"]
    assert registry.tags(USECASE, trained["version"])["release.status"] == "released"
    status = house.gateway("/status")
    assert status["version"] == trained["version"]
    assert status["predictions"] == 24  # the second day, an hour at a time; the first one fills the windows


def test_a_release_without_a_moved_alias_changes_nothing(house, trained):
    Registry(house.stack.mlflow_url).set_alias(USECASE, "champion", trained["version"])
    house.release(USECASE)

    again = house.release(USECASE)

    assert again["action"] == "unchanged"
