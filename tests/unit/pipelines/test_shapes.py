"""Every shape of `tests.fakes.shapes` is read right, and alike by both executors."""

import gzip
import json
import math
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.mapping import Mapping
from features.reason import Reason
from features.unknown import Unknown
from pipelines.formats import Executor, decode_all
from pipelines.formats.columns import Refused
from pipelines.records import UNSEQUENCED, UNSTAMPED, Decoded, RawObject
from pipelines.rejects import WHOLE
from tests.fakes.shapes import CAPTURE, CAPTURE_SCHEMA, SHAPES, SIGNALS, Reading, Shape, avro

T0 = 1_764_000_000_000_000
GOLDEN = [
    Reading("press-7", T0, 61.4, 1450.0, 812, T0 + 1_000_000),
    Reading("press-7", T0 + 1_000_000, None, 1451.5, 0, T0 + 2_000_000),
    Reading("press-7", T0 + 2_000_000, 0.0, None, 814, T0 + 3_000_000),
]


def read(shape: Shape, raw: RawObject, by: Executor = "either", unknown: Unknown = "ignore") -> Decoded:
    return decode_all([raw], shape.mapping, SIGNALS, by=by, unknown=unknown)


def rows(decoded: Decoded) -> list[tuple[object, ...]]:
    values = [tuple(None if math.isnan(value) else value for value in row) for row in decoded.values.tolist()]
    return list(
        zip(
            decoded.device.to_pylist(), decoded.times.tolist(), values, decoded.sequence.tolist(),
            decoded.received.tolist(), decoded.ordinals.tolist(), strict=True,
        )
    )  # fmt: skip


def expected(shape: Shape, readings: list[Reading]) -> list[tuple[object, ...]]:
    return [
        (
            reading.device, reading.time_us, (reading.temp, reading.rpm),
            reading.sequence if "sequence" in shape.keeps else UNSEQUENCED,
            reading.received_us if "received" in shape.keeps else UNSTAMPED, number,
        )
        for number, reading in enumerate(readings)
    ]  # fmt: skip


def content(decoded: Decoded) -> tuple[object, ...]:
    rejects = [(r.source, r.ordinal, r.offset, r.data, r.reason, r.sentence) for r in decoded.rejects]
    return repr(rows(decoded)), decoded.sources.tolist(), sorted(rejects), dict(decoded.unknown)


@pytest.mark.parametrize("by", ["either", "rows", "columns"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_gives_the_readings_that_were_written(shape, by):
    if by == "columns" and not shape.columnar:
        pytest.skip("the names of fields are data here")
    decoded = read(shape, shape.write(GOLDEN), by)
    assert not decoded.rejects, decoded.rejects
    assert rows(decoded) == expected(shape, GOLDEN)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_name_is_asked_and_several_objects_go_together(shape):
    one, two = shape.write(GOLDEN[:1]), shape.write(GOLDEN[1:])
    packed = RawObject(one.key, gzip.compress(one.data), one.metadata)
    zstd = RawObject(two.key, pa.compress(two.data, codec="zstd", asbytes=True), two.metadata)
    decoded = decode_all([packed, RawObject("x", b""), zstd], shape.mapping, SIGNALS)
    assert decoded.sources.tolist() == [0, 2, 2]
    assert [reject.source for reject in decoded.rejects] == [1]
    assert [row[:3] for row in rows(decoded)] == [row[:3] for row in expected(shape, GOLDEN)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_mapping_survives_json(shape):
    assert Mapping.from_json(json.loads(json.dumps(shape.mapping.to_json()))) == shape.mapping


numbers = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e300, -0.0])
readings = st.builds(
    Reading,
    st.sampled_from(["press-7", "p 8", "ö-9", ""]),
    st.integers(0, 2**31).map(lambda second: second * 1_000_000),
    numbers,
    numbers,
    st.integers(0, 2**40),
    st.integers(0, 2**31).map(lambda second: second * 1_000_000),
)


@st.composite
def objects(draw, shape):
    """Objects of a shape, some of them damaged: bytes cut off, changed or put in."""
    listed = draw(st.lists(readings, max_size=5))
    if shape.one_device:
        listed = [replace(each, device="press-7") for each in listed]
    raw = shape.write(listed)
    data = raw.data
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(data)))
        put = draw(st.sampled_from([b"", b"7", b'"', b"{", b"}", b",", b"\n", b"null", b"x", b"\xff", b"[", b"true"]))
        data = data[:place] + put + data[place + draw(st.integers(0, 3)) :]
    return RawObject(raw.key, data, raw.metadata)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.columnar], ids=str)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_both_executors_give_the_same_rows_and_the_same_rejects(shape, data):
    raw = data.draw(objects(shape))
    unknown = data.draw(st.sampled_from(["ignore", "count", "reject"]))
    try:
        by_columns = read(shape, raw, "columns", unknown)
    except Refused:
        assert content(read(shape, raw, unknown=unknown)) == content(read(shape, raw, "rows", unknown))
    else:
        assert content(by_columns) == content(read(shape, raw, "rows", unknown))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unknown_fields_are_counted_or_refused_whoever_reads(shape):
    raw = shape.write(GOLDEN)
    counted = {by: read(shape, raw, by, "count") for by in ("either", "rows")}
    assert content(counted["either"]) == content(counted["rows"])
    assert rows(counted["rows"]) == expected(shape, GOLDEN)
    refused = read(shape, raw, "either", "reject")
    assert content(refused) == content(read(shape, raw, "rows", "reject"))
    assert bool(counted["rows"].unknown) == (Reason.UNKNOWN_FIELD in refused.rejects.reasons)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_whatever_is_not_a_row_is_a_reject(shape, data):
    raw = data.draw(objects(shape))
    decoded = read(shape, raw)
    if any(reject.ordinal == WHOLE for reject in decoded.rejects):
        assert not len(decoded.times)
        return
    taken = sorted([*decoded.ordinals.tolist(), *(reject.ordinal for reject in decoded.rejects)])
    assert taken == list(range(len(taken)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_rejected_reads_alike_when_it_is_replayed(shape):
    decoded = read(shape, shape.write(GOLDEN))
    rejected = decoded.reject((decoded.ordinals >= 0).astype("uint8") * 5)
    assert len(rejected.rejects) == len(GOLDEN)
    raw = shape.write(GOLDEN)
    again = RawObject(raw.key, b"\n".join(reject.data for reject in rejected.rejects), raw.metadata)
    assert rows(read(shape, again)) == expected(shape, GOLDEN)


def test_an_empty_capture_file_is_no_fault_and_no_bytes_are_one():
    assert not decode_all([RawObject("k", avro(CAPTURE_SCHEMA, []))], CAPTURE, SIGNALS).rejects
    assert [reject.ordinal for reject in decode_all([RawObject("k", b"")], CAPTURE, SIGNALS).rejects] == [WHOLE]
