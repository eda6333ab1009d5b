"""How long the Fleet page takes with ten thousand gateways: in headless Chromium, behind Airflow's own login.

Protocol. A real Airflow (its API server alone) over a store in a folder, in which 10,000 gateways have just reported.
*Cold* is the first visit after Airflow's start, in which nothing was read yet; *warm* the visits after it. First paint
is the browser's own *first contentful paint*; *complete* is when the count of all gateways stands on the page.
"""

import time
from pathlib import Path

from playwright.sync_api import Page

from tests.bench.table import Row, of_runs
from tests.fakes.airflow_server import PASSWORD, Airflow
from tests.fakes.chromium import CHROMIUM, chromium
from tests.fakes.gatherings import USECASE, Gathering, write_reports

GATEWAYS, ROUNDS = 10_000, 5
PAINT = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0]"


def measure(folder: Path) -> list[Row]:
    """Gather the gateways in an empty folder, start Airflow, and visit the page; no rows where there is no Chromium."""
    if CHROMIUM is None:
        return []
    gathering = Gathering(folder / "plant", time.time_ns() // 1000)
    write_reports(gathering.folder, GATEWAYS, gathering.release, time.time_ns() // 1000)
    with Airflow(folder).serve(TIDEMILL_STORE=str(gathering.folder)) as (url, _), chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{url}/auth/login")
        page.fill("input[name=username]", "ada")
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(f"{url}/")
        (cold, *warm) = [_visit(page, f"{url}/tidemill/fleet/{USECASE}") for _ in range(ROUNDS + 1)]
    about = f"{GATEWAYS:,} gateways"
    return [
        Row("fleet_first_paint_cold_s", cold[0], "s", "<= 1", note=f"{about}, first visit after Airflow's start"),
        Row("fleet_complete_cold_s", cold[1], "s", note="until all gateways are counted"),
        of_runs("fleet_first_paint_s", [painted for painted, _ in warm], "s", "<= 1", note=about),
        of_runs("fleet_complete_s", [complete for _, complete in warm], "s", note="until all gateways are counted"),
    ]


def _visit(page: Page, address: str) -> tuple[float, float]:
    """Seconds to the first paint, and until the page is complete."""
    began = time.monotonic()
    page.goto(address, wait_until="commit")
    page.get_by_text(f"{GATEWAYS:,} of {GATEWAYS:,} gateways").wait_for(timeout=60_000)
    complete = time.monotonic() - began
    while not (painted := page.evaluate(PAINT)):  # a page is painted a moment after its text is there
        page.wait_for_timeout(20)
    return float(painted) / 1000, complete
