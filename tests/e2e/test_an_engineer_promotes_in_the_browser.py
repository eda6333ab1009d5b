"""The ML engineer clicks an alias in MLflow, sees it arrive everywhere, takes it back, and reads why one is refused."""

import json
import os
import statistics
from functools import partial

import httpx
import pytest

from pipelines.registry import Registry
from serving.promotion import PromotionLedger
from serving.store import open_store
from tests.e2e.browsing import Album, open_version, set_champion, tags_of
from tests.e2e.house import USECASE, Arrival, eventually
from tests.fakes.chromium import needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]
CLICKS = int(os.environ.get("JOURNEY_CLICKS", "1"))
"""How often the alias is set by clicks: once by `make test`, more often by `make sweep`, an odd number of times."""
WHY = "more false alarms than the day before"


@pytest.fixture(scope="module")
def second(house, trained):
    """Another version that passed: one of another journey, else one that learned something simpler."""
    for known in Registry(house.stack.mlflow_url).versions(USECASE):
        if known.tags.get("gate") == "passed" and known.version != trained["version"]:
            return known.version
    made = house.tidemill("train", USECASE, "--estimator", "linear", "--note", "simpler")
    assert made["gate"] == "passed"
    return made["version"]


@pytest.fixture
def serving(house, office, trained):
    """The first version, everywhere, whatever was served before."""
    promote(house, trained["version"])
    return trained["version"]


def promote(house, version):
    Registry(house.stack.mlflow_url).set_alias(USECASE, "champion", version)
    eventually(lambda: set(house.serving(USECASE).values()) == {version})
    eventually(lambda: healthy(Registry(house.stack.mlflow_url).tags(USECASE, version)))


def healthy(tags):
    return tags.get("release.status") == "released" and tags.get("release.gateways") == "2 of 2 healthy"


def test_a_click_brings_a_version_everywhere_and_it_is_taken_back(town, serving, second, record_property):
    house, desk = town.house, town.desk()
    album, mlflow, rounds = Album("2-promotion"), town.window(height=1100), []

    for version in ([second, serving] * CLICKS)[:CLICKS]:
        open_version(mlflow, house.stack.mlflow_url, USECASE, version)
        with Arrival(house, USECASE, version) as arrival:
            set_champion(mlflow, partial(album.take, mlflow, f"alias-{version}"), arrival.begin)
        rounds.append(arrival.seconds)
        tags = reloaded(mlflow, house, version, healthy)
        album.take(mlflow, f"released-{version}", readme="mlflow")
        assert tags["release.cloud"].startswith("release ")

    desk.get_by_role("link", name="Fleet").click()
    page = desk.frame_locator("iframe")
    heading, listed = page.get_by_text("Running now"), page.get_by_role("link", name=USECASE, exact=True)
    heading.or_(listed).first.wait_for()
    if not heading.count():  # other journeys have left other use cases
        album.take(desk, "use-cases")
        listed.click()
    page.get_by_text("2 run").wait_for()
    album.take(desk, "fleet")
    assert f"version {second}" in page.locator("#now").inner_text()
    page.get_by_role("link", name="Roll back").click()
    page.get_by_label("Go back to").select_option(serving)
    page.get_by_label("Why?").fill(WHY)
    album.take(desk, "roll-back")
    with Arrival(house, USECASE, serving) as arrival:
        arrival.begin()
        page.get_by_role("button", name="Roll back").click()
        page.get_by_text(f"champion -> version {serving}").wait_for()
        album.take(desk, "rolled-back")
    rounds.append(arrival.seconds)
    open_version(mlflow, house.stack.mlflow_url, USECASE, serving)
    tags = reloaded(mlflow, house, serving, healthy)
    assert tags["approved_by"] == "admin"
    desk.goto(f"{town.office.url}/tidemill/fleet/{USECASE}")
    desk.get_by_role("cell", name="rolled back").first.wait_for()
    album.take(desk, "fleet-after", whole=True)

    figures = {place: round(statistics.median(each[place] for each in rounds), 2) for place in rounds[0]}
    print(json.dumps({"rounds": rounds, "median": figures}))
    record_property("click to answer, s", figures)
    ledger = PromotionLedger(open_store(str(house.store)), USECASE).entries()
    assert [entry.to_version for entry in ledger][-3:] == [serving, second, serving]
    assert ledger[-1].outcome == "rolled_back"
    assert (ledger[-1].promoted_by, ledger[-1].reason) == ("admin", f"admin: {WHY}")


def test_a_version_that_the_gate_refused_says_why_where_it_was_clicked(town, serving):
    house, desk = town.house, town.desk()
    few = ("--since", "2026-01-29", "--estimator", "linear", "--note", "too short")
    made = house.tidemill("train", USECASE, *few, code=1)
    assert made["gate"] == "failed"
    album, mlflow = Album("3-refusal"), town.window()

    reason = click_and_read(house, album, mlflow, made["version"])

    assert "the gate refused it: train: failures to learn from: 2 (at least 5)" in reason
    desk.goto(f"{town.office.url}/tidemill/fleet/{USECASE}")
    desk.locator("#attention").get_by_text("failures to learn from").first.wait_for()
    album.take(desk, "fleet", whole=True)
    assert set(house.serving(USECASE).values()) == {serving}


def test_a_version_registered_by_hand_is_refused_and_says_so(town, serving):
    house = town.house
    with httpx.Client(base_url=f"{house.stack.mlflow_url}/api/2.0/mlflow") as client:
        run = client.post("/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]
        version = {"name": USECASE, "source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]}
        made = client.post("/model-versions/create", json=version).json()["model_version"]["version"]
    album, mlflow = Album("3-by-hand"), town.window()

    reason = click_and_read(house, album, mlflow, made)

    assert reason.startswith("registered by hand: it has no bundle that a gate could have judged")
    assert set(house.serving(USECASE).values()) == {serving}


def click_and_read(house, album, mlflow, version):
    """Set the alias by clicks, and read what the page of the version says afterwards."""
    open_version(mlflow, house.stack.mlflow_url, USECASE, version)
    album.take(mlflow, "before")
    set_champion(mlflow)
    tags = reloaded(mlflow, house, version, lambda tags: "release.refused" in tags)
    mlflow.get_by_text("release.refused").scroll_into_view_if_needed()
    album.take(mlflow, "refused")
    return tags["release.refused"]


def reloaded(page, house, version, reached):
    """What the page of a version shows once its tags are so: loaded again then, as a person would."""
    registry = Registry(house.stack.mlflow_url)
    eventually(lambda: reached(registry.tags(USECASE, version)))
    page.reload()
    page.get_by_role("heading", name=f"Version {version}", exact=True).wait_for()
    page.get_by_role("cell", name="release.status").wait_for()
    seen = tags_of(page)
    assert reached(seen)
    return seen
