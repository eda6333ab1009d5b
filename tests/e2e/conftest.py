"""One house for all journeys, with a month of telemetry taken in."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from infra.local.stack import Stack
from tests.e2e.browsing import Town
from tests.e2e.house import FLEET, USECASE, House, Office
from tests.fakes.chromium import chromium

PACKAGES = ("dags", "features", "infra", "pipelines", "serving")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package")
def house(tmp_path_factory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house")
    (root / "store").mkdir()
    with Stack(root, dict(os.environ), wanted=("mlflow", "server", "gateways"), gateways=2, usecase=USECASE) as stack:
        house = House(root, stack)
        house.tidemill("simulate", "pumps", *FLEET)
        house.tidemill("ingest", "pumps")
        house.tidemill("materialize", "pumps")
        yield house


@pytest.fixture(scope="package")
def trained(house: House) -> dict[str, object]:
    """The first version of the use case."""
    return house.tidemill("train", USECASE, "--note", "journey")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the sources, as a data scientist has one."""
    return copy_sources(tmp_path)


@pytest.fixture(scope="package")
def office(house: House) -> Iterator[Office]:
    """Airflow over the house, with sources of its own."""
    folder = house.root / "office"
    checkout = copy_sources(folder / "checkout")
    known = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    own = {
        "MLFLOW_TRACKING_URI": house.stack.mlflow_url,
        "TIDEMILL_KEYS": str(house.stack.plan.keys),
        "PYTHONPATH": str(checkout),
    }
    dags, store = checkout / "dags", str(house.store)
    with Stack(folder, known | own, wanted=("airflow",), store=store, dags=dags) as stack:
        yield Office(stack.airflow.url, stack.airflow_secrets.password, stack.airflow, checkout)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def town(house: House, office: Office, browser: Browser) -> Iterator[Town]:
    """House and office, and windows that close with the test."""
    before = list(browser.contexts)
    yield Town(house, office, browser)
    for context in browser.contexts:
        if context not in before:
            context.close()


def copy_sources(folder: Path) -> Path:
    """Copy the packages; what is imported from there is found by PYTHONPATH."""
    ignored = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    return folder
