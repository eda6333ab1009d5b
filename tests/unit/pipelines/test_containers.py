"""What containers and executors do that is not the same for every shape."""

import json
import struct
import zlib

import pyarrow as pa
import pytest

from features.burst import Burst, BurstReading
from features.mapping import Long, Mapping
from features.schema import Reason
from pipelines import salvage
from pipelines.formats import Refused, decode, decode_all
from pipelines.records import RawObject
from pipelines.rejects import WHOLE
from tests.fakes.shapes import CAPTURE, CAPTURE_SCHEMA, avro, lines, parquet, table
from tests.sweep.hostile import container

T0 = 1_764_000_000_000
CSV = Mapping(received=None, format="csv")
SIGNALS = ("temp", "rpm")
EITHER = ["columns", "rows"]


def message(**more: object) -> dict[str, object]:
    return {"device": "d", "ts": T0, "temp": 1.5} | more


@pytest.mark.parametrize("by", EITHER)
def test_nanoseconds_beyond_a_double_are_exact(by):
    mapping = Mapping(time_unit="ns", received=None)
    odd = 1_764_000_000_123_456_789
    decoded = decode(lines([message(ts=odd), message(ts=odd + 1001)]), mapping, SIGNALS, by=by)
    assert decoded.times.tolist() == [odd // 1000, odd // 1000 + 1]


@pytest.mark.parametrize("by", EITHER)
@pytest.mark.parametrize(
    ("zone", "text", "us"),
    [
        (None, "2025-11-24T16:00:00.1234567Z", T0 * 1000 + 123_456),
        (None, "2025-11-24T16:00:00.123456789Z", T0 * 1000 + 123_456),
        (None, "2025-11-24T16:00:00.123456789", None),
        ("UTC", "2025-11-24T16:00:00", T0 * 1000),
        ("+01:30", "2025-11-24 17:30:00", T0 * 1000),
        ("-05:00", "2025-11-24T11:00:00.5", T0 * 1000 + 500_000),
        ("+01:30", "2025-11-24T16:00:00Z", T0 * 1000),
        ("UTC", "2025-11-24", T0 * 1000 - 57_600_000_000),
        ("UTC", "24.11.2025", None),
        (None, "11/24/2025 4:00:00 PM", T0 * 1000),
        (None, "13/24/2025 4:00:00 PM", None),
    ],
)
def test_texts_of_times_with_and_without_a_zone(by, zone, text, us):
    mapping = Mapping(time_unit="iso", zone=zone, received=None)
    decoded = decode(lines([message(ts=text), message(ts="2025-11-24T16:00:01Z")]), mapping, SIGNALS, by=by)
    assert decoded.times.tolist() == ([] if us is None else [us]) + [T0 * 1000 + 1_000_000]
    assert [reject.reason for reject in decoded.rejects] == ([Reason.NO_TIME] if us is None else [])


@pytest.mark.parametrize("by", EITHER)
def test_numbers_in_quotes_are_read_where_the_mapping_says_so(by):
    mapping = Mapping(quoted=True, received=None, sequence="n")
    decoded = decode(
        lines([message(ts=str(T0), temp="6.14e+01", n="12"), message(ts=str(T0), temp="")]), mapping, SIGNALS, by=by
    )
    assert decoded.values[0, 0] == 61.4
    assert decoded.sequence[0] == 12
    reject = next(iter(decode(lines([message(ts=str(T0))] * 2), Mapping(received=None), ("rpm",)).rejects))
    assert reject.reason is Reason.WRONG_TYPE


def test_what_is_in_the_key_may_be_a_time():
    mapping = Mapping(time="key.at", key=r"/(?P<at>\d+)\.json", received=None)
    decoded = decode_all([RawObject(f"raw/{T0}.json", lines([{"device": "d", "temp": 1}]))], mapping, SIGNALS)
    assert decoded.times.tolist() == [T0 * 1000]


@pytest.mark.parametrize("by", EITHER)
def test_the_first_path_that_holds_something_counts(by):
    mapping = Mapping(("a.id", "b"), ("t", "u"), received=None)
    records = [{"a": {"id": "x"}, "t": 1, "u": 2, "temp": 1}, {"a": None, "b": "y", "u": 2, "temp": 1}]
    decoded = decode(lines(records), mapping, SIGNALS, by=by)
    assert decoded.device.to_pylist() == ["x", "y"]
    assert decoded.times.tolist() == [1000, 2000]


@pytest.mark.parametrize("by", EITHER)
def test_columns_that_are_missing_or_all_null_are_no_fault(by):
    data = parquet({"device": ["d", "d"], "ts": pa.array([T0, T0 + 1]), "temp": pa.nulls(2)})
    decoded = decode(data, Mapping(), SIGNALS, by=by)
    assert len(decoded.times) == 2
    assert not decoded.rejects


@pytest.mark.parametrize("by", EITHER)
def test_parquet_gives_numbers_of_every_width_and_devices_that_are_numbers(by):
    data = parquet(
        {
            "device": pa.array([7, 8], pa.int32()),
            "ts": pa.array([T0, T0], pa.int64()),
            "temp": pa.array([1.5, 2.5], pa.float32()),
            "rpm": pa.array([3, None], pa.uint8()),
        }
    )
    decoded = decode(data, Mapping(received=None), SIGNALS, by=by)
    assert decoded.device.to_pylist() == ["7", "8"]
    assert decoded.values[0].tolist() == [1.5, 3.0]


@pytest.mark.parametrize("by", EITHER)
def test_texts_of_several_row_groups_and_bodies_in_parquet(by):
    bodies = [json.dumps({"ts": T0 + n}) for n in range(5)]
    data = parquet({"device": list("abcab"), "Body": bodies}, row_group_size=2)
    decoded = decode(data, Mapping(time="body.ts", received=None, body="Body"), SIGNALS, by=by)
    assert decoded.device.to_pylist() == list("abcab")
    assert decoded.times.tolist() == [(T0 + n) * 1000 for n in range(5)]


@pytest.mark.parametrize("zone", [None, "+01:00"])
@pytest.mark.parametrize("by", EITHER)
def test_timestamps_of_parquet_without_a_zone_need_one(by, zone):
    at = pa.array([T0 * 1000]).cast(pa.timestamp("us"))
    decoded = decode(
        parquet({"device": ["d"], "ts": at, "temp": [1.0]}), Mapping(zone=zone, time_unit="iso"), SIGNALS, by=by
    )
    assert decoded.times.tolist() == ([] if zone is None else [T0 * 1000 - 3_600_000_000])


@pytest.mark.parametrize("codec", [b"snappy", b"zstandard"])
def test_codecs_of_avro_that_its_library_does_not_bring(codec):
    body = b'{"device_id":"d","ts":5,"values":{"temp":1}}'
    record = {"SequenceNumber": 1, "Offset": "1", "EnqueuedTimeUtc": "x", "SystemProperties": {}, "Properties": {}}
    plain = avro(CAPTURE_SCHEMA, [record | {"Body": body}])
    block = _block(plain)
    packed = pa.compress(block, codec="snappy" if codec == b"snappy" else "zstd", asbytes=True)
    if codec == b"snappy":
        packed += struct.pack(">I", zlib.crc32(block))
    data = container(CAPTURE_SCHEMA, [(1, packed)], codec)
    assert decode(data, CAPTURE, SIGNALS).device.to_pylist() == ["d"]
    damaged = data[:-20] + b"\xff" + data[-19:]
    assert [reject.ordinal for reject in decode(damaged, CAPTURE, SIGNALS).rejects] == [WHOLE]


def _block(plain: bytes) -> bytes:
    """The bytes of the one block of a file, which are fewer than 128: before them stand a count and a size."""
    first = plain.index(plain[-16:]) + 16
    return plain[first + 3 : -16] if plain[first + 1] >= 0x80 else plain[first + 2 : -16]


@pytest.mark.parametrize("by", EITHER)
def test_entries_that_say_a_signal_twice_make_two_rows(by):
    mapping = Mapping(received=None, long=Long(name="tag", value="v"), format="csv")
    data = table(
        ["device", "ts", "tag", "v"],
        [["d", T0, "temp", 1], ["d", T0, "rpm", 2], ["d", T0, "temp", 3], ["d", T0, "x", 4]],
    )
    decoded = decode(data, mapping, SIGNALS, by=by)
    assert [[str(value) for value in row] for row in decoded.values.tolist()] == [["1.0", "2.0"], ["3.0", "nan"]]
    assert decoded.ordinals.tolist() == [0, 1]


def test_a_row_of_several_lines_is_rejected_with_all_of_them():
    mapping = Mapping(received=None, long=Long(name="tag", value="v"), format="csv")
    data = table(["device", "ts", "tag", "v"], [["", T0, "temp", 1], ["", T0, "rpm", 2], ["e", T0, "rpm", 2]])
    (reject,) = decode(data, mapping, SIGNALS).rejects
    assert [json.loads(line)["tag"] for line in reject.data.splitlines()] == ["temp", "rpm"]
    assert data[reject.offset :].startswith(b",1764")


def test_of_many_bad_rows_of_one_record_the_bytes_are_kept_once():
    mapping = Mapping(received=None, rows="m[]")
    rows = [{"device": "d", "ts": T0, "temp": "x"}] * 3 + [{"device": "d", "ts": T0, "temp": 1}]
    decoded = decode(lines([{"m": rows}]), mapping, SIGNALS)
    assert decoded.ordinals.tolist() == [3]
    assert [bool(reject.data) for reject in decoded.rejects] == [True, False, False]


@pytest.mark.parametrize(
    ("record", "reasons"),
    [({}, [Reason.NO_SIGNALS]), ({"m": None}, [Reason.NO_SIGNALS]), ({"m": []}, []), ({"m": 5}, [Reason.WRONG_TYPE])],
)
def test_a_record_without_rows_is_told_and_an_empty_list_is_no_fault(record, reasons):
    rows = {"m": [message()]}
    decoded = decode(lines([rows, record]), Mapping(received=None, rows="m[]"), SIGNALS)
    assert [reject.reason for reject in decoded.rejects] == reasons
    assert len(decoded.times) == 1


@pytest.mark.parametrize("by", EITHER)
def test_a_header_that_leaves_out_the_column_of_row_numbers(by):
    data = b'"device","ts","temp"\n"1","d",1764000000000,2.5\n"2","d",1764000000001,3.5\n'
    assert decode(data, CSV, SIGNALS, by=by).values[:, 0].tolist() == [2.5, 3.5]


def test_a_bad_line_costs_itself_and_is_handed_back():
    data = b"device,ts,temp\nd,1764000000000,1\nd,1764\nd,soon,1\nd,1764000000001,1e5\n"
    decoded = decode(data, CSV, SIGNALS)
    assert decoded.ordinals.tolist() == [0, 3]
    assert [(data[r.offset :].partition(b"\n")[0], r.reason) for r in decoded.rejects] == [
        (b"d,1764", Reason.UNREADABLE), (b"d,soon,1", Reason.WRONG_TYPE),
    ]  # fmt: skip


def test_a_record_over_the_end_of_a_window_is_read_once_and_whole(monkeypatch):
    monkeypatch.setattr(salvage, "_WINDOW", 300)
    records = [message(note="x" * n, text='ö\n}{"') for n in range(60)]
    body = b"\n".join(json.dumps(each, indent=1, ensure_ascii=False).encode() for each in records)
    found = list(salvage.pieces(body))
    assert [piece.value for piece in found] == records
    assert all(body[piece.offset : piece.offset + len(piece.data)] == piece.data for piece in found)


@pytest.mark.parametrize("window", [16, 40, 1 << 20])
def test_each_line_of_unreadable_text_is_a_reject_of_its_own_with_its_very_bytes(monkeypatch, window):
    monkeypatch.setattr(salvage, "_WINDOW", window)
    body = b'{"a": 1}\nmodem  \nchatter\r\n\n ]\n"and more\n{"a": 2}\nthe rest'
    found = list(salvage.pieces(body))
    assert [piece.data for piece in found] == [
        b'{"a": 1}', b"modem  ", b"chatter\r", b'"and more', b'{"a": 2}', b"the rest",
    ]  # fmt: skip
    assert all(body[piece.offset :].startswith(piece.data) for piece in found)


def test_very_many_lines_of_unreadable_text_are_told_apart_up_to_a_limit():
    *apart, rest = salvage.pieces(b"{}\n" + b"x\n" * 5000 + b"{}")
    assert (len(apart), apart[-1].data[:4], rest.value) == (1001, b"x\nx\n", {})


def test_columns_refuse_what_they_cannot_do():
    with pytest.raises(Refused):
        decode(lines([message()]), Mapping(rows="{d}[]"), SIGNALS, by="columns")
    burst = Burst("acc", 100, (BurstReading("temp", "rms"),), 8)
    with pytest.raises(Refused):
        decode(lines([message()]), Mapping(), SIGNALS, bursts=[burst], by="columns")


def test_columns_that_a_mapping_leaves_out_are_counted_without_being_read():
    columns = {"device": ["a", "b"], "ts": [T0, T0], "rpm": [1.0, 2.0], "fw": ["1", None], "none": [None, None]}
    data = parquet({**columns, "where": [{"lat": 1.0}, {"lat": 2.0}]})
    for by in ("columns", "rows"):
        decoded = decode(data, Mapping(received=None), ("rpm",), by=by, unknown="count")
        assert (len(decoded.times), decoded.unknown) == (2, {"fw": 1, "where": 2})
    refused = decode(data, Mapping(received=None), ("rpm",), unknown="reject")
    assert [json.loads(reject.data)["where"] for reject in refused.rejects] == [{"lat": 1.0}, {"lat": 2.0}]


def test_a_table_of_text_counts_the_columns_that_a_mapping_leaves_out():
    data = b"device,ts,rpm,fw\na,1,2,\nb,2,3,x\n"
    for by in ("columns", "rows"):
        decoded = decode(data, Mapping(received=None, format="csv"), ("rpm",), by=by, unknown="count")
        assert (len(decoded.times), decoded.unknown) == (2, {"fw": 2})


@pytest.mark.parametrize("line", [b"PK\x03\x04\xff\x00", b"d,1764000000000,3"])
def test_a_single_line_that_is_no_header_does_not_vanish(line):
    for by in ("columns", "rows"):
        decoded = decode(line, CSV, ("rpm",), by=by)
        (reject,) = decoded.rejects
        assert reject.data == line
        assert "it is no header: no column is 'device' or 'ts'" in reject.sentence
        assert not decode(b"device,ts,rpm\n", CSV, ("rpm",), by=by).rejects


@pytest.mark.parametrize("most", [1, 2, 7])
def test_how_many_records_are_taken_at_a_time_changes_nothing(monkeypatch, most):
    body = b' {"a": 1}{"a": "\xc3\xb6"}\nrub\nbish\n[{"a": 3},\n {"a": 4}, oops\n{"a": 5}]\n\xff{"a": 6}'
    whole = [(piece.offset, piece.data) for piece in salvage.pieces(body)]
    monkeypatch.setattr(salvage, "_MOST_AT_ONCE", most)
    assert [(piece.offset, piece.data) for piece in salvage.pieces(body)] == whole
    assert len(whole) == 9
