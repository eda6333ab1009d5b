"""One more line in the catalog, and the feature is computed, trained on, judged and named in the bundle."""

import os

from pipelines.registry import Registry
from serving.bundle import unpack
from tests.e2e.house import USECASE

LAST = 'Feature("motor_current", "max", DAY),'
ADDED = 'Feature("pressure", "range", SHIFT),'


def test_a_line_in_the_catalog_reaches_the_bundle_that_a_gateway_would_run(house, trained, checkout):
    catalog = checkout / "features" / "catalog" / "pumps.py"
    text = catalog.read_text()
    assert text.count(LAST) == 1
    catalog.write_text(text.replace(LAST, f"{LAST}\n        {ADDED}"))
    changed = {"PYTHONPATH": str(checkout), "PATH": os.environ["PATH"]}

    house.tidemill("materialize", "pumps", environ=changed)
    result = house.tidemill("train", USECASE, "--note", "one more feature", environ=changed)

    registry = Registry(house.stack.mlflow_url)
    before = unpack(registry.download_bundle(USECASE, trained["version"])).manifest
    after = unpack(registry.download_bundle(USECASE, result["version"])).manifest
    assert set(after.features.names) - set(before.features.names) == {"pressure_range_6h"}
    assert after.features.digest != before.features.digest
    assert result["parity"]["label_flips"] == 0
