"""An ingest that is killed at any moment, over and over, ends in the tables of one that was left alone."""

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.lake import Lake
from pipelines.quarantine import batches
from pipelines.settings import storage_options
from serving.store import Store, open_store
from tests.fakes.fleets import FAN_FEATURES, FANS, MINUTE_US, NOON_US, Plant, reading
from tests.fakes.s3 import BUCKET, s3_server
from tests.sweep import ingesters


class Run:
    """An ingest in a process of its own, ready to begin."""

    def __init__(self, uri: str, environ: Mapping[str, str]) -> None:
        waiting, self._begin = ingesters.pipe()
        self._told, telling = ingesters.pipe()
        with tempfile.NamedTemporaryFile(prefix="tidemill-ingest-", delete=False) as file:
            self._said = Path(file.name)
        self._process = ingesters.start(ingesters.take_in_as_told, uri, environ, waiting, telling, self._said)
        telling.close()  # so that the end of the process is the end of what it tells
        assert self._told.recv() == ("ready",)

    def begin(self) -> None:
        self._begin.send(None)

    def end(self) -> tuple[int, str]:
        """Wait for the end; exit code and what it said to the operator."""
        code = ingesters.end(self._process, 120)
        said = self._said.read_text()
        self._said.unlink()
        return code, said

    def kill_after(self, steps: int, seconds: float) -> bool:
        """Kill it some time after it told of so many steps; whether that came before its end."""
        self.begin()
        with contextlib.suppress(EOFError):
            for _ in range(steps):
                self._told.recv()
            time.sleep(seconds)
            self._process.kill()
        code, errors = self.end()
        assert code in (0, ingesters.KILLED), errors
        return code == ingesters.KILLED


def fill(plant: Plant) -> None:
    """24 raw objects with duplicates, rejects and a broken one, and events."""
    for number in range(24):
        begin = NOON_US + number * 30 * MINUTE_US
        messages: list[Any] = [
            reading(device, begin + n * MINUTE_US, 1000.0 + n, begin + n * MINUTE_US)
            for device in ("a", "b")
            for n in range(-5, 30)  # five minutes were in the object before, too
        ]
        plant.write([*messages, reading("c", begin, -1.0, begin)], name=f"hub-{number:03d}")
    plant.write(b"\x1f\x8bdamaged", name="hub-007-damaged")
    for number in range(6):
        plant.hub.write_events(f"{number}", NOON_US, [{"device": "a", "ts": number, "kind": "failure"}])


def tables(uri: str, options: Mapping[str, str] | None = None) -> dict[str, pa.Table]:
    lake = Lake(uri, options)
    found = {
        "telemetry": lake.telemetry(FANS),
        "events": lake.events(FANS),
        "panes": lake.panes(FAN_FEATURES),
        "features": lake.features(FAN_FEATURES),
    }
    order = {"telemetry": "time", "events": "time", "panes": "start", "features": "end"}
    return {
        name: table.open().read().sort_by([("device", "ascending"), (order[name], "ascending")])
        for name, table in found.items()
    }


def quarantined(store: Store) -> list[tuple[str, int]]:
    return [(batch.name, batch.count) for batch in batches(store, FANS.name)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, pa.Table], list[tuple[str, int]]]:
    """What one run that nobody disturbs makes of the objects."""
    plant = Plant(tmp_path_factory.mktemp("reference"))
    fill(plant)
    run = Run(plant.store.uri, {})
    run.begin()
    assert run.end() == (0, "")
    return tables(plant.store.uri), quarantined(plant.store)


def kill_until_done(uri: str, environ: Mapping[str, str], most_steps: int, seed: int) -> int:
    """Run and kill until a run reaches its end; how often it was killed."""
    print(f"seed {seed}")
    moments = random.Random(seed)
    kills = 0
    while Run(uri, environ).kill_after(moments.randint(1, most_steps), moments.uniform(0, 0.06)):
        kills += 1
    return kills


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1))
def test_a_folder_ends_in_the_same_tables(tmp_path, reference, seed):
    expected, rejected = reference
    plant = Plant(tmp_path)
    fill(plant)
    assert kill_until_done(plant.store.uri, {}, 3, seed) > 1
    found = tables(plant.store.uri)
    for name, table in expected.items():
        assert found[name].equals(table), name
    assert quarantined(plant.store) == rejected


@pytest.mark.slow
def test_of_two_runs_at_once_on_a_folder_one_says_that_the_other_is_at_work(tmp_path, reference):
    plant = Plant(tmp_path)
    fill(plant)
    runs = [Run(plant.store.uri, {}), Run(plant.store.uri, {})]
    for run in runs:
        run.begin()
    ends = sorted(run.end() for run in runs)
    assert ends[0] == (0, "")
    if ends[1][0]:  # the second may also have come after the first was done
        assert ends[1][0] == 1
        assert ends[1][1].count("\n") == 1
        assert "another ingest of fans is at work" in ends[1][1]
    assert tables(plant.store.uri)["telemetry"].equals(reference[0]["telemetry"])


@pytest.fixture(scope="module")
def s3() -> Iterator[Mapping[str, str]]:
    with s3_server() as environ:
        yield environ


@pytest.fixture
def bucket(s3, tmp_path, monkeypatch) -> Iterator[Plant]:
    """The same objects in S3, below a prefix of their own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    plant = Plant(tmp_path, open_store(f"s3://{BUCKET}/{tmp_path.name}"))
    fill(plant)
    yield plant
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.slow
def test_s3_ends_in_the_same_tables(bucket, s3, reference):
    expected, rejected = reference
    assert kill_until_done(bucket.store.uri, s3, 5, seed=11) > 1
    found = tables(bucket.store.uri, storage_options(s3))
    for name, table in expected.items():
        assert found[name].equals(table), name
    assert quarantined(bucket.store) == rejected


@pytest.mark.slow
def test_of_two_runs_at_once_on_s3_the_slower_one_ends_with_one_sentence(bucket, s3, reference):
    runs = [Run(bucket.store.uri, s3), Run(bucket.store.uri, s3)]
    for run in runs:
        run.begin()
    ends = sorted(run.end() for run in runs)
    for code, errors in ends:
        assert (code, errors) == (0, "") or (code == 1 and errors.count("\n") == 1), errors
    assert 0 in {code for code, _ in ends}
    found = tables(bucket.store.uri, storage_options(s3))
    assert found["telemetry"].equals(reference[0]["telemetry"])
    assert found["events"].equals(reference[0]["events"])
