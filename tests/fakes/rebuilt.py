"""What one run over everything makes of messages and events, straight from the features package."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from features.batch import feature_rows
from features.event import Events
from features.featureset import FeatureSet
from features.pane import PANE_FIELDS
from features.panetable import panes_of
from pipelines.materialize import load_features
from tests.fakes.fleets import FAN_FEATURES, FANS, HOUR_US, MINUTE_US, Plant, reading


def steady(device: str, begin_us: int, hours: float, every_us: int = 5 * MINUTE_US) -> list[Any]:
    times = range(begin_us, begin_us + int(hours * HOUR_US), every_us)
    return [stamped(device, time, 1000 + (time // MINUTE_US) % 97 / 7) for time in times]


def stamped(device: str, time_us: int, speed: float = 1000.0) -> Any:
    return reading(device, time_us, speed, received_us=time_us)


def event(device: str, time_us: int, kind: str = "service", known_us: int | None = None) -> Any:
    known = time_us if known_us is None else known_us
    return {"device": device, "ts": time_us // 1000, "kind": kind, "known_at": known // 1000}


def in_one_go(
    messages: Iterable[Any], features: FeatureSet = FAN_FEATURES, events: Iterable[Any] = ()
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Panes and feature rows of all readings at once, straight from the features package."""
    unique = {(message["device"], message["ts"]): message["values"] for message in messages}
    names = sorted({device for device, _ in unique})
    device = np.array([names.index(name) for name, _ in unique], np.int32)
    times = np.array([time * 1000 for _, time in unique], np.int64)
    values = np.array([[value.get(signal, np.nan) for signal in FANS.signal_names] for value in unique.values()])
    panes = panes_of(features, device, times, values.reshape(-1, 2))
    known = [each for each in events if each["device"] in names and each["kind"] in features.fleet.event_kinds]
    happened = Events(
        np.array([names.index(each["device"]) for each in known], np.int32),
        np.array([features.fleet.event_kinds.index(each["kind"]) for each in known], np.int32),
        np.array([each["ts"] * 1000 for each in known], np.int64),
        np.array([each["known_at"] * 1000 for each in known], np.int64),
    )
    rows = feature_rows(features, panes, events=happened)
    return (
        {(names[d], s): state.ravel() for d, s, state in zip(panes.device, panes.start, panes.state, strict=True)},
        {(names[d], e): value for d, e, value in zip(rows.device, rows.end, rows.values, strict=True)},
    )


def stored(rows: pa.Table, time: str, columns: Iterable[str]) -> dict[Any, Any]:
    values = np.column_stack([rows[name].to_numpy() for name in columns])
    keys = list(zip(rows["device"].to_pylist(), rows[time].to_pylist(), strict=True))
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, values, strict=True))


def assert_same(found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-9, equal_nan=True, err_msg=str(key))


def assert_complete(
    plant: Plant, messages: Iterable[Any], features: FeatureSet = FAN_FEATURES, events: Iterable[Any] = ()
) -> None:
    panes, rows = in_one_go(messages, features, events)
    names = [f"{signal}.{field}" for signal in FANS.signal_names for field in PANE_FIELDS]
    assert_same(stored(plant.lake.panes(features).open().read(), "start", names), panes)
    assert_same(stored(load_features(plant.lake, features), "end", features.names), rows)
