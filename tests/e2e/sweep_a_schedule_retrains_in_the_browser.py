"""The schedule asks for a new model when inputs have moved, says why where people look, and leaves promoting to them.

A champion serves while the pumping station begins to ask for more water. Its gateways predict, the monitoring sees
inputs that have moved and no failures yet that could say whether that matters, and wakes the training. Failures become
known days later; the next look says no, and why.

Runs with ``make sweep``.
"""

import re
import time
import urllib.request
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import numpy as np
import pytest

from features import catalog
from infra.local.demo.load import fetch, request_body
from infra.local.demo.replay import feed, record
from pipelines.lake import Lake
from pipelines.materialize import load_features
from pipelines.registry import Registry
from serving.record import decode
from serving.store import open_store
from tests.e2e.browsing import Album, choose, open_version
from tests.e2e.house import FLEET, USECASE, eventually
from tests.fakes.chromium import needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]
START = datetime(2026, 1, 5, tzinfo=UTC)
DAY_US = 86_400_000_000
MONTH, NEXT_DAY, LATER = 30, 31, 36
"""Days since the start: the house was built with a month; then one more day arrives, then five."""
RISEN = ("--more-demand", "0.25", "--more-from-day", str(MONTH))


@pytest.fixture
def serving(house, trained):
    """The first version, everywhere."""
    Registry(house.stack.mlflow_url).set_alias(USECASE, "champion", trained["version"])
    eventually(lambda: house.tidemill("release") and set(house.serving(USECASE).values()) == {trained["version"]})
    return trained["version"]


def test_moved_inputs_wake_the_training_and_a_second_look_says_no(town, serving, record_property):
    began, house, registry = time.monotonic(), town.house, Registry(town.house.stack.mlflow_url)
    known = {each.version for each in registry.versions(USECASE)}
    runs = town.office.client.runs("train")
    arrive(house, town.office, MONTH, NEXT_DAY)
    predict_on_gateways(house, MONTH - 1, NEXT_DAY)
    album, desk = Album("5-schedule"), town.desk()

    look(town, album, desk, "monitor")
    read_yes(town, album, desk)
    new = follow_the_training(town, album, desk, runs, known)
    find_the_challenger(town, album, new, serving)
    read_followed(town, album, desk)

    arrive(house, town.office, NEXT_DAY, LATER)
    predict_on_the_server(house, NEXT_DAY, LATER)
    look(town, album, desk, "monitor-again")
    read_no(town, album, desk, new)
    assert registry.champion(USECASE) == serving
    assert set(house.serving(USECASE).values()) == {serving}
    assert len(town.office.client.runs("train")) == len(runs) + 1  # a no wakes nothing
    record_property("seconds", round(time.monotonic() - began))


def arrive(house, office, first, last):
    """Have the plant send days of telemetry and what its crew wrote down by then; take them in by the DAG."""
    devices = FLEET[:2] + FLEET[4:]
    house.tidemill("simulate", "pumps", *devices, "--days", str(last), "--from-day", str(first), *RISEN)
    run = office.client.wait("ingest", office.client.trigger("ingest", {"fleet": "pumps"}))
    assert run.state == "success"


def predict_on_gateways(house, first, last):
    """Replay days to the gateways, half of the pumps to each, and wait until their predictions are in the store."""
    recorded = record(store_of(house), catalog.load("pumps").fleet, moment(first) // 1000, moment(last) // 1000)
    gateways = house.stack.gateways
    for number, gateway in enumerate(gateways):
        feed(gateway.url, recorded.of(recorded.devices[number :: len(gateways)]), lambda _count: None)
    eventually(lambda: not any(pending(gateway) for gateway in gateways))


def pending(gateway):
    return fetch(f"{gateway.url}/status")["spool"]["pending"]


def predict_on_the_server(house, first, last):
    """Ask the cloud server about every window of some days, and wait until its predictions are in the store."""
    table = load_features(Lake(str(house.store)), catalog.load("pumps").features, moment(first), moment(last))
    names = catalog.load("pumps").features.names
    rows = np.column_stack([table.column(name).to_numpy() for name in names]).tolist()
    body = request_body(rows, table.column("device").to_pylist(), table.column("end").to_pylist())
    address = f"{house.stack.server_url}/v2/models/{USECASE}/infer"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    store, prefix = store_of(house), f"predictions/{USECASE}/cloud/"
    eventually(lambda: sum(len(decode(store.get(entry.key))) for entry in store.list(prefix)) >= len(rows))


def look(town, album, page, name):
    """Trigger the DAG that looks once a day, as somebody does who does not want to wait for the night."""
    page.goto(f"{town.office.url}/dags/monitor")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    choose(form, "usecase", USECASE)
    album.take(page, f"{name}-form")
    form.get_by_test_id("trigger-dag-submit").click()
    page.wait_for_url("**/runs/**")
    run = town.office.client.wait("monitor", unquote(page.url.split("/runs/")[1].split("/")[0].split("?")[0]))
    assert run.state == "success"
    page.reload()
    page.locator("a[href*='/tasks/monitor/mapped/0']").first.click()
    page.get_by_text("features moved far").first.wait_for()
    album.take(page, name)


def read_yes(town, album, page):
    """The decision with its reasons, what it rests on, and what is not known yet, on the Fleet page."""
    section = evidence(town, page)
    text = section.inner_text()
    assert "Train anew" in text
    assert re.search(r"speaks for training\s+\d+ of 55 features moved far \(most: \w+ index \d\.\d+, ", text)
    assert "speaks against it" not in text
    assert re.search(r"Sample\s+576 windows of 24 devices", text)
    assert re.search(r"Outcomes known\s+of 0% of the windows; the fleet was heard up to 2026-02-04", text)
    assert "no outcome is known yet" in text
    section.evaluate("each => each.scrollIntoView()")
    album.take(page, "yes")


def evidence(town, page):
    page.goto(f"{town.office.url}/tidemill/fleet/{USECASE}")
    page.locator("#versions").get_by_role("cell").first.wait_for()
    return page.locator("#evidence")


def follow_the_training(town, album, page, before, known):
    """From the list of runs to the one that nobody triggered, and to its end; return the version it made."""
    run = town.office.client.wait_for_another("train", before, 180)
    assert run.state == "success"
    page.goto(f"{town.office.url}/dags/train/runs")
    row = page.get_by_role("row").filter(has_text="Asset Triggered").first
    row.get_by_text("Success").wait_for()
    assert "admin" not in row.inner_text()
    album.take(page, "runs")
    page.goto(f"{town.office.url}/dags/train/runs/{quote(run.id)}")
    page.get_by_role("tab", name="Asset Events").or_(page.get_by_role("link", name="Asset Events")).first.click()
    page.get_by_text(f"retrain.{USECASE}").first.wait_for()
    album.take(page, "woken-by")
    (made,) = [each for each in Registry(town.house.stack.mlflow_url).versions(USECASE) if each.version not in known]
    page.goto(f"{town.house.stack.mlflow_url}/#/runs/{made.run_id}")
    page.get_by_text(re.compile(r"^monitoring: \d+ of 55 features moved far")).first.wait_for()
    album.take(page, "why")
    return made.version


def find_the_challenger(town, album, version, champion):
    """In MLflow the new version is challenger, and the champion is who it was."""
    page = town.window(height=1100)
    open_version(page, town.house.stack.mlflow_url, USECASE, version)
    page.get_by_text("@ challenger", exact=True).first.wait_for()
    assert not page.get_by_text("@ champion", exact=True).count()
    album.take(page, "challenger")
    open_version(page, town.house.stack.mlflow_url, USECASE, champion)
    page.get_by_text("@ champion", exact=True).first.wait_for()
    album.take(page, "champion")


def read_followed(town, album, page):
    """A yes that was followed says so, and whose turn it is."""
    text = evidence(town, page).inner_text()
    assert "Trained, and passed the gate" in text
    assert "It serves once it has the alias champion." in text
    assert "it serves once it has the alias champion" in page.locator("#attention").inner_text()
    album.take(page, "followed", whole=True)


def read_no(town, album, page, challenger):
    """The second look: late failures speak now, and there was a training just before."""
    section = evidence(town, page)
    text = section.inner_text()
    assert "Keep the model" in text
    assert re.search(r"speaks for training\s+\d+ of 55 features moved far", text)
    assert "a new model was asked for less than a day ago, 7 days have to pass" in text
    assert re.search(r"it still reaches its gate on \d+ failures", text)
    assert re.search(r"Outcomes known\s+of [1-9]\d% of the windows, 36 h after their end at the median", text)
    assert re.search(r"Live result\s+\d+/\d+ failures caught", text)
    assert re.search(rf"Challenger\s+version {challenger}: \d+/\d+ failures caught", text)
    assert "monitoring says" not in page.locator("#attention").inner_text()
    section.evaluate("each => each.scrollIntoView()")
    album.take(page, "no", readme="decision")


def moment(day):
    return int(START.timestamp()) * 1_000_000 + day * DAY_US


def store_of(house):
    return open_store(str(house.store))
