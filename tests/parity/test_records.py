"""The gateway and the ingest read telemetry by their own code: whatever a record is, both believe it or both do not."""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.schema import Fleet, Mapping, Signal
from pipelines.formats import decode
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
)
FLEETS = tuple(
    replace(
        Fleet("vans", "", (Signal("speed", "km/h", 0, 130), Signal("load", "kg", -9, 900)), DAY, DAY, DAY, DAY),
        mapping=mapping,
    )
    for mapping in MAPPINGS
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
                     "2025-11-24T16:00:00", "2025-13-24T16:00:00Z", "2025-11-24", "1764000000000"]),
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
    ts: object = {"s": NOW // 1_000_000, "iso": "2025-11-24T16:00:00Z"}.get(fleet.mapping.time_unit, NOW // 1000)
    return SOUND | {"ts": ts}


def believed_by_ingest(body: bytes, fleet: Fleet) -> tuple[Counter[object], Counter[str]]:
    judged = believe(fleet, decode(body, fleet.mapping, fleet.signal_names), NOW)
    rows = zip(judged.device.to_pylist(), judged.times.tolist(), map(repr, judged.values.tolist()), strict=True)
    return Counter(rows), Counter(reject.reason.value for reject in judged.rejects)


def believed_by_gateway(body: bytes, fleet: Fleet) -> tuple[Counter[object], Counter[str]]:
    readings = read(body, fleet, NOW)
    rows = zip(readings.devices, readings.times.tolist(), map(repr, readings.values.tolist()), strict=True)
    return Counter(rows), Counter({reason.value: count for reason, count in readings.rejected.items()})


@pytest.mark.parametrize("fleet", FLEETS, ids=lambda fleet: str(fleet.mapping))
@settings(max_examples=150, deadline=None)
@given(st.lists(records(), max_size=4))
def test_both_believe_the_same_records_and_give_the_same_reasons(fleet, found):
    body = b"\n".join(json.dumps(record).encode() for record in [sound(fleet), *found])
    assert believed_by_gateway(body, fleet) == believed_by_ingest(body, fleet)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([
    '{"device":"v-1","ts":1764000000000,"speed":1}', '{"device":"v-2","ts":1764000000000,"speed":2}', "{oops",
    "rubbish", "\n", " ", ",", "[", "]", "null", "17", '"text"', "}", "{", '{"device":"v-3","ts":1764000000000,',
]), max_size=8))  # fmt: skip
def test_both_find_the_same_records_in_any_framing(parts):
    fleet = FLEETS[0]
    body = (json.dumps(sound(fleet)) + "\n" + "".join(parts)).encode()
    assert believed_by_gateway(body, fleet) == believed_by_ingest(body, fleet)
