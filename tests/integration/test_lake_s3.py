"""Panes and features in object storage: late readings end in the tables of one run, over the real protocol."""

import os
import subprocess
import sys

import pytest

from pipelines.materialize import materialize
from serving.store import open_store
from tests.fakes.fleets import FAN_FEATURES, HOUR_US, NOON_US, Plant
from tests.fakes.rebuilt import assert_complete, steady
from tests.fakes.s3 import BUCKET

# In a process of its own: the table engine keeps Python's lock while it waits for some of its answers.
SERVE = """
from tests.fakes.s3 import s3_server
with s3_server() as environ:
    print(*(f"{name}={value}" for name, value in environ.items()), flush=True)
    input()
"""


@pytest.fixture
def plant(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        for setting in server.stdout.readline().split():
            monkeypatch.setenv(*setting.split("=", 1))
        yield Plant(tmp_path, open_store(f"s3://{BUCKET}/site-1"))
        server.communicate("\n", timeout=30)


def test_late_readings_end_in_the_tables_of_one_run(plant):
    gap, late = steady("a", NOON_US + 5 * HOUR_US, 1), steady("b", NOON_US + 2 * HOUR_US, 1)
    first = steady("a", NOON_US, 5) + steady("a", NOON_US + 6 * HOUR_US, 12)
    for delivery in (first, gap, late):
        plant.write(delivery)
        plant.ingest()
        materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, first + gap + late)
