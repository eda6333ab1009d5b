import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from features import catalog
from features.schema import Mapping
from pipelines import usecases
from pipelines.errors import UnknownNameError, UseCaseError
from pipelines.estimators import ESTIMATORS
from pipelines.labels import FailureWithin
from pipelines.split import Split


@pytest.mark.parametrize("name", usecases.names())
def test_every_use_case_loads_and_knows_its_features(name):
    found = usecases.load(name)
    assert found.features.fleet.name == found.fleet
    assert found.label.horizon >= timedelta(0)


def test_use_cases_are_found_by_their_modules():
    known = {"bearing_life", "drive_failure", "engine_life", "machine_failure", "pump_failure"}
    assert known | {"process_anomaly", "room_occupancy"} <= set(usecases.names())


def test_the_estimators_a_use_case_may_name_are_those_that_exist():
    assert tuple(ESTIMATORS) == usecases.ESTIMATORS


def test_a_misspelt_use_case_is_answered_with_a_suggestion():
    with pytest.raises(UnknownNameError, match="did you mean machine_failure"):
        usecases.load("machine_failures")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Pump Failure"),
        ("estimator", "hist_gradient_boost"),
        ("fleet", "pump"),
        ("placements", ("gatway",)),
        ("placements", ()),
        ("split", Split(test_devices=1.0)),
        ("split", Split(test_time=-0.1)),
        ("label", FailureWithin(timedelta(hours=-1))),
    ],
)
def test_a_field_that_cannot_be_is_refused_where_it_stands(field, value):
    with pytest.raises(UseCaseError, match=field):
        replace(usecases.load("pump_failure"), **{field: value})


def test_a_fleet_that_only_storage_can_read_is_refused_on_gateways_where_it_stands(monkeypatch):
    entry = catalog.load("pumps")
    fleet = replace(entry.fleet, mapping=Mapping(rows="m[]", body="Body"))
    monkeypatch.setattr(catalog, "load", lambda _name: replace(entry, fleet=fleet))
    pumps = usecases.load("pump_failure")
    assert replace(pumps, placements=("cloud",)).placements == ("cloud",)
    with pytest.raises(UseCaseError, match=r"a gateway cannot hear the fleet pumps: its mapping asks for rows, body"):
        replace(pumps, placements=("gateway", "cloud"))
    monkeypatch.setattr(
        catalog, "load", lambda _name: replace(entry, fleet=replace(fleet, mapping=Mapping(), stored=fleet.mapping))
    )
    assert replace(pumps, placements=("gateway",)).placements == ("gateway",)


def test_reading_use_cases_loads_nothing_heavy():
    heavy = "{'sklearn', 'pandas', 'pyarrow', 'onnx', 'onnxruntime', 'mlflow', 'scipy'}"
    code = (
        f"import sys; from pipelines import usecases; usecases.load('pump_failure'); print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
