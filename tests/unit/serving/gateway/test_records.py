import json
import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from features.schema import Fleet, Mapping, Reason, Signal
from serving.gateway.records import read

DAY = timedelta(days=1)
FLEET = Fleet("vans", "", (Signal("speed", "km/h", 0, 130), Signal("load", "kg", 0, 900)), DAY, DAY, DAY, DAY)
NOW = 1_764_000_000_000_000
GOOD = {"device": "v-1", "ts": NOW // 1000, "speed": 80, "load": None}


def lines(*records: object) -> bytes:
    return b"\n".join(record if isinstance(record, bytes) else json.dumps(record).encode() for record in records)


def test_json_lines_become_columns():
    readings = read(lines(GOOD, {**GOOD, "device": "v-2", "load": 12.5}) + b"\r\n\n", FLEET, NOW)
    assert readings.devices == ["v-1", "v-2"]
    assert readings.times.tolist() == [NOW, NOW]
    np.testing.assert_array_equal(readings.values, [[80, math.nan], [80, 12.5]])
    assert not readings.rejected


@pytest.mark.parametrize(
    "body",
    [json.dumps(GOOD, indent=2).encode(), json.dumps([GOOD]).encode(), json.dumps([GOOD], indent=2).encode()],
    ids=["an object over several lines", "an array", "an array over several lines"],
)
def test_other_framings_of_json_are_read_too(body):
    assert read(body, FLEET, NOW).devices == ["v-1"]


REJECTED = {
    "no JSON": (b"{oops", Reason.UNREADABLE),
    "not UTF-8": (b'{"device": "\xff"}', Reason.UNREADABLE),
    "JSON but no object": (b"17", Reason.UNREADABLE),
    "a constant that JSON does not have": (lines(GOOD).replace(b"80", b"NaN"), Reason.UNREADABLE),
    "brackets without end": (b"[" * 100_000, Reason.UNREADABLE),
    "no device": ({**GOOD, "device": None}, Reason.NO_DEVICE),
    "a device without a name": ({**GOOD, "device": ""}, Reason.NO_DEVICE),
    "no time": ({**GOOD, "ts": None}, Reason.NO_TIME),
    "a time in words": ({**GOOD, "ts": "noon"}, Reason.NO_TIME),
    "a time beyond all calendars": ({**GOOD, "ts": 10**300}, Reason.NO_TIME),
    "no signal": ({**GOOD, "speed": None}, Reason.NO_SIGNALS),
    "text for a number": ({**GOOD, "speed": "80"}, Reason.WRONG_TYPE),
    "a boolean for a number": ({**GOOD, "speed": True}, Reason.WRONG_TYPE),
    "out of range": ({**GOOD, "speed": 131}, Reason.OUT_OF_RANGE),
    "larger than any float": ({**GOOD, "speed": 10**400}, Reason.OUT_OF_RANGE),
    "in the future": ({**GOOD, "ts": (NOW + 2 * 86_400_000_000) // 1000}, Reason.IN_THE_FUTURE),
    "too old": ({**GOOD, "ts": (NOW - 2 * 86_400_000_000) // 1000}, Reason.TOO_OLD),
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_record_is_counted_under_its_reason_and_its_neighbours_are_taken(case):
    record, reason = REJECTED[case]
    readings = read(lines(GOOD, record, GOOD), FLEET, NOW)
    assert readings.rejected == {reason: 1}
    assert len(readings.devices) == len(readings.times) == len(readings.values) == 2


def test_the_hubs_stamp_counts_and_not_the_clock():
    old = NOW - 400 * 86_400_000_000
    record = {**GOOD, "ts": old // 1000, "received": old // 1000}
    assert read(lines(record), FLEET, NOW).times.tolist() == [old]


def test_without_a_clock_records_are_taken_at_their_word():
    assert read(lines(GOOD), FLEET, now_us=0).rejected == {Reason.IN_THE_FUTURE: 1}
    assert read(lines(GOOD), FLEET, now_us=None).devices == ["v-1"]


@pytest.mark.parametrize(
    ("unit", "value"),
    [("s", NOW // 1_000_000), ("s", NOW / 1e6), ("ms", NOW // 1000), ("us", NOW), ("iso", "2025-11-24T16:00:00Z"),
     ("iso", "2025-11-24T17:00:00.0000000+01:00"), ("iso", "2025-11-24T16:00:00")],
)  # fmt: skip
def test_times_come_in_the_unit_of_the_mapping(unit, value):
    fleet = replace(FLEET, mapping=Mapping(time_unit=unit))
    assert read(lines({**GOOD, "ts": value}), fleet, NOW).times.tolist() == [NOW]


def test_everything_can_stand_on_a_dotted_path():
    mapping = Mapping("meta.id", "meta.at", "ms", "meta.in", "body.values")
    record = {"meta": {"id": "v-9", "at": 5, "in": 6}, "body": {"values": {"speed": 3}}}
    readings = read(lines(record, {"meta": 1, "body": {}}), replace(FLEET, mapping=mapping), NOW)
    assert (readings.devices, readings.times.tolist()) == (["v-9"], [5000])
    assert readings.rejected == {Reason.NO_DEVICE: 1}


def test_an_empty_body_holds_nothing():
    readings = read(b"\n \n", FLEET, NOW)
    assert len(readings.devices) == 0
    assert not readings.rejected
