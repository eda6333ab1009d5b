"""What a fleet declares about bursts, and what becomes of what stands in a record."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from features.burst import STATISTICS, Burst, BurstColumns, BurstFault, BurstReading, RefusedBurstError
from features.errors import FleetError
from features.schema import Fleet, Reason, Signal

DAY = timedelta(days=1)
BURST = Burst(
    samples="acc",
    rate_hz=1000,
    readings=(
        BurstReading("low_band", "band_energy", (0, 100)),
        BurstReading("peak", "peak_frequency"),
        BurstReading("high_band", "band_energy", (100, 1000)),
        BurstReading("kurtosis", "kurtosis"),
    ),
    segment=64,
    longest=4000,
)
SIGNALS = ("speed", "kurtosis", "low_band", "high_band", "peak")
FLEET = Fleet("fans", "", tuple(Signal(name, "1", 0, 1e6) for name in SIGNALS), DAY, DAY, DAY, DAY, bursts=(BURST,))


def _tone(hertz: float, count: int = 640) -> np.ndarray:
    tone: np.ndarray = np.sqrt(2) * np.sin(2 * np.pi * hertz * np.arange(count) / 1000)
    return tone


def test_readings_come_in_the_order_they_are_declared_in():
    low, peak, high, kurtosis = BURST.read(_tone(218.75))
    assert (peak, round(low, 6), round(high, 6), round(kurtosis, 6)) == (218.75, 0.0, 1.0, 1.5)
    low, peak, high, _ = BURST.read(_tone(46.875))
    assert (peak, round(low, 6), round(high, 6)) == (46.875, 1.0, 0.0)


def test_every_statistic_can_be_declared():
    readings = tuple(BurstReading(n, n, (0, 500) if n == "band_energy" else None) for n in STATISTICS)
    rms, crest, kurtosis, peak, energy = replace(BURST, readings=readings).read(_tone(218.75))
    np.testing.assert_allclose([rms, crest, kurtosis, peak, energy], [1, np.sqrt(2), 1.5, 218.75, 1], rtol=1e-6)


def test_a_band_holds_its_low_end_and_not_its_high_end():
    step = 1000 / 64
    parts = [replace(BURST, readings=(BurstReading("a", "band_energy", band),)).read(_tone(218.75))[0]
             for band in [(0, 14 * step), (14 * step, 15 * step), (15 * step, 500.1)]]  # fmt: skip
    whole = replace(BURST, readings=(BurstReading("a", "band_energy", (0, 1000)),)).read(_tone(218.75))[0]
    assert parts[1] > parts[0] > 0
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-12)


def test_samples_become_readings_of_the_derived_signals_and_leave_the_others_alone():
    row = [5.0, np.nan, np.nan, 3.0, np.nan]
    BurstColumns(FLEET.bursts, FLEET.signal_names).fill({"acc": _tone(218.75).tolist()}, row)
    assert row[0] == 5.0
    np.testing.assert_allclose(row[1:], BURST.read(_tone(218.75))[[3, 0, 2, 1]])


def test_a_record_without_samples_keeps_what_it_says():
    row = [5.0, 3.0, np.nan, np.nan, np.nan]
    BurstColumns(FLEET.bursts, FLEET.signal_names).fill({"speed": 5.0, "acc": None}, row)
    assert row[:2] == [5.0, 3.0]


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        pytest.param("abc", BurstFault.WRONG_TYPE, id="a text"),
        pytest.param(7.5, BurstFault.WRONG_TYPE, id="a number"),
        pytest.param({"0": 1.0}, BurstFault.WRONG_TYPE, id="an object"),
        pytest.param([1.0] * 63 + ["1.0"], BurstFault.WRONG_TYPE, id="a text among the samples"),
        pytest.param([1.0] * 63 + [True], BurstFault.WRONG_TYPE, id="a truth value among the samples"),
        pytest.param([[1.0]] * 64, BurstFault.WRONG_TYPE, id="lists in the list"),
        pytest.param([], BurstFault.LENGTH, id="no samples"),
        pytest.param([1.0] * 63, BurstFault.LENGTH, id="a sample less than a segment"),
        pytest.param([1.0] * 4001, BurstFault.LENGTH, id="a sample too many"),
        pytest.param([1.0] * 63 + [None], BurstFault.GAPS, id="a null among the samples"),
        pytest.param([1.0] * 63 + [np.nan], BurstFault.GAPS, id="a NaN among the samples"),
        pytest.param([1.0] * 63 + [-np.inf], BurstFault.GAPS, id="an infinite sample"),
        pytest.param([1] * 63 + [10**400], BurstFault.GAPS, id="an integer beyond every double"),
    ],
)
def test_what_is_no_burst_is_refused_with_its_reason(found, fault):
    with pytest.raises(RefusedBurstError, match=r"^acc ") as refused:
        BURST.parse(found)
    assert refused.value.fault == fault
    assert Reason(refused.value.fault).sentence


def test_whole_numbers_are_samples():
    np.testing.assert_array_equal(BURST.parse([1, 2.5] * 32), [1.0, 2.5] * 32)


def test_a_fleet_with_bursts_survives_json_and_its_digest_knows_every_parameter():
    document = json.loads(json.dumps(FLEET.to_json(), allow_nan=False))
    assert Fleet.from_json(document) == FLEET
    others = [
        replace(BURST, rate_hz=1001), replace(BURST, segment=128), replace(BURST, longest=4001),
        replace(BURST, readings=BURST.readings[:3]),
        replace(BURST, readings=(BurstReading("low_band", "band_energy", (0, 101)), *BURST.readings[1:])),
    ]  # fmt: skip
    digests = {replace(FLEET, bursts=(burst,)).digest for burst in [BURST, *others]} | {
        replace(FLEET, bursts=()).digest
    }
    assert len(digests) == 7


def _reading(*arguments):
    return {"readings": (BurstReading(*arguments),)}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"samples": "a.b"}, id="a dotted field"),
        pytest.param({"rate_hz": 0}, id="no rate"),
        pytest.param({"rate_hz": float("nan")}, id="a rate that is no number"),
        pytest.param({"segment": 1000}, id="a segment that is no power of two"),
        pytest.param({"segment": 2}, id="too short a segment"),
        pytest.param({"longest": 63}, id="bursts shorter than a segment"),
        pytest.param({"longest": 10**9}, id="bursts without bound"),
        pytest.param({"readings": ()}, id="no readings"),
        pytest.param({"readings": (BURST.readings[1],) * 2}, id="a signal twice"),
        pytest.param(_reading("a", "median"), id="an unknown statistic"),
        pytest.param(_reading("a", "band_energy"), id="an energy without a band"),
        pytest.param(_reading("a", "rms", (0, 100)), id="a band without an energy"),
        pytest.param(_reading("a", "band_energy", (100, 100)), id="an empty band"),
        pytest.param(_reading("a", "band_energy", (-1, 100)), id="a band below zero"),
        pytest.param(_reading("a", "band_energy", (1, 2)), id="a band between two frequencies"),
        pytest.param(_reading("a", "band_energy", (501, 600)), id="a band above the spectrum"),
        pytest.param(_reading("a", "band_energy", (float("nan"), 600)), id="a band that is no number"),
        pytest.param(_reading("a", "band_energy", (0, float("inf"))), id="a band without end"),
    ],
)
def test_a_burst_that_contradicts_itself_is_refused(change):
    with pytest.raises(FleetError):
        replace(BURST, **change)


@pytest.mark.parametrize(
    "bursts",
    [
        pytest.param((replace(BURST, samples="speed"),), id="a field that is a signal"),
        pytest.param((BURST, BURST), id="one field twice"),
        pytest.param((BURST, replace(BURST, samples="other")), id="a signal derived twice"),
        pytest.param((replace(BURST, **_reading("torque", "rms")),), id="a signal there is not"),
    ],
)
def test_bursts_that_do_not_fit_the_fleet_are_refused(bursts):
    with pytest.raises(FleetError):
        replace(FLEET, bursts=bursts)
