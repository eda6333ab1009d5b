"""One house for all journeys, with a month of telemetry taken in."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.stack import Stack
from tests.e2e.house import FLEET, USECASE, House

PACKAGES = ("dags", "features", "infra", "pipelines", "serving")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package")
def house(tmp_path_factory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house")
    (root / "store").mkdir()
    with Stack(root, dict(os.environ), wanted=("mlflow", "server", "gateways"), gateways=1, usecase=USECASE) as stack:
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
    ignored = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    return tmp_path
