"""The Fleet page in a real browser: a real Airflow and MLflow, ten thousand gateways, a desk and a phone."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.fakes.airflow_server import PASSWORD, Airflow
from tests.fakes.chromium import chromium, needs_chromium
from tests.fakes.gatherings import USECASE, Gathering, write_reports
from tests.fakes.mlflow_server import mlflow_server

pytestmark = [pytest.mark.slow, needs_chromium]
GATEWAYS = 10_000
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
PATH = f"/tidemill/fleet/{USECASE}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Ten thousand gateways that have just reported, a model in MLflow, and an Airflow beside them."""
    folder = tmp_path_factory.mktemp("site")
    now_us = time.time_ns() // 1000
    with ThreadPoolExecutor(1) as beside:
        preparing = beside.submit(Airflow, folder)
        gathering = Gathering(folder / "plant", now_us)
        gathering.monitor(now_us)
        with mlflow_server(folder) as mlflow:
            model(mlflow)
            store = {"TIDEMILL_STORE": str(gathering.folder), "MLFLOW_TRACKING_URI": mlflow}
            with preparing.result().serve(**store) as (airflow, pid):
                write_reports(gathering.folder, GATEWAYS, gathering.release, time.time_ns() // 1000)
                yield SimpleNamespace(airflow=airflow, mlflow=mlflow, pid=pid, folder=gathering.folder)


def model(mlflow):
    """Two versions, the second of which is champion."""
    with httpx.Client(base_url=f"{mlflow}/api/2.0/mlflow") as client:
        client.post("/registered-models/create", json={"name": USECASE}).raise_for_status()
        for _ in range(2):
            run = client.post("/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]
            version = {"name": USECASE, "source": run["artifact_uri"], "run_id": run["run_id"]}
            client.post("/model-versions/create", json=version).raise_for_status()
        alias = {"name": USECASE, "alias": "champion", "version": "2"}
        client.post("/registered-models/alias", json=alias).raise_for_status()


def registered(mlflow):
    with httpx.Client(base_url=f"{mlflow}/api/2.0/mlflow") as client:
        found = client.get("/registered-models/get", params={"name": USECASE}).json()["registered_model"]
    tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
    return tags, {alias["alias"]: alias["version"] for alias in found.get("aliases", [])}


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(site, browser):
    """Open windows of logged-in people, and picture what they see at the end."""
    opened = []

    def visit(user="ada", width=1280, height=900, **more):
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        opened.append(context)
        page = context.new_page()
        page.goto(f"{site.airflow}/auth/login")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(f"{site.airflow}/")
        return page

    yield visit
    for context in opened:
        context.close()


def picture(page, name, **more):
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"fleet-{name}.png", **more)


def first_paint_ms(page):
    """When something was first painted."""
    page.locator("h1").wait_for()
    deadline = time.monotonic() + 10
    while not (found := page.evaluate("performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)")):
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)
    return found[0]


def memory_mib(pid):
    """Memory of a process and its children that nobody else has, proportionally shared."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    rows = [row for each in pids for row in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()]
    return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024


def test_an_engineer_finds_what_failed_and_pauses_the_rollout(site, visit, record_property):
    page = visit()
    before = memory_mib(site.pid)
    page.goto(site.airflow + PATH)
    cold = first_paint_ms(page)
    page.get_by_text(f"{GATEWAYS:,} of {GATEWAYS:,} gateways").wait_for(timeout=60_000)
    page.goto(site.airflow + PATH)
    warm = first_paint_ms(page)
    figures = {"first paint cold ms": cold, "warm ms": warm, "memory added MiB": memory_mib(site.pid) - before}
    print(json.dumps({name: round(value) for name, value in figures.items()}))
    record_property("figures", figures)
    picture(page, "desk", full_page=True)
    assert min(page.locator("#evidence dd").evaluate_all("all => all.map(each => each.clientWidth)")) > 180

    page.get_by_role("link", name="10 failed").click()
    page.get_by_text("10 of 10,000 gateways, failed").wait_for()
    assert "state=failed" in page.url
    page.get_by_label("Name, fleet or reason contains").fill("quarry")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("gateways, failed").wait_for()
    rows = page.locator("#list tbody tr")
    assert 0 < rows.count() <= 10
    assert all(text.startswith("quarry-") for text in rows.locator("td:first-child").all_inner_texts())
    rows.first.get_by_role("link").click()
    page.get_by_text("tidemill explain TM-224").wait_for()
    page.get_by_text('"feature_digest"').wait_for()
    picture(page, "gateway", full_page=True)

    page.goto(site.airflow + PATH)
    page.get_by_role("link", name="Pause").click()
    assert "keep version 1" in page.inner_text("form")
    picture(page, "pause")
    page.get_by_label("Why?").fill("alarms on the quarry pumps look wrong")
    page.get_by_role("button", name="Pause the rollout").click()
    page.get_by_text("Written into MLflow").wait_for()
    page.get_by_role("link", name="looks now").wait_for()
    picture(page, "paused")
    tags, aliases = registered(site.mlflow)
    assert tags == {
        "rollout": "pause",
        "rollout.reason": "alarms on the quarry pumps look wrong",
        "rollout.by": "ada",
    }
    assert aliases == {"champion": "2"}


def test_rolling_back_moves_the_alias_and_names_who_did_it(site, visit):
    page = visit()
    page.goto(site.airflow + PATH)
    page.get_by_role("link", name="Roll back").click()
    page.get_by_label("Why?").fill("more false alarms than before")
    picture(page, "rollback")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_text("champion -> version 1").wait_for()
    tags, aliases = registered(site.mlflow)
    assert aliases == {"champion": "1"}
    assert tags["rollout.reason"] == "more false alarms than before"
    with httpx.Client(base_url=f"{site.mlflow}/api/2.0/mlflow") as client:
        version = client.get("/model-versions/get", params={"name": USECASE, "version": "1"}).json()["model_version"]
    assert {tag["key"]: tag["value"] for tag in version["tags"]} == {"approved_by": "ada"}


def test_the_page_lies_in_airflow_and_takes_on_its_theme(site, visit):
    page = visit(color_scheme="light")
    page.add_init_script("localStorage.setItem('theme', 'dark')")
    page.goto(f"{site.airflow}/plugin/fleet")
    frame = page.frame_locator("iframe")
    frame.get_by_text("Running now").wait_for(timeout=30_000)
    frame.locator("html[data-theme=dark]").wait_for(state="attached")
    frame.get_by_text("of 10,000 gateways").wait_for(timeout=60_000)
    picture(page, "airflow-dark")
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="model in MLflow").click()
    assert opened.value.url.startswith(site.mlflow)
    frame.get_by_role("link", name="DAG release").click()
    page.wait_for_url(f"{site.airflow}/dags/release**")


def test_on_a_phone_in_the_dark_without_scripts_and_by_keyboard_it_is_all_there(site, visit):
    phone = visit(width=390, height=844, color_scheme="dark")
    phone.goto(site.airflow + PATH)
    phone.get_by_text("of 10,000 gateways").wait_for(timeout=60_000)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    for where in ("#list", "#history"):  # nobody looks for a reason to the right of the screen
        why = phone.locator(f"{where} td.reason:not(:empty)").first.bounding_box()
        assert why["x"] >= 0
        assert why["x"] + why["width"] <= 390
    picture(phone, "phone-dark", full_page=True)
    phone.keyboard.press("Tab")
    assert phone.evaluate("document.activeElement.className") == "skip"
    phone.keyboard.press("Tab")
    assert phone.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"

    cookies = phone.context.cookies()
    plain = phone.context.browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    plain.add_cookies(cookies)
    page = plain.new_page()
    page.goto(f"{site.airflow}{PATH}?state=silent")
    assert "of 10,000 gateways, silent" in page.inner_text("#list")
    page.get_by_role("link", name="Next").count()
    page.select_option("#sort", "heard")
    page.click("button")
    assert "sort=heard" in page.url
    plain.close()


def test_who_may_only_read_has_no_buttons_and_is_refused(site, visit):
    page = visit(user="vic")
    page.goto(site.airflow + PATH)
    page.get_by_text("takes the right to trigger the DAG release").wait_for()
    assert page.get_by_role("link", name="Roll back").count() == 0
    answer = page.goto(f"{site.airflow}{PATH}/do/abort")
    assert answer.status == 403


def test_nothing_of_another_host_is_asked_for(site, visit):
    page = visit()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.airflow + PATH)
    page.get_by_text("of 10,000 gateways").wait_for(timeout=60_000)
    assert asked
    assert all(url.startswith(site.airflow) for url in asked)
