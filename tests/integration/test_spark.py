"""The Spark engine in a real Spark, two threads on this machine: it makes the tables that the local engine makes."""

import json

import pytest

from infra.local import cli
from infra.local.pumps.plan import Plan, parse_start
from infra.local.pumps.run import write_fleet
from pipelines.errors import EngineError
from pipelines.partitions import make_panes, make_rows, materialize_by
from serving.store import FolderStore
from tests.fakes.fleets import FAN_FEATURES, HOUR_US, NOON_US, Plant
from tests.fakes.rebuilt import event
from tests.parity import cluster
from tests.unit.pipelines.test_partitions import EVERYTHING, NOW, assert_same, at_once, late_readings, three_days

if reason := cluster.missing():
    pytest.skip(reason, allow_module_level=True)

from pipelines.spark import SparkCrew

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:PySpark does not yet fully support:FutureWarning")]


@pytest.fixture(scope="module")
def crew():
    """One Spark for all tests; commands find it running and use it too."""
    with SparkCrew.started("local[2]") as crew:
        yield crew


@pytest.fixture
def plant(tmp_path):
    (tmp_path / "ours").mkdir()
    plant = Plant(tmp_path / "ours")
    three_days(plant)
    return plant


def test_it_makes_the_tables_of_the_local_engine_first_as_a_whole_then_of_late_readings(crew, plant, tmp_path):
    make_panes(plant.lake, FAN_FEATURES, crew, most_readings=1)  # a task for each file: late ones lie between others
    make_rows(plant.lake, FAN_FEATURES, crew, most_panes=1)
    assert_same(plant.lake, at_once(plant, tmp_path / "first"))
    late_readings(plant, hour=25)
    summary = materialize_by(plant.lake, FAN_FEATURES, crew)
    assert summary.dates == ("2025-11-24", "2025-11-25")
    assert_same(plant.lake, at_once(plant, tmp_path / "second"))


def test_quantiles_growing_windows_and_events_are_the_same_too(crew, plant, tmp_path):
    plant.hub.write_events("first", NOON_US, [event("fan-1", NOON_US), event("fan-2", NOON_US + HOUR_US, "fault")])
    plant.ingest(NOW)
    make_panes(plant.lake, EVERYTHING, crew, most_readings=1)
    make_rows(plant.lake, EVERYTHING, crew, most_panes=1)
    assert_same(plant.lake, at_once(plant, tmp_path / "theirs", EVERYTHING), EVERYTHING)


def test_the_command_with_spark_says_what_the_command_without_it_says(crew, tmp_path, capsys):
    said = {}
    for engine in ("local", "spark"):
        store = FolderStore(tmp_path / engine)
        store.root.mkdir()
        write_fleet(Plan(3, 3, 7, parse_start("2026-01-05")), store.uri, processes=1)
        assert cli.run(["ingest", "pumps", "--store", store.uri, "--quiet"]) == 0
        capsys.readouterr()
        chosen = ["--engine", engine, *(["--master", "local[2]"] if engine == "spark" else [])]
        assert cli.run(["materialize", "pumps", "--store", store.uri, "--json", *chosen]) == 0
        said[engine] = json.loads(capsys.readouterr().out)
    for name in ("readings", "panes", "rows", "batch"):
        assert said["spark"][name] == said["local"][name], name


def test_a_failing_task_names_its_cause_and_changes_nothing(crew, plant):
    table = plant.lake.panes(FAN_FEATURES)
    before = table.create().version
    for file in plant.lake.telemetry(FAN_FEATURES.fleet).open().files()[:1]:
        (plant.store.root / "lake" / "fans" / "telemetry" / file.path).unlink()
    with pytest.raises(EngineError, match="FileNotFoundError"):
        make_panes(plant.lake, FAN_FEATURES, crew)
    assert table.version() == before
