"""The gateway and the ingest read telemetry by their own code: whatever a record is, both believe it or both do not."""

import json
import math
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.burst import Burst, BurstReading
from features.schema import Fleet, Mapping, Reason, Signal
from features.unknown import FieldTree, plain_paths
from pipelines.formats import Executor, decode
from pipelines.validate import believe
from serving.gateway.records import read

DAY = timedelta(days=1)
NOW = 1_764_000_000_000_000
MAPPINGS = (
    Mapping(),
    Mapping(signals="values"),
    Mapping("meta.id", "meta.at", "us", None, "body.values"),
    Mapping(time_unit="s"),
    Mapping(time_unit="iso", received=None),
    Mapping(("device", "meta.id"), ("ts", "received"), names={"load": "meta.at"}, sequence="other"),
    Mapping(time_unit="iso", zone="+01:00", received="received", received_unit="s"),
    Mapping(time_unit="ns", quoted=True, signals="values", names={"speed": "speed"}),
    Mapping(time_unit="s", quoted=True, sequence=("other", "values.load")),
)
FLEETS = tuple(
    replace(
        Fleet("vans", "", (Signal("speed", "km/h", 0, 130), Signal("load", "kg", -9, 900)), DAY, DAY, DAY, DAY),
        mapping=mapping,
    )
    for mapping in MAPPINGS
)
FLEETS += (
    replace(FLEETS[0], enrol=False, devices=("v-0", "v-1")),
    replace(FLEETS[1], signals=(replace(FLEETS[1].signals[0], required=True), FLEETS[1].signals[1])),
    *(replace(FLEETS[number], unknown_fields="count") for number in (1, 5)),
    *(replace(FLEETS[number], unknown_fields="reject") for number in (1, 7)),
)

odd = st.sampled_from([
    None, "", "x", "80", True, False, 0, 1, -1, 80.0, 80.5, 1e300, -1e300, 131, 10**25, -(10**25), [], {}, [1],
    {"a": 1}, float("nan"), float("inf"), "v-ö", "\ud800",
])  # fmt: skip
moments = st.one_of(
    odd,
    st.integers(NOW // 1000 - 200_000_000, NOW // 1000 + 200_000_000),
    st.integers(NOW - 2 * 10**11, NOW + 2 * 10**11),
    st.floats(NOW / 1e6 - 2e5, NOW / 1e6 + 2e5),
    st.sampled_from(["2025-11-24T16:00:00Z", "2025-11-24T17:00:00+01:00", "2025-11-24 16:00:00.123456789Z",
                     "2025-11-24T16:00:00", "2025-13-24T16:00:00Z", "2025-11-24", "1764000000000",
                     "11/24/2025 4:00:00 PM", "1500-01-01T00:00:00Z", " 1764000000.5 ", "1764000000000000000"]),
)  # fmt: skip
devices = st.one_of(st.sampled_from(["v-1", "v-2"]), odd)
numbers = st.one_of(st.floats(-10, 140), st.integers(-10, 140), odd)
signals = st.one_of(st.fixed_dictionaries({}, optional={"speed": numbers, "load": numbers}), odd)


@st.composite
def records(draw):
    flat = draw(st.fixed_dictionaries({}, optional={"speed": numbers, "load": numbers}))
    named = draw(
        st.fixed_dictionaries(
            {}, optional={"device": devices, "ts": moments, "received": moments, "values": signals, "other": odd}
        )
    )
    nested = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "meta": st.one_of(odd, st.fixed_dictionaries({}, optional={"id": devices, "at": moments})),
                "body": st.one_of(odd, st.fixed_dictionaries({}, optional={"values": signals})),
            },
        )
    )
    return flat | named | nested


# A sound record stands in each body: an object of which nothing at all is telemetry is put aside whole by the ingest.
SOUND = {
    "device": "v-0", "ts": NOW // 1000, "speed": 1, "values": {"speed": 1},
    "meta": {"id": "v-0", "at": NOW}, "body": {"values": {"speed": 1}},
}  # fmt: skip


def sound(fleet: Fleet) -> dict[str, object]:
    units = {"s": NOW // 1_000_000, "iso": "2025-11-24T16:00:00Z", "ns": NOW * 1000}
    record = SOUND | {"ts": units.get(fleet.mapping.time_unit, NOW // 1000)}
    if fleet.unknown_fields == "reject":  # what nobody reads must not be in it
        known = FieldTree(plain_paths(fleet.mapping, fleet.signal_names, fleet.bursts))
        while names := known.unknown(record):
            record = {name: value for name, value in record.items() if name not in {n.partition(".")[0] for n in names}}
    return record


Believed = tuple[Counter[object], Counter[str], Counter[str]]


def believed_by_ingest(body: bytes, fleet: Fleet, by: Executor = "either") -> Believed:
    decoded = decode(body, fleet.mapping, fleet.signal_names, bursts=fleet.bursts, by=by, unknown=fleet.unknown_fields)
    judged = believe(fleet, decoded, NOW)
    rows = zip(judged.device.to_pylist(), judged.times.tolist(), map(repr, judged.values.tolist()), strict=True)
    return Counter(rows), Counter(reject.reason.value for reject in judged.rejects), Counter(judged.unknown)


def believed_by_gateway(body: bytes, fleet: Fleet) -> Believed:
    readings = read(body, fleet, NOW)
    rows = zip(readings.devices, readings.times.tolist(), map(repr, readings.values.tolist()), strict=True)
    reasons = Counter({reason.value: count for reason, count in readings.rejected.items()})
    return Counter(rows), reasons, Counter(readings.unknown)


@pytest.mark.parametrize("fleet", FLEETS, ids=range(len(FLEETS)))
@given(st.lists(records(), max_size=4))
def test_both_believe_the_same_records_and_give_the_same_reasons(fleet, found):
    body = b"\n".join(json.dumps(record).encode() for record in [sound(fleet), *found])
    believed = believed_by_gateway(body, fleet)
    assert believed == believed_by_ingest(body, fleet)
    if fleet.unknown_fields != "ignore":
        assert believed == believed_by_ingest(body, fleet, "rows")


@given(st.lists(st.sampled_from([
    '{"device":"v-1","ts":1764000000000,"speed":1}', '{"device":"v-2","ts":1764000000000,"speed":2}', "{oops",
    "rubbish", "\nrubbish", "\r\n]\n", "\n", " ", ",", "[", "]", "null", "17", '"text"', "}", "{",
    '{"device":"v-3","ts":1764000000000,',
]), max_size=8))  # fmt: skip
def test_both_find_the_same_records_in_any_framing(parts):
    fleet = FLEETS[0]
    body = (json.dumps(sound(fleet)) + "\n" + "".join(parts)).encode()
    assert believed_by_gateway(body, fleet) == believed_by_ingest(body, fleet)


VIBRATING = tuple(
    replace(
        fleet,
        signals=(*fleet.signals, Signal("peak", "Hz", 0, 400), Signal("kurtosis", "1", 0, 50)),
        bursts=(
            Burst(
                "acc",
                1000,
                (BurstReading("kurtosis", "kurtosis"), BurstReading("peak", "peak_frequency")),
                8,
                longest=20,
            ),
        ),
    )
    for fleet in FLEETS
)
samples = st.lists(st.floats(-5, 5) | st.integers(-5, 5), min_size=7, max_size=21)
spoilt = st.tuples(samples, st.integers(0, 6), odd).map(lambda s: [*s[0][: s[1]], s[2], *s[0][s[1] + 1 :]])
bursts = st.one_of(samples, spoilt, odd, st.sampled_from([[0.5] * 8, [1e200, -1e200] * 5, [10**400] * 9]))


@st.composite
def vibrating(draw):
    record = draw(records())
    found = draw(st.fixed_dictionaries({}, optional={"acc": bursts, "peak": numbers, "kurtosis": numbers}))
    inside = {"values": {**record["values"], **found}} if isinstance(record.get("values"), dict) else {}
    whole = {"device": "v-1", "ts": NOW // 1000} if draw(st.booleans()) else {}
    return record | found | inside | whole | {"body": {"values": found}}


@pytest.mark.parametrize("fleet", VIBRATING, ids=range(len(FLEETS)))
@given(st.lists(vibrating(), max_size=4))
def test_both_read_the_same_off_bursts_and_refuse_the_same(fleet, found):
    body = b"\n".join(json.dumps(record).encode() for record in [sound(fleet), *found])
    assert believed_by_gateway(body, fleet) == believed_by_ingest(body, fleet)


@pytest.mark.parametrize(
    ("acc", "fate"),
    [
        pytest.param([1.0, -1.0] * 4, Reason.OUT_OF_RANGE, id="a peak beyond the valid range"),
        pytest.param([0.0, 1.0, 0.0, -1.0] * 2, 250.0, id="a burst"),
        pytest.param([2.0] * 8, math.nan, id="equal samples have no peak"),
        pytest.param([1.0] * 7, Reason.BURST_LENGTH, id="too short"),
        pytest.param([1.0] * 21, Reason.BURST_LENGTH, id="too long"),
        pytest.param([1.0] * 7 + [None], Reason.BURST_GAPS, id="a missing sample"),
        pytest.param([1.0] * 7 + [math.nan], Reason.BURST_GAPS, id="a NaN"),
        pytest.param([1.0] * 7 + ["1"], Reason.WRONG_TYPE, id="a text"),
        pytest.param(7.0, Reason.WRONG_TYPE, id="a number"),
    ],
)
def test_both_make_of_a_burst_what_is_right(acc, fate):
    fleet = VIBRATING[1]
    record = {"device": "v-1", "ts": NOW // 1000, "values": {"acc": acc, "speed": 1.0}}
    for believed in (believed_by_gateway, believed_by_ingest):
        rows, rejected, _ = believed(json.dumps(record).encode(), fleet)
        if isinstance(fate, Reason):
            assert (not rows, dict(rejected)) == (True, {fate.value: 1})
        else:
            assert [str(row).split(", ")[4] for row in rows] == [str(fate)], rows
            assert not rejected
