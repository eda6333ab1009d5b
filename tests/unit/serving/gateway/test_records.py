import json
import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from features.errors import FleetError
from features.schema import Fleet, Mapping, Reason, Signal
from serving.gateway.records import check, read

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


FRAMINGS = {
    "an object over several lines": json.dumps(GOOD, indent=2).encode(),
    "an array": json.dumps([GOOD, GOOD]).encode(),
    "an array over several lines": json.dumps([GOOD, GOOD], indent=2).encode(),
    "one after the other": json.dumps(GOOD).encode() * 2,
    "several on a line": lines(GOOD, GOOD).replace(b"\n", b",") + b"\n" + lines(GOOD),
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_records_are_read_in_any_framing(framing):
    body = FRAMINGS[framing]
    readings = read(body, FLEET, NOW)
    assert len(readings.devices) == body.count(b"device")
    assert not readings.rejected


REJECTED = {
    "no JSON": (b"{oops", Reason.UNREADABLE),
    "not UTF-8": (lines(GOOD).replace(b"v-1", b"v-\xff"), Reason.UNREADABLE),
    "half a surrogate": (lines(GOOD).replace(b"v-1", rb"\ud800"), Reason.UNREADABLE),
    "JSON but no object": (b"17", Reason.UNREADABLE),
    "brackets without end": (b'{"a":' * 100_000, Reason.UNREADABLE),
    "no device": ({**GOOD, "device": None}, Reason.NO_DEVICE),
    "null": (b"null", Reason.NO_DEVICE),
    "a device without a name": ({**GOOD, "device": ""}, Reason.NO_DEVICE),
    "a device that is a number": ({**GOOD, "device": 7}, Reason.WRONG_TYPE),
    "no time": ({**GOOD, "ts": None}, Reason.NO_TIME),
    "a time beyond all calendars": ({**GOOD, "ts": 10**300}, Reason.NO_TIME),
    "a time in words": ({**GOOD, "ts": "noon"}, Reason.WRONG_TYPE),
    "a time between milliseconds": ({**GOOD, "ts": 0.5}, Reason.WRONG_TYPE),
    "no signal": ({**GOOD, "speed": None}, Reason.NO_SIGNALS),
    "no signal but a constant": (lines(GOOD).replace(b"80", b"NaN"), Reason.NO_SIGNALS),
    "text for a number": ({**GOOD, "speed": "80"}, Reason.WRONG_TYPE),
    "a boolean for a number": ({**GOOD, "speed": True}, Reason.WRONG_TYPE),
    "out of range": ({**GOOD, "speed": 131}, Reason.OUT_OF_RANGE),
    "larger than any float": ({**GOOD, "speed": 10**450}, Reason.OUT_OF_RANGE),
    "in the future": ({**GOOD, "ts": (NOW + 2 * 86_400_000_000) // 1000}, Reason.IN_THE_FUTURE),
    "too old": ({**GOOD, "ts": (NOW - 2 * 86_400_000_000) // 1000}, Reason.TOO_OLD),
    "from before 1970": ({**GOOD, "ts": -5}, Reason.TOO_OLD),
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_record_is_counted_under_its_reason_and_its_neighbours_are_taken(case):
    record, reason = REJECTED[case]
    readings = read(lines(GOOD, record, GOOD), FLEET, NOW)
    assert readings.rejected == {reason: 1}
    assert len(readings.devices) == len(readings.times) == len(readings.values) == 2


@pytest.mark.parametrize("bad", [0, 499, 500, 1200])
def test_a_bad_record_anywhere_in_a_large_body_costs_no_other(bad):
    records = [lines({**GOOD, "device": f"v-{number}"}) for number in range(1300)]
    expected = [f"v-{number}" for number in range(1300) if number != bad]
    records[bad] = b"{oops"
    readings = read(b"\n".join(records), FLEET, NOW)
    assert readings.devices == expected
    assert readings.rejected == {Reason.UNREADABLE: 1}


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
     ("iso", "2025-11-24T17:00:00.0000000+01:00"), ("iso", "2025-11-24 16:00Z")],
)  # fmt: skip
def test_times_come_in_the_unit_of_the_mapping(unit, value):
    fleet = replace(FLEET, mapping=Mapping(time_unit=unit))
    assert read(lines({**GOOD, "ts": value}), fleet, NOW).times.tolist() == [NOW]


def test_everything_can_stand_on_a_dotted_path():
    mapping = Mapping("meta.id", "meta.at", "ms", "meta.in", "body.values")
    record = {"meta": {"id": "v-9", "at": 5, "in": 6}, "body": {"values": {"speed": 3}}}
    readings = read(lines(record, {"meta": 1, "body": {}}), replace(FLEET, mapping=mapping), NOW)
    assert (readings.devices, readings.times.tolist()) == (["v-9"], [5000])
    assert readings.rejected == {Reason.WRONG_TYPE: 1}


@pytest.mark.parametrize("text", ["2025-11-24T16:00:00", "20251124T160000Z", "2025-W48-1T16:00:00Z", "noon", ""])
def test_a_time_in_text_names_its_zone_and_is_written_in_the_one_way(text):
    fleet = replace(FLEET, mapping=Mapping(time_unit="iso"))
    assert read(lines({**GOOD, "ts": text}), fleet, NOW).rejected == {Reason.NO_TIME: 1}


def test_an_empty_body_holds_nothing():
    readings = read(b"\n \n", FLEET, NOW)
    assert len(readings.devices) == 0
    assert not readings.rejected


def test_a_mapping_of_stored_objects_is_refused_before_it_serves():
    check(FLEET)
    check(replace(FLEET, stored=Mapping(format="csv")))
    with pytest.raises(FleetError, match=r"cannot read by this mapping: rows, body"):
        check(replace(FLEET, mapping=Mapping(rows="m[]", body="Body")))


def test_renamed_signals_and_the_first_of_several_paths():
    mapping = Mapping(("id", "meta.id"), ("at", "ts"), names={"speed": '"a.b".c'}, received=None)
    body = b'{"meta":{"id":"p-1"},"ts":60000,"a.b":{"c":12.5}}'
    readings = read(body, replace(FLEET, mapping=mapping), 60_000_000)
    assert readings.devices == ["p-1"]
    assert readings.values[0, 0] == 12.5
