"""Real telemetry by every path against the oracle: gaps, attributes nobody filled, constants, bursts of bearings."""

import json
import os
from functools import cache

import numpy as np
import pytest

from features import kernel
from features.kernel import burst_reference
from features.regime import Regimes
from pipelines.formats import decode
from serving.gateway.records import read
from tests.parity.oracle import Truth, truth
from tests.parity.paths import PATHS, watermarks
from tests.parity.real import SLICES, WITH_EVENTS, Slice, snapshots, vibration

pytestmark = pytest.mark.skipif("TIDEMILL_DATA" not in os.environ, reason="TIDEMILL_DATA names no folder of telemetry")
CASES = [
    pytest.param(name, path, id=f"{name}:{path}")
    for name in SLICES
    for path, way in PATHS.items()
    # Spark takes every synthetic set; on these slices of many dates it would spend a minute on starting tasks.
    if (way.events or name not in WITH_EVENTS) and not way.single and path != "spark"
]


@cache
def _slice(name: str) -> Slice:
    return SLICES[name]()


@cache
def _truth(name: str) -> Truth:
    features, readings = _slice(name).features, _slice(name).readings
    return truth(features, readings.device, readings.times, readings.values, readings.events)


@pytest.mark.parametrize(("name", "path"), CASES)
def test_real_readings_become_the_same_features_by_every_path(name: str, path: str) -> None:
    features, readings = _slice(name).features, _slice(name).readings
    found, right, lateness = PATHS[path].run(features, readings), _truth(name), PATHS[path].lateness
    passed = watermarks(readings, lateness(features)) if lateness is not None else {}
    chosen = [row for row, (code, end) in enumerate(right.keys) if end <= passed.get(code, end)]
    keys = [right.keys[row] for row in chosen]
    assert len(keys) > 12
    assert sorted(found) == keys
    expected, scales = right.values[chosen], right.scales[chosen]
    values = np.array([found[key] for key in keys])
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    with np.errstate(invalid="ignore"):
        wrong = np.abs(values - expected) > 1e-9 * scales
    assert not wrong.any(), sorted({features.names[column] for column in np.flatnonzero(wrong.any(axis=0))})


@pytest.mark.parametrize("name", SLICES)
def test_the_slices_hold_what_they_are_there_for(name: str) -> None:
    values = _slice(name).readings.values
    never = np.isnan(values).all(axis=0).sum()
    assert never == {"backblaze": 2, "azure_pdm": 5, "azure_pdm_upkeep": 5}.get(name, 0)
    assert (~np.isnan(_truth(name).values)).mean() > 0.3


def test_engines_in_one_condition_are_told_in_standard_deviations() -> None:
    features = _slice("cmapss").features
    assert isinstance(features.regimes, Regimes)
    scores = features.prepared(_slice("cmapss").readings.values)
    assert np.isfinite(scores).all()
    places = [features.fleet.signal_names.index(name) for name in features.regimes.signals]
    assert (scores[:, places[0]] == 0.0).all()  # a sensor that never changes
    spread = scores[:, places[1:]].std(axis=0)
    assert ((spread > 0.5) & (spread < 2)).all()


def test_snapshots_read_in_c_and_in_numpy_are_the_same() -> None:
    fleet = vibration()
    _, samples = snapshots("Bearing1_1")
    in_c = np.array([fleet.bursts[0].read(one[0]) for one in samples])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "burst", burst_reference.burst)
        in_numpy = np.array([fleet.bursts[0].read(one[0]) for one in samples])
    np.testing.assert_allclose(in_c, in_numpy, rtol=1e-9)


def test_snapshots_as_json_become_the_same_readings_on_the_gateway_and_in_the_ingest() -> None:
    fleet = vibration()
    times, samples = snapshots("Bearing3_1")
    records = [
        {
            "device": "bearing",
            "ts": time // 1000,
            "received": time // 1000,
            "acc_h": one[0].tolist(),
            "acc_v": one[1].tolist(),
        }
        for time, one in zip(times[::5].tolist(), samples[::5], strict=True)
    ]
    body = "\n".join(map(json.dumps, records)).encode()
    expected = [[value for axis in (0, 1) for value in fleet.bursts[axis].read(one[axis])] for one in samples[::5]]
    ingested = decode(body, fleet.mapping, fleet.signal_names, bursts=fleet.bursts)
    arrived = read(body, fleet, None)
    for judged in (ingested, arrived):
        assert len(judged.times) == len(records) > 10
        np.testing.assert_array_equal(judged.values, expected)
    assert not ingested.rejects
    assert not arrived.rejected


@pytest.mark.parametrize("signal", ["h_kurtosis", "h_rms", "h_band_0", "h_band_1000", "h_band_2000"])
def test_a_bearing_that_fails_is_heard_in_the_features_of_its_bursts(signal: str) -> None:
    features, right = _slice("femto").features, _truth("femto")
    column = right.values[[code == 0 for code, _ in right.keys], features.names.index(f"{signal}_mean_30min")]
    early, late = column[: len(column) // 4], column[-3:]
    assert late.min() > 1.3 * np.nanmax(early)
