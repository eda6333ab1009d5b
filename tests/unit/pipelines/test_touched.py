"""What late readings touched, from panes to predictions, against a brute-force count."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.materialize import TouchedRows, foresee, materialize
from pipelines.reach import Spans
from pipelines.registration import TrainingSet
from pipelines.touched import predictions_on, trace, usecases_of
from tests.fakes.fleets import FAN_FEATURES, HOUR_US, MINUTE_US, NOON_US, Plant
from tests.fakes.predictions import DIGEST, START, USECASE, prediction
from tests.fakes.rebuilt import in_one_go, stamped, steady

DIGEST_OF_ROWS = FAN_FEATURES.digest


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def predicted(rows: list[tuple[str, int, str]]) -> pa.Table:
    names = ("device", "window_end", "version")
    return pa.table([list(column) for column in zip(*rows, strict=True)], names=names)


@pytest.mark.parametrize("dry", [True, False])
def test_late_readings_touch_the_panes_rows_sets_and_predictions_that_brute_force_finds(plant, dry):
    on_time = steady("a", NOON_US, 60) + steady("b", NOON_US, 60) + steady("c", NOON_US, 60)
    late = [
        stamped("a", NOON_US + 20 * HOUR_US + MINUTE_US, 5.0),
        stamped("a", NOON_US + 20 * HOUR_US + 2 * MINUTE_US, 6.0),
        stamped("c", NOON_US + 40 * HOUR_US + 11 * MINUTE_US, 7.0),
    ]
    plant.write(on_time)
    plant.ingest(NOON_US + 80 * HOUR_US)
    materialize(plant.lake, FAN_FEATURES)
    plant.write(late)
    plant.ingest(NOON_US + 80 * HOUR_US)
    summary = (foresee if dry else materialize)(plant.lake, FAN_FEATURES)

    panes = {(m["device"], m["ts"] * 1000 // FAN_FEATURES.pane_us) for m in late}
    looking = {
        (device, end)
        for device, end in in_one_go(on_time + late)[1]
        for message in late
        if device == message["device"] and end - FAN_FEATURES.longest_us <= message["ts"] * 1000 < end
    }
    made = [(d, NOON_US + h * HOUR_US, str(h % 3)) for d in ("a", "b", "c", "d") for h in range(6, 60)]
    hit: dict[str, int] = {}
    for device, end, version in made:
        if (device, end) in looking:
            hit[f"fan_failure/{version}"] = hit.get(f"fan_failure/{version}", 0) + 1
    ends = sorted(end for _, end in looking)
    sets = [
        TrainingSet("fan_failure", "1", DIGEST_OF_ROWS, NOON_US, ends[0] - 1),
        TrainingSet("fan_failure", "2", DIGEST_OF_ROWS, NOON_US, ends[0]),
        TrainingSet("fan_failure", "3", "sha256:other", NOON_US, ends[-1]),
        TrainingSet("fan_failure", "4", DIGEST_OF_ROWS, ends[-1] + 1, ends[-1] + HOUR_US),
        TrainingSet("fan_stall", "1", DIGEST_OF_ROWS, NOON_US + 30 * HOUR_US, NOON_US + 35 * HOUR_US),
    ]
    found = trace(summary, DIGEST_OF_ROWS, sets, {"fan_failure": predicted(made)})
    assert (found.panes, found.rows) == (len(panes), len(looking)) == (2, 12)
    assert found.devices == ("a", "c")
    assert found.dates == ("2025-11-25", "2025-11-26")
    assert found.training_sets == ("fan_failure/2",)
    assert dict(found.predictions) == dict(sorted(hit.items()))
    assert sum(found.predictions.values()) == 12


def test_where_the_registry_does_not_answer_nobody_knows(plant):
    plant.write(steady("a", NOON_US, 12))
    plant.ingest()
    assert trace(materialize(plant.lake, FAN_FEATURES), DIGEST_OF_ROWS, None, {}).training_sets is None


def test_predictions_are_those_of_the_fleets_use_cases_on_the_dates(plant):
    made: list[Any] = [prediction("pump-1", START + hour * HOUR_US, version=str(hour)) for hour in (0, 23, 24, 50)]
    table = plant.lake.predictions(USECASE.name)
    table.create()
    schema = table.layout.schema
    rows = [
        {"date": f"2026-03-0{2 + n // 2}", "device": each.device, "window_end": each.window_end_us, "bundle": DIGEST}
        | {"version": each.version}
        for n, each in enumerate(made)
    ]
    table.open().append(pa.Table.from_pylist(rows, schema=schema), transaction=("test", 1))
    assert usecases_of("pumps") == ["pump_failure"]
    found = predictions_on(plant.lake, "pumps", ["2026-03-02"])
    assert found["pump_failure"]["version"].to_pylist() == ["0", "23"]
    assert predictions_on(plant.lake, "azure_pdm", ["2026-03-02"]) == {}


def test_nothing_touched_touches_nothing(plant):
    plant.write(steady("a", NOON_US, 12))
    plant.ingest()
    materialize(plant.lake, FAN_FEATURES)
    summary = materialize(plant.lake, FAN_FEATURES)
    assert len(TouchedRows().spans.first) == len(Spans.none().first) == 0
    everything = [TrainingSet("fan_failure", "1", DIGEST_OF_ROWS, 0, 2**62)]
    found = trace(summary, DIGEST_OF_ROWS, everything, {"fan_failure": predicted([("a", NOON_US, "1")])})
    assert (found.panes, found.rows, found.devices, found.training_sets, found.predictions) == (0, 0, (), (), {})
