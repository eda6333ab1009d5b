from dataclasses import replace

import numpy as np

from features.catalog import load
from features.regime import Regimes
from pipelines.slices import slices
from pipelines.tasks import TASKS, Span
from tests.fakes.overlapping import HOUR, START, dataset_of, overlapping

PUMPS = load("pumps").features
TASK = TASKS["state"]


def cut(rows, task=TASK, features=PUMPS, **changes):
    data = dataset_of(rows, rows.end < START + 200 * HOUR, **changes)
    span = Span(data.events, 0, HOUR)

    def measured(part):
        return task.measure(data.test.select(part), np.full(int(part.sum()), 0.5), part[part], span)

    return slices(task, data, features, span, measured)


def grouped(found):
    return {
        group: [part.name for part in found if part.group == group] for group in dict.fromkeys(p.group for p in found)
    }


def test_devices_are_told_apart_by_age_since_their_first_window():
    rows = overlapping(devices=6, hours=300)
    late = replace(rows, end=np.where(rows.device == "device-00", rows.end + 1000 * HOUR, rows.end))
    found = cut(late)
    assert list(grouped(found)) == ["age of the device"]
    assert sum(part.windows for part in found) == 5 * 101 + 300
    assert found[0].name.startswith("0.0 to ")
    assert found[0].windows > 200


def test_what_stands_still_in_a_device_is_its_kind():
    rows = overlapping(devices=8, hours=300)
    model = np.where(rows.device < "device-04", 3.0, 4.0)
    found = cut(replace(rows, values=np.column_stack([rows.values, model])))
    assert grouped(found)["feature_8"] == ["3", "4"]
    assert not any(part.small for part in found)


def test_values_of_a_quantity_are_told_apart_and_the_cap_stands_alone():
    rows = overlapping(devices=6, hours=300, answer=lambda level, hour: np.minimum(350 - hour, 100))
    found = [part for part in cut(rows, TASKS["forecast"]) if part.group == "true value"]
    assert found[-1].name == "at the cap of 100"
    assert found[-1].windows == 6 * 52
    assert len(found) == 4


def test_operating_conditions_are_those_the_features_have_learned():
    rows = overlapping(devices=6, hours=300)
    regimes = Regimes(("speed",), ("flow",), (0.0,), (1.0,), ((-1.0,), (1.0,)), ((0.0,), (0.0,)), ((1.0,), (1.0,)))
    learned = PUMPS.learned(regimes)
    width = len(learned.names) - 8
    speed = [name.startswith("speed_mean") for name in learned.names]
    values = np.hstack([rows.values, np.zeros((len(rows), width))])
    values[:, speed] = np.where(np.arange(len(rows)) % 3 == 0, -0.9, 1.2)[:, None]
    found = [p for p in cut(replace(rows, values=values), features=learned) if p.group == "operating condition"]
    assert [(part.name, round(part.windows, -2)) for part in found] == [("speed -1", 200), ("speed 1", 400)]


def test_small_parts_are_marked():
    rows = overlapping(devices=8, hours=300)
    model = np.where(rows.device < "device-01", 1.0, 2.0)
    values = np.column_stack([rows.values, model])
    calm = replace(rows, values=values, label=np.where(model == 1.0, 0.0, rows.label))
    assert [part.small for part in cut(calm) if part.group == "feature_8"] == [True, False]


def test_a_part_without_an_anomaly_has_none_and_is_small():
    rows = overlapping(devices=8, hours=300)
    model = np.where(rows.device < "device-04", 1.0, 2.0)
    values = np.column_stack([rows.values, model])
    calm = replace(rows, values=values, label=np.where(model == 1.0, 0.0, rows.label))
    found = [part for part in cut(calm, TASKS["anomaly"]) if part.group == "feature_8"]
    assert found[0].evidence == 0
    assert found[0].small
    assert found[1].evidence > 0
