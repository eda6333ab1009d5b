from datetime import timedelta

import numpy as np
import pytest

from pipelines.lake import Lake
from pipelines.monitor import monitor
from serving.store import open_store
from tests.fakes.predictions import DAY, HOUR, NOW, PUMPS, START, USECASE, a_fortnight, calm, prediction, send
from tests.fakes.watched import NAMES, SIGNALS, TRAINED, keep_panes, publish, remembering

FLOW = [at for at, name in enumerate(NAMES) if name.startswith("flow_")]


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"), create=True)


@pytest.fixture
def digest(store):
    return publish(store, remembering())


def fortnight(digest, change=lambda pump, hour, values: values, **other):
    random = np.random.default_rng(1)
    return [
        prediction(
            pump,
            START + hour * HOUR,
            digest=digest,
            score=random.uniform(),
            features=change(pump, hour, calm(random)),
            **other,
        )
        for pump in PUMPS
        for hour in range(0, 14 * 24, 3)
    ]


def found(tmp_path, store, predictions, now_us=NOW):
    send(tmp_path, store, predictions)
    return monitor(store, Lake(store.uri), USECASE, now_us)


def without_flow(pump, hour, values):
    del pump, hour
    values[FLOW] = np.nan
    return values


def test_a_calm_fleet_is_sound(tmp_path, store, digest):
    assert found(tmp_path, store, fortnight(digest)).findings == []


def test_missing_values_are_a_finding_and_no_drift(tmp_path, store, digest):
    summary = found(tmp_path, store, fortnight(digest, without_flow))
    assert summary.findings == ["flow_mean_1h is missing in 100% of the latest week's windows, in training in 2%"]
    assert (summary.drifted, summary.retrain) == ([], False)


def test_as_much_missing_as_in_training_is_no_finding(tmp_path, store):
    assert found(tmp_path, store, fortnight(publish(store, remembering(missing=0.95)), without_flow)).findings == []


def test_a_frozen_sensor_is_a_finding_and_no_drift(tmp_path, store, digest):
    random = np.random.default_rng(2)
    flow = SIGNALS.index("flow")
    for begin, days, still in ((TRAINED[0], 20, False), (START, 14, True)):
        times = np.arange(begin, begin + days * DAY, HOUR)
        values = {pump: random.normal(5, 2, (len(times), len(SIGNALS))) for pump in PUMPS}
        for pump in PUMPS if still else ():
            values[pump][:, flow] = 99.0
        keep_panes(Lake(store.uri), {pump: (times, each) for pump, each in values.items()})

    def stuck(pump, hour, values):
        del pump, hour
        values[FLOW] = 99.0
        return values

    summary = found(tmp_path, store, fortnight(digest, stuck))
    assert summary.findings == ["flow stands still on 6 of 6 devices where it moved in training"]
    assert (summary.drifted, summary.reasons, summary.retrain) == ([], [], False)


@pytest.mark.parametrize(
    ("lag", "sentence"),
    [
        (timedelta(minutes=-10), "made before their window had ended"),
        (timedelta(hours=30), "a device is behind, or was late"),
    ],
)
def test_clocks_apart_are_a_finding_of_their_own(tmp_path, store, digest, lag, sentence):
    ends, lag_us = [START + hour * HOUR for hour in range(1, 14 * 24, 3)], lag // timedelta(microseconds=1)
    apart = [
        prediction(
            "pump-0", end, digest=digest, predicted_at_us=end + lag_us, features=calm(np.random.default_rng(end))
        )
        for end in ends
    ]
    summary = found(tmp_path, store, [*fortnight(digest), *apart])
    assert [sentence in each for each in summary.findings] == [True]
    assert summary.findings[0].startswith("112 of 784 predictions are made")
    assert summary.drifted == []


def test_a_device_ten_years_ahead_neither_ends_the_log_nor_moves_anything(tmp_path, store, digest):
    ahead = [
        prediction("pump-0", START + 3650 * DAY + hour * HOUR, digest=digest, predicted_at_us=START + hour * HOUR)
        for hour in range(5)
    ]
    now = START + 13 * DAY + 22 * HOUR
    later_today = prediction("pump-1", now + HOUR, digest=digest, predicted_at_us=now)
    summary = found(tmp_path, store, [*fortnight(digest), *ahead, later_today], now)
    assert (summary.windows, summary.devices) == (672, 6)
    assert summary.findings == ["6 of 678 predictions are about windows that end after now, and are left out"]


def test_a_device_without_a_clock_is_left_out_and_told(tmp_path, store, digest):
    lost = [prediction("pump-0", hour * HOUR, digest=digest, predicted_at_us=START + hour * HOUR) for hour in range(5)]
    summary = found(tmp_path, store, [*fortnight(digest), *lost])
    assert summary.windows == 672
    told = "5 of 677 predictions are about windows that ended more than four weeks before, and are left out"
    assert summary.findings == [told]


def test_old_predictions_made_long_ago_are_no_finding(tmp_path, store, digest):
    old = [prediction("pump-0", START - 60 * DAY + hour * HOUR, digest=digest) for hour in range(5)]
    assert found(tmp_path, store, [*fortnight(digest), *old]).findings == []


def test_a_fortnight_without_a_gate_record_says_why_scores_are_compared_with_themselves(tmp_path, store):
    from tests.fakes.predictions import publish as release  # noqa: PLC0415 - the name is taken

    release(store)
    summary = found(tmp_path, store, a_fortnight(np.random.default_rng(1)))
    assert any("first week" in note for note in summary.notes)
