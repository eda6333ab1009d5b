"""The data scientist trains from Airflow's form: refused once with a sentence, then followed to the version.

Runs with ``make sweep``.
"""

import re

import pytest

from pipelines.registry import Registry
from tests.e2e.browsing import RUN_MS, Album, choose
from tests.e2e.house import END, USECASE
from tests.fakes.chromium import needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]
NOTE = "a first look from the form"


def test_a_form_is_refused_with_a_sentence_then_trains_and_leads_to_the_version(town):
    album, page = Album("1-training"), town.desk()
    page.get_by_role("link", name="Dags", exact=True).click()
    page.get_by_role("link", name="Train a use case").click()
    page.get_by_role("button", name="Dag Docs").click()
    page.get_by_text("Nothing is deployed").wait_for()
    album.take(page, "what-it-does")
    page.keyboard.press("Escape")

    form = fill(page, since="2026-02-03", until="2026-01-20")
    album.take(page, "form")
    submit(page, form)
    page.get_by_text("Failed", exact=True).first.wait_for(timeout=RUN_MS)
    page.locator("table").get_by_role("link", name="check_parameters").click()
    page.get_by_text("since 2026-02-03 00:00 UTC is not before until 2026-01-20 00:00 UTC").first.wait_for()
    album.take(page, "refused")

    page.goto(f"{town.office.url}/dags/train")
    form = fill(page, estimator="linear")
    album.take(page, "form-again", readme="airflow")
    write(form, "until", END)  # other journeys bring more telemetry, of other ways to run the pumps
    write(form, "note", NOTE)
    album.take(page, "filled-in")
    submit(page, form)
    page.get_by_text("Success", exact=True).first.wait_for(timeout=RUN_MS)
    album.take(page, "run")
    page.reload()  # the list shows mapped tasks as it did before they were known
    page.locator("a[href*='/tasks/train/mapped/0']").first.click()
    page.get_by_text("versions/").first.wait_for()
    album.take(page, "log")
    page.get_by_role("link", name="Details").click()
    page.get_by_role("link", name="Model version").wait_for()
    album.take(page, "task")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Model version").click()
    mlflow = opened.value
    follow(town.house, album, mlflow)


def follow(house, album, page):
    """From the page of the version to its report and its run, and from there back to Airflow."""
    found = re.search(r"/versions/(\d+)", page.url)
    assert found
    page.get_by_text("failures caught").first.wait_for()
    if page.get_by_role("button", name="Close").count():
        page.get_by_role("button", name="Close").click()
    album.take(page, "version")
    assert Registry(house.stack.mlflow_url).tags(USECASE, found[1])["gate"] == "passed"
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the report").click()
    report = opened.value
    text = report.frame_locator("iframe")
    text.get_by_role("heading", name="Pump fails within 24 hours").wait_for()
    album.take(report, "report")
    assert NOTE in text.locator("body").inner_text()
    report.get_by_role("tab", name="Overview").click()
    report.get_by_text("Source").first.wait_for()
    album.take(report, "run")


def fill(page, **values):
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    choose(form, "usecase", USECASE)
    for name, value in values.items():
        write(form, name, value)
    return form


def write(form, name, value):
    if name == "note":  # lies in a part that is folded up, and opening it folds up the other
        form.get_by_role("button", name="More").click()
    if name == "estimator":
        choose(form, name, value)
    else:
        form.locator(f"input[name=element_{name}]").fill(value)


def submit(page, form):
    form.get_by_test_id("trigger-dag-submit").click()
    page.wait_for_url("**/runs/**")
