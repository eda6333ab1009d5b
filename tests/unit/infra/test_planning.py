"""`tidemill plan` says what a training would meet, and writes nothing."""

import json
from pathlib import Path

import pytest

from infra.local import cli
from infra.local.planning import look_ahead
from infra.local.pumps.plan import Plan, parse_start
from infra.local.pumps.run import write_fleet
from pipelines import usecases
from pipelines.lake import Lake
from serving.store import FolderStore
from tests.fakes.histories import fill_lake, history

USECASE = usecases.load("pump_failure")
NOW_US = 1_790_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def files(store: FolderStore) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in store.root.rglob("*")}


def test_an_empty_store_has_nothing_to_train_on(store: FolderStore):
    found = look_ahead(store, USECASE, None, None, NOW_US)
    assert (found.stored.objects, found.stored.rows, found.training) == (0, 0, None)
    assert found.problem
    assert not files(store)


def test_objects_and_readings_that_wait_are_counted(store: FolderStore, capsys):
    written = write_fleet(Plan(2, 2, 7, parse_start("2026-01-05"), corrupt_share=0.0), store.uri, processes=1)
    before = look_ahead(store, USECASE, None, None, NOW_US)
    assert before.stored.objects == written.objects
    assert "tidemill ingest pumps" in before.lines()[0]
    assert cli.run(["ingest", "pumps", "--store", store.uri, "--json"]) == 0
    accepted = json.loads(capsys.readouterr().out)["accepted"]
    taken = look_ahead(store, USECASE, None, None, NOW_US)
    assert (taken.stored.objects, taken.stored.readings) == (0, accepted)
    assert cli.run(["materialize", "pumps", "--store", store.uri, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    done = look_ahead(store, USECASE, None, None, NOW_US)
    assert (done.stored.readings, done.stored.panes, done.stored.rows) == (0, made["panes"], made["rows"])


def test_the_windows_are_those_of_the_training(store: FolderStore):
    past = history(devices=20)
    fill_lake(Lake(store.uri), USECASE, past)
    before = files(store)
    found = look_ahead(store, USECASE, None, None, NOW_US)
    assert found.training is not None
    assert found.training.train > 1000
    assert found.training.test > 500
    assert (found.training.judged > 5, found.training.counted) == (True, "failures")
    assert files(store) == before
    halved = look_ahead(store, USECASE, None, past.until - 20 * 86_400_000_000, NOW_US)
    assert halved.training is not None
    assert halved.training.train < found.training.train


def test_the_command_ends_with_1_when_there_is_too_little(store: FolderStore, capsys):
    assert cli.run(["plan", "pump_failure", "--store", store.uri, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["training"]) == ("tidemill.plan/1", None)


def test_the_command_shows_the_plan(store: FolderStore, capsys):
    fill_lake(Lake(store.uri), USECASE, history(devices=20))
    assert cli.run(["plan", "pump_failure", "--store", store.uri]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "nothing was written"
    assert "s train" in out[-2]
