import gzip
import json
import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from features.errors import FleetError
from features.schema import Mapping, Reason
from pipelines import jsonscan
from pipelines.formats import decode, decode_all, scanned, unpacking
from pipelines.formats.columns import Refused
from pipelines.records import UNSTAMPED, Decoded, RawObject
from pipelines.rejects import WHOLE

NESTED = Mapping(signals="values")
FLAT = Mapping(device="meta.id", time="at", time_unit="iso", received=None)
SIGNALS = ("flow", "speed")
T0 = 1_764_000_000_000


@pytest.fixture(scope="module", autouse=True, params=["scanned", "parsed by Arrow"])
def reader(request):
    """Both readers of columns: the scanner in C, and what reads where it refuses or was not compiled."""
    scanned.scanner_of.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "scanned":
            patch.setattr(jsonscan, "available", lambda: False)
        yield
    scanned.scanner_of.cache_clear()


def message(number: int, **fields: Any) -> dict[str, Any]:
    return {"device": f"pump-{number}", "ts": T0 + number, "values": {"flow": number + 0.5, "speed": number}} | fields


def text(*messages: object) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in messages)


def stored(*objects: bytes) -> list[RawObject]:
    return [RawObject(f"raw/{number}", data) for number, data in enumerate(objects)]


def read(data: bytes, mapping: Mapping = NESTED) -> Decoded:
    return decode(data, mapping, SIGNALS)


def reasons(decoded: Decoded) -> list[Reason]:
    return [reject.reason for reject in decoded.rejects]


FRAMINGS: dict[str, Callable[[list[Any]], bytes]] = {
    "lines": lambda m: text(*m),
    "lines, ended": lambda m: text(*m) + b"\n",
    "crlf": lambda m: text(*m).replace(b"\n", b"\r\n"),
    "blank lines": lambda m: text(*m).replace(b"\n", b"\n\n  \n"),
    "no separator": lambda m: text(*m).replace(b"\n", b""),
    "pretty": lambda m: "\n".join(json.dumps(each, indent=2) for each in m).encode(),
    "array": lambda m: json.dumps(m).encode(),
    "pretty array": lambda m: json.dumps(m, indent=2).encode(),
    "commas": lambda m: text(*m).replace(b"\n", b","),
    "byte order mark": lambda m: b"\xef\xbb\xbf" + text(*m),
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda b: b,
    "gzip": gzip.compress,
    "twice": lambda b: gzip.compress(gzip.compress(b)),
    "two members": lambda b: gzip.compress(b[:50]) + gzip.compress(b[50:]),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing_and_packing_gives_the_same_rows(framing, packing):
    messages = [message(n, note='a "}{" inside\nand {more', received=T0 + 60_000) for n in range(3)]
    decoded = read(PACKINGS[packing](FRAMINGS[framing](messages)))
    assert decoded.device.to_pylist() == ["pump-0", "pump-1", "pump-2"]
    assert decoded.times.tolist() == [(T0 + n) * 1000 for n in range(3)]
    assert decoded.received.tolist() == [(T0 + 60_000) * 1000] * 3
    assert decoded.values.tolist() == [[n + 0.5, n] for n in range(3)]
    assert decoded.ordinals.tolist() == [0, 1, 2]
    assert not decoded.rejects


def test_a_missing_signal_is_nan_and_a_missing_stamp_is_marked():
    decoded = read(text(message(0, values={"speed": 3}), message(1, values=None), message(2, received=T0)))
    assert np.isnan(decoded.values[0, 0])
    assert decoded.values[0, 1] == 3
    assert np.isnan(decoded.values[1]).all()
    assert decoded.received.tolist() == [UNSTAMPED, UNSTAMPED, T0 * 1000]


@pytest.mark.parametrize(
    ("unit", "time", "expected"),
    [
        ("s", 1_764_000_000, 1_764_000_000_000_000),
        ("s", 1_764_000_000.25, 1_764_000_000_250_000),
        ("ms", 1_764_000_000_123, 1_764_000_000_123_000),
        ("ms", 1_764_000_000_123.0, 1_764_000_000_123_000),
        ("us", 1_764_000_000_123_456, 1_764_000_000_123_456),
        ("us", -1, -1),
        ("iso", "2025-11-24T16:00:00Z", 1_764_000_000_000_000),
        ("iso", "2025-11-24T17:00:00.1234567+01:00", 1_764_000_000_123_456),
        ("iso", "2025-11-24T16:00:00.123456789Z", 1_764_000_000_123_456),
    ],
)
def test_times_of_every_unit_become_microseconds(unit, time, expected):
    decoded = read(text(message(0, ts=time)), Mapping(time_unit=unit, signals="values"))
    assert decoded.times.tolist() == [expected]


@pytest.mark.parametrize(
    ("unit", "time", "reason"),
    [
        ("iso", "2025-11-24T16:00:00", Reason.NO_TIME),
        ("iso", "yesterday", Reason.NO_TIME),
        ("iso", 5, Reason.WRONG_TYPE),
        ("ms", "5", Reason.WRONG_TYPE),
        ("ms", 5.5, Reason.WRONG_TYPE),
        ("ms", True, Reason.WRONG_TYPE),
        ("ms", None, Reason.NO_TIME),
        ("ms", 10**30, Reason.NO_TIME),
        ("us", 2**63 - 1, Reason.NO_TIME),
        ("s", math.nan, Reason.NO_TIME),
        ("s", 1e300, Reason.NO_TIME),
    ],
)
def test_an_unusable_time_costs_its_record_only(unit, time, reason):
    good = {"iso": "2025-11-24T16:00:00Z"}.get(unit, 1_764_000_000)
    decoded = read(text(message(0, ts=good), message(1, ts=time)), Mapping(time_unit=unit, signals="values"))
    assert decoded.device.to_pylist() == ["pump-0"]
    assert reasons(decoded) == [reason]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"device": None}, Reason.NO_DEVICE),
        ({"device": ""}, Reason.NO_DEVICE),
        ({"device": 7}, Reason.WRONG_TYPE),
        ({"device": "\ud800"}, Reason.UNREADABLE),
        ({"values": 5}, Reason.WRONG_TYPE),
        ({"values": {"flow": "1.5"}}, Reason.WRONG_TYPE),
        ({"values": {"flow": True}}, Reason.WRONG_TYPE),
        ({"values": {"flow": [1]}}, Reason.WRONG_TYPE),
    ],
)
def test_a_bad_field_costs_its_record_only_and_its_bytes_are_kept(fields, reason):
    bad = message(1, **fields)
    data = text(message(0), bad, message(2))
    decoded = read(data)
    assert decoded.device.to_pylist() == ["pump-0", "pump-2"]
    (reject,) = decoded.rejects
    assert (reject.reason, reject.ordinal) == (reason, 1)
    assert reject.data == json.dumps(bad).encode()
    assert data[reject.offset :].startswith(reject.data)


def test_the_sentence_of_a_wrong_type_names_field_and_value():
    (reject,) = read(text(message(0, values={"flow": "1.5"}))).rejects
    assert reject.sentence == "values.flow is '1.5', not a number."


def test_undeclared_fields_may_be_anything():
    data = text(message(0, x=1, y={"z": [1]}), message(1, x="a", y=None), message(2, x=[{}]))
    assert read(data).device.to_pylist() == ["pump-0", "pump-1", "pump-2"]
    twice = b'{"device":"a","ts":5,"x":1,"x":2,"values":{"flow":1,"q":"\xff"}}'
    assert read(twice).values[0, 0] == 1


def test_paths_may_be_dotted_and_signals_may_lie_at_the_top():
    decoded = read(b'{"meta":{"id":"van"},"at":"2025-11-24T16:00:00Z","flow":1.5}', FLAT)
    assert decoded.device.to_pylist() == ["van"]
    assert decoded.values[0, 0] == 1.5


def test_a_mapping_that_contradicts_itself_is_an_error():
    with pytest.raises(FleetError, match="two things"):
        read(text(message(0)), Mapping(device="values", signals="values"))


def test_a_cut_off_object_keeps_its_good_records_and_hands_back_the_tail():
    data = text(message(0), message(1), message(2))
    decoded = read(data[:-7])
    assert decoded.device.to_pylist() == ["pump-0", "pump-1"]
    (reject,) = decoded.rejects
    assert reject.reason is Reason.UNREADABLE
    assert data[:-7].endswith(reject.data)
    assert reject.data == data[reject.offset : -7]


def test_text_between_records_is_handed_back_and_reading_goes_on():
    data = text(message(0)) + b"\n<html>502</html>\n" + text(message(1), [message(2), 5])
    decoded = read(data)
    assert decoded.device.to_pylist() == ["pump-0", "pump-1", "pump-2"]
    assert [(reject.data, data[reject.offset :].startswith(reject.data)) for reject in decoded.rejects] == [
        (b"<html>502</html>", True),
        (b"5", True),
    ]


def test_offsets_count_bytes_also_behind_letters_of_several_bytes():
    data = b'{"device":"p","ts":5,"note":"\xc3\xa4\xe2\x82\xac"}\nxx\n' + text(message(1))
    (reject,) = read(data).rejects
    assert (reject.data, data[reject.offset :][:2]) == (b"xx", b"xx")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"\x1f\x8bnonsense", "damaged"),
        (gzip.compress(b"{}" * 1000, mtime=0)[:-30], "cut off"),
        (b"PAR1....", "Parquet"),
        (b"Obj\x01....", "Avro"),
        (b"\x00\x01\x02 nothing", "not made of JSON"),
        (b"<html>Bad gateway</html>", "not made of JSON"),
        (b'"text"', "not made of JSON"),
        ('{"device":"a"}'.encode("utf-16"), "not made of JSON"),
        (b"[" * 100_000 + b"{", "not made of JSON"),
        (b'{"a":' * 50_000, "not made of JSON"),
        (b"{x\n" * 5000, "not made of JSON"),
        (text({"temperature": 5}, {"humidity": 6}), "fields of this fleet (device, ts, values)"),
    ],
)
def test_an_object_that_is_no_telemetry_is_rejected_whole(data, sentence):
    decoded = read(data)
    (reject,) = decoded.rejects
    assert (reject.ordinal, reject.offset, reject.data, reject.reason) == (WHOLE, 0, data, Reason.UNREADABLE)
    assert sentence in reject.sentence
    assert not len(decoded.times)


def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1_000_000)
    (reject,) = read(gzip.compress(b" " * 2_000_000)).rejects
    assert "unpacks to more than" in reject.sentence


@pytest.mark.parametrize("data", [b"null", b" null", b"null\n" + text(message(0)), b"[null]"])
def test_a_null_as_first_record_does_not_end_the_process(data):
    decoded = read(data)
    assert len(decoded.rejects) == 1


def test_white_space_is_an_object_without_records():
    decoded = read(b" \n\n")
    assert not len(decoded.times)
    assert not decoded.rejects


def test_objects_are_kept_apart_and_a_broken_one_does_not_touch_its_neighbours():
    objects = [
        text(message(0), message(1)),
        gzip.compress(text(message(2)), mtime=0),
        b'{"device":"pump-9","ts":5,"values":',
        b'{"flow":1}}',
        b"",
        text(message(3), message(4, device=None)),
    ]
    decoded = decode_all(stored(*objects), NESTED, SIGNALS)
    assert decoded.device.to_pylist() == ["pump-0", "pump-1", "pump-2", "pump-3"]
    assert decoded.sources.tolist() == [0, 0, 1, 5]
    assert decoded.ordinals.tolist() == [0, 1, 0, 0]
    assert sorted((reject.source, reject.ordinal) for reject in decoded.rejects) == [
        (2, WHOLE),
        (3, 0),
        (3, 1),
        (4, WHOLE),
        (5, 1),
    ]


def test_a_record_that_claims_to_be_a_marker_is_only_a_record():
    decoded = decode_all(stored(text(message(0), message(1, __tidemill_object__=1)), text(message(2))), NESTED, SIGNALS)
    assert decoded.sources.tolist() == [0, 0, 1]
    assert decoded.device.to_pylist() == ["pump-0", "pump-1", "pump-2"]


# One law for both readers: where the columnar one has an answer, the other has the same.

times = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.none(), st.booleans(), st.text(max_size=5))
numbers = st.one_of(
    st.floats(), st.integers(-(10**30), 10**30), st.none(), st.sampled_from(["7", True, [], {}, 1e-400])
)
junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda s: st.lists(s, max_size=3), max_leaves=4
)
records = st.fixed_dictionaries(
    {},
    optional={
        "device": st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.none() | st.integers(),
        "ts": times,
        "received": times,
        "values": st.fixed_dictionaries({}, optional={"flow": numbers, "speed": numbers, "x": junk}) | st.none(),
        "other": junk,
    },
)
clean = st.fixed_dictionaries(
    {"device": st.text(max_size=3), "ts": st.integers(-(2**63), 2**63 - 1)},
    optional={
        "received": st.integers(-(2**50), 2**50) | st.none(),
        "values": st.fixed_dictionaries({}, optional={"flow": st.floats() | st.none(), "x": junk}) | st.none(),
        "other": junk,
    },
)
separators = st.sampled_from([b"\n", b"", b"\r\n", b" ", b"\n\n", b",", b"\nnull\n", b" Inf "])


@st.composite
def bodies(draw):
    listed = draw(st.lists(st.one_of(clean, clean, records), max_size=4))
    parts = [json.dumps(each, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass") for each in listed]
    body = draw(separators).join(parts)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(body)))
        body = body[:place] + draw(st.binary(max_size=2)) + body[place + draw(st.integers(0, 2)) :]
    return body


def content(decoded: Decoded) -> tuple[Any, ...]:
    columns: list[Any] = [decoded.times, decoded.received, decoded.values, decoded.sources, decoded.ordinals]
    rejects = [(r.source, r.ordinal, r.offset, r.data, r.reason, r.sentence) for r in decoded.rejects]
    told = sorted(rejects), dict(decoded.unknown)
    return decoded.device.to_pylist(), *(repr(column.tolist()) for column in columns), *told


@given(bodies(), st.sampled_from(["ms", "us", "s"]), st.sampled_from(["ignore", "count", "reject"]))
def test_both_readers_give_the_same_rows(body, unit, unknown):
    mapping = Mapping(signals="values", time_unit=unit)
    try:
        by_columns = decode(body, mapping, SIGNALS, by="columns", unknown=unknown)
    except Refused:
        assume(False)
    assert content(by_columns) == content(decode(body, mapping, SIGNALS, by="rows", unknown=unknown))


@given(st.lists(bodies(), min_size=1, max_size=4))
def test_reading_together_is_reading_one_by_one(objects):
    together = decode_all(stored(*objects), NESTED, SIGNALS)
    single = [decode(data, NESTED, SIGNALS) for data in objects]
    assert together.device.to_pylist() == [name for each in single for name in each.device.to_pylist()]
    assert together.times.tolist() == [time for each in single for time in each.times.tolist()]
    assert sorted((r.source, r.ordinal, r.data) for r in together.rejects) == sorted(
        (source, r.ordinal, r.data) for source, each in enumerate(single) for r in each.rejects
    )


@given(bodies())
def test_nothing_is_lost_every_record_is_taken_or_handed_back(body):
    decoded = read(body)
    if any(reject.ordinal == WHOLE for reject in decoded.rejects):
        return
    for reject in decoded.rejects:
        assert body[reject.offset : reject.offset + len(reject.data)] == reject.data
    taken = sorted([*decoded.ordinals.tolist(), *(reject.ordinal for reject in decoded.rejects)])
    assert taken == list(range(len(taken)))


@given(st.binary(max_size=60))
def test_no_bytes_can_make_decoding_fail(data):
    read(data)
    read(gzip.compress(data))
    read(b"\x1f\x8b" + data)
    read(zlib.compress(data))
