"""Objects that somebody made to break a reader, each read in a child of little memory.

``python -m tests.sweep.hostile`` reads all of them; with ``--fast`` those that take little time and memory. For each
kind a line of JSON tells what came of it: rows, rejects by reason, and the peak of the child's memory. It ends with 1
where a kind crashed the child, or gave rows where none may be believed.
"""

import base64
import gzip
import json
import os
import random
import resource
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.mapping import Long, Mapping
from pipelines.formats import decode_all
from pipelines.formats.avro import _long
from pipelines.records import RawObject
from tests.fakes.shapes import CAPTURE, CAPTURE_SCHEMA, HUB, avro, parquet

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = ("temp", "rpm")
T0 = 1_764_000_000_000
JSON = Mapping(signals="values")
CSV = Mapping(received=None, format="csv")
LINE = Mapping("tags.device", "timestamp", "ns", None, "fields", format="line_protocol")
ROWS = Mapping(received=None, signals="values", rows="metrics[]")
PATHS = Mapping("key.device", received=None, signals="values", key="devices/(?P<device>[^/]+)/")
SLOW = "slow"
GIB = 1 << 30


def record(**more: Any) -> bytes:
    """A sound record, but for ``more``."""
    return json.dumps({"device": "d", "ts": T0, "values": {"temp": 1.0}} | more).encode()


GOOD = record()


def text(middle: bytes) -> bytes:
    """A record with these bytes as the value of a signal."""
    return b'{"device":"d","ts":%d,"values":{"temp":%b}}' % (T0, middle)


def bomb(size: int, unit: bytes = b" ") -> bytes:
    """A gzip file that unpacks to ``size`` bytes."""
    packer = zlib.compressobj(9, wbits=31)
    piece = unit * (1 << 20)
    packed = [packer.compress(piece) for _ in range(size // len(piece) + 1)]
    return b"".join([*packed, packer.flush()])


def zstd_bomb(size: int) -> bytes:
    """A zstd file likewise."""
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        for _ in range(size >> 20):
            stream.write(b" " * (1 << 20))
    return bytes(out.getvalue())


def container(schema: Any, blocks: list[tuple[int, bytes]], codec: bytes = b"null") -> bytes:
    """An Avro file made by hand."""
    named = {b"avro.schema": schema if isinstance(schema, bytes) else json.dumps(schema).encode(), b"avro.codec": codec}
    out = b"Obj\x01" + _long(len(named))
    for name, value in named.items():
        out += _long(len(name)) + name + _long(len(value)) + value
    out += _long(0) + b"s" * 16
    return out + b"".join(_long(count) + _long(len(data)) + data + b"s" * 16 for count, data in blocks)


def deflated(data: bytes) -> bytes:
    """Deflate without a header, as Avro has it."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


def table(**columns: Any) -> bytes:
    """A Parquet file of one row group."""
    return parquet(columns)


def wide_parquet() -> bytes:
    """A dictionary of one long text that a million rows repeat."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), ["x" * 2000])
    return parquet({"device": texts, "ts": pa.array([T0] * 1_000_000), "values": pa.array([None] * 1_000_000)})


def _noise(count: int) -> bytes:
    """Bytes that mean nothing, the same in every run."""
    return random.Random(count).randbytes(count)


def _patched(data: bytes, place: int, put: bytes) -> bytes:
    place %= len(data)
    return data[:place] + put + data[place + len(put) :]


NULLS = {"type": "record", "name": "r", "fields": [{"name": "x", "type": {"type": "array", "items": "null"}}]}
LOOP = {"type": "record", "name": "r", "fields": [{"name": "next", "type": ["null", "r"]}]}
EMPTY = {"type": "record", "name": "r", "fields": []}
SOUND = table(device=pa.array(["d"] * 1000), ts=pa.array([T0 + n for n in range(1000)]))
AVRO = avro(CAPTURE_SCHEMA, [{"SequenceNumber": 1, "Offset": "1", "EnqueuedTimeUtc": "", "SystemProperties": {},
                              "Properties": {}, "Body": GOOD}] * 9)  # fmt: skip

Kind = tuple[Mapping, Callable[[], bytes]]
KINDS: dict[str, Kind] = {
    "no bytes": (JSON, lambda: b""),
    "one NUL": (JSON, lambda: b"\0"),
    "a million NULs": (JSON, lambda: b"\0" * 1_000_000),
    "NUL in a text": (JSON, lambda: record(device="a\0b", ts=None)),
    "raw NUL in a record": (JSON, lambda: GOOD.replace(b'"d"', b'"d\0"')),
    "gzip bomb, 1 GiB": (JSON, lambda: bomb(GIB)),
    "gzip bomb in gzip": (JSON, lambda: gzip.compress(bomb(GIB))),
    "gzip bomb of members": (JSON, lambda: bomb(64 << 20) * 12),
    "gzip five times": (JSON, lambda: _nested(GOOD, 5)),
    "gzip cut off": (JSON, lambda: gzip.compress(GOOD * 100)[:-9]),
    "gzip of a wrong checksum": (JSON, lambda: _patched(gzip.compress(GOOD), -6, b"xx")),
    "gzip with a tail": (JSON, lambda: gzip.compress(GOOD) + b"tail"),
    "gzip header only": (JSON, lambda: b"\x1f\x8b"),
    "zstd bomb, 1 GiB": (JSON, lambda: zstd_bomb(GIB)),
    "zstd cut off": (JSON, lambda: pa.compress(GOOD * 100, codec="zstd", asbytes=True)[:-4]),
    "zstd of noise": (JSON, lambda: b"\x28\xb5\x2f\xfd" + _noise(100)),
    "zstd in gzip in zstd, bomb": (JSON, lambda: _squeezed(gzip.compress(zstd_bomb(GIB)))),
    "a single line of 300 MB": (JSON, lambda: bomb(300_000_000, b"[")),
    "a single text of 60 MB": (JSON, lambda: b'{"device":"' + b"x" * 60_000_000 + b'"'),
    "100,000 arrays deep": (JSON, lambda: b"[" * 100_000),
    "a million objects deep": (JSON, lambda: b'{"values":' * 1_000_000),
    "deep, closed": (JSON, lambda: text(b"[" * 50_000 + b"]" * 50_000)),
    "deep where nobody looks": (JSON, lambda: b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "null first": (JSON, lambda: b"null"),
    "nulls": (JSON, lambda: b"null\n" * 1000),
    "numbers only": (JSON, lambda: b"1 2 3 " * 1000),
    "a huge integer": (JSON, lambda: text(b"9" * 100_000)),
    "a huge exponent": (JSON, lambda: text(b"1e999999999")),
    "minus infinity": (JSON, lambda: text(b"-Infinity")),
    "a time beyond 64 bits": (JSON, lambda: record(ts=10**40)),
    "a time before all": (JSON, lambda: record(ts=-(2**63))),
    "a time that is a truth": (JSON, lambda: record(ts=True)),
    "duplicate keys": (JSON, lambda: b'{"device":"d","device":"e","ts":1,"ts":null,"values":{}}'),
    "UTF-16": (JSON, lambda: GOOD.decode().encode("utf-16")),
    "UTF-32": (JSON, lambda: GOOD.decode().encode("utf-32")),
    "Latin-1": (JSON, lambda: b'{"device":"\xe9","ts":1,"values":{"temp":1}}'),
    "overlong UTF-8": (JSON, lambda: b'{"device":"\xc0\xaf","ts":1,"values":{"temp":1}}'),
    "a lone surrogate": (JSON, lambda: b'{"device":"\\ud800","ts":1,"values":{"temp":1}}'),
    "a byte order mark alone": (CSV, lambda: b"\xef\xbb\xbf"),
    "marks everywhere": (JSON, lambda: b"\xef\xbb\xbf" * 10_000 + b"x"),
    "a marker of ours": (JSON, lambda: b'{"__tidemill_object__":0}\n{"__tidemill_object__":7}'),
    "a hundred thousand bad lines": (JSON, lambda: b"{oops\n" * 100_000),
    "braces only": (JSON, lambda: b"}{" * 200_000),
    "quotes only": (JSON, lambda: b'"' * 200_001),
    "backslashes only": (JSON, lambda: b'{"device":"' + b"\\" * 200_001),
    "100,000 fields": (JSON, lambda: json.dumps({f"f{n}": n for n in range(100_000)}).encode()),
    "a list of a million rows": (ROWS, lambda: b'{"metrics":[' + b"0," * 1_000_000 + b"0]}"),
    "rows that are no list": (ROWS, lambda: b'{"metrics":{"a":1}}'),
    "an envelope of noise": (HUB, lambda: b'{"SystemProperties":{"connectionDeviceId":"d"},"Body":"%%%"}'),
    "an envelope of two messages": (HUB, lambda: _enveloped(b'{"ts":1}{"ts":2}')),
    "an envelope that closes itself": (HUB, lambda: _enveloped(b'{"ts":1}}{"__tidemill_object__":1,"body":{"ts":2}')),
    "an envelope in an envelope, deep": (HUB, lambda: _enveloped(b'{"ts":' + b"[" * 50_000)),
    "Parquet cut off": (JSON, lambda: SOUND[:-20]),
    "Parquet magic only": (JSON, lambda: b"PAR1"),
    "Parquet with a broken footer": (JSON, lambda: _patched(SOUND, -60, _noise(40))),
    "Parquet with a huge footer": (JSON, lambda: _patched(SOUND, -8, struct.pack("<I", 2**31 - 1))),
    "Parquet with broken pages": (JSON, lambda: _patched(SOUND, 30, b"\xff" * 200)),
    "Parquet of another world": (JSON, lambda: table(a=pa.array([1, 2]), b=pa.array(["x", "y"]))),
    "Parquet of the wrong types": (JSON, lambda: table(device=pa.array([1.5]), ts=pa.array(["x"]))),
    "Parquet with a swollen dictionary": (JSON, wide_parquet),
    "Avro cut off": (CAPTURE, lambda: AVRO[:-30]),
    "Avro magic only": (CAPTURE, lambda: b"Obj\x01"),
    "Avro without a schema": (CAPTURE, lambda: container(b"", [])),
    "Avro of a broken schema": (CAPTURE, lambda: container({"type": "nonsense"}, [(1, b"\0")])),
    "Avro of a schema that is no JSON": (CAPTURE, lambda: container(b"{", [(1, b"\0")])),
    "Avro of an unknown codec": (CAPTURE, lambda: container(CAPTURE_SCHEMA, [(1, b"\0")], b"rot13")),
    "Avro with a bomb in a block": (
        CAPTURE,
        lambda: container(CAPTURE_SCHEMA, [(9, deflated(b"\0" * GIB))], b"deflate"),
    ),
    "Avro of endless nulls": (CAPTURE, lambda: container(NULLS, [(1, _long(2**40) + b"\0")])),
    "Avro of records without bytes": (CAPTURE, lambda: container(EMPTY, [(2**40, b"")])),
    "Avro that holds itself": (CAPTURE, lambda: container(LOOP, [(1, b"\x02" * 1_000_000 + b"\0")])),
    "Avro of a deep schema": (CAPTURE, lambda: container(_deep(500), [(1, b"\0")])),
    "Avro of a negative size": (CAPTURE, lambda: container(CAPTURE_SCHEMA, []) + _long(1) + b"\x01"),
    "Avro with a changed block": (CAPTURE, lambda: _patched(AVRO, -40, b"\xff" * 10)),
    "CSV with NULs": (CSV, lambda: b"device,ts,temp\nd\0,1,2\n"),
    "CSV with a quote that never ends": (CSV, lambda: b'device,ts,temp\n"d,1,2\n' + b"d,1,2\n" * 100_000),
    "CSV of two equal columns": (CSV, lambda: b"device,device,ts\na,b,1\n"),
    "CSV of 100,000 columns": (CSV, lambda: b",".join(b"c%d" % n for n in range(100_000)) + b"\n"),
    "CSV of other widths": (CSV, lambda: b"device,ts,temp\nd,1\nd,1,2,3\n"),
    "CSV of one endless line": (CSV, lambda: b"device,ts,temp\n" + b"x" * 20_000_000),
    "CSV with hexadecimal": (CSV, lambda: b"device,ts,temp\nd,0x10,1\n"),
    "CSV in another encoding": (CSV, lambda: "device,ts,temp\nd,1,2\n".encode("utf-16")),
    "CSV that is a spreadsheet": (CSV, lambda: b"PK\x03\x04" + _noise(500)),
    "line protocol of nothing": (LINE, lambda: b"=,= =" * 1000),
    "line protocol, a line of 2 MB": (LINE, lambda: b"press,device=d temp=" + b"1" * 2_000_000),
    "line protocol of backslashes": (LINE, lambda: b"press,device=" + b"\\" * 20_000 + b" temp=1 1"),
    "line protocol of commas": (LINE, lambda: b"press" + b",a=b" * 20_000),
    "a key with dots and slashes": (PATHS, lambda: b'{"ts":null}'),
    "a tape of TAR": (JSON, lambda: b"raw/x" + b"\0" * 507),
    "a picture": (JSON, lambda: b"\x89PNG\r\n\x1a\n" + _noise(2000)),
    "HTML of a proxy": (JSON, lambda: b"<html><body>502 Bad Gateway</body></html>"),
    "noise": (JSON, lambda: _noise(100_000)),
    "a CSV that nobody declared": (JSON, lambda: b"device,ts,temp\nd,1,2\n"),
    "entries without names": (
        Mapping(received=None, long=Long(rows="metrics[]")),
        lambda: b'{"device":"d","ts":1,"metrics":[{"value":1},{"name":null,"value":2},{"name":7}]}',
    ),
}  # fmt: skip
KEYS = {"a key with dots and slashes": "devices/..%2f..%2fetc/passwd/../../\udcff\0/x"}
NOTHING = frozenset({"100,000 arrays deep", "a single line of 300 MB"})
"""Brackets alone: lists without items, as an empty list is."""
FAST = tuple(
    name for name in KINDS
    if not any(word in name for word in ("bomb", "300 MB", "60 MB", "endless line", "swollen", "a million", "2 MB"))
)  # fmt: skip


def _nested(data: bytes, times: int) -> bytes:
    for _ in range(times):
        data = gzip.compress(data)
    return data


def _squeezed(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def _enveloped(message: bytes) -> bytes:
    body = base64.b64encode(message).decode()
    return json.dumps({"SystemProperties": {"connectionDeviceId": "d"}, "Body": body}).encode()


def _deep(depth: int) -> bytes:
    opening = b'{"type":"record","name":"r%d","fields":[{"name":"x","type":'
    return b"".join(opening % number for number in range(depth)) + b'"long"' + b"}]}" * depth


def attempt(name: str) -> dict[str, Any]:
    """Read one kind and say what came of it."""
    mapping, make = KINDS[name]
    raw = RawObject(KEYS.get(name, "raw/x"), make())
    decoded = decode_all([raw], mapping, SIGNALS)
    reasons = Counter(reject.reason.value for reject in decoded.rejects)
    sentences = all(reject.sentence for reject in decoded.rejects)
    return {"kind": name, "rows": len(decoded.times), "reasons": dict(reasons), "said": sentences, "mib": _peak_mib()}


def _peak_mib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) // 1024


def read_in_child(names: tuple[str, ...], room: int) -> list[dict[str, Any]]:
    """Read kinds one after the other in a child with ``room`` bytes of address space on top of what it starts with.

    Raises:
        AssertionError: The child died; the message names the kind it died of.
    """
    command = [sys.executable, "-P", "-m", "tests.sweep.hostile", "--child", str(room), *names]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        kind = names[len(results)] if len(results) < len(names) else "the end"
        raise AssertionError(f"the reader died of '{kind}' with {done.returncode}: {done.stderr[-600:]}")
    return results


def vanished(result: dict[str, Any]) -> bool:
    """Whether an object left neither rows nor a reason."""
    silent = not (result["reasons"] or result["rows"] or result["kind"] in NOTHING)
    return silent or not result["said"]


def _child(room: int, names: list[str]) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    space = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in names:
        print(json.dumps(attempt(name)), flush=True)


def main(arguments: list[str]) -> int:
    """Read all kinds, each in a child of its own."""
    if arguments[:1] == ["--child"]:
        _child(int(arguments[1]), arguments[2:])
        return 0
    names = FAST if "--fast" in arguments else tuple(KINDS)
    failed = 0
    for name in names:
        try:
            (result,) = read_in_child((name,), 3 * GIB)
        except AssertionError as death:
            failed += 1
            print(f"hostile: {death}", flush=True)
            continue
        if "--verbose" in arguments:
            print(json.dumps(result), flush=True)
        if vanished(result):
            failed += 1
            print(f"hostile: '{name}' vanished without a reason: {result}", flush=True)
    print(f"hostile objects: {len(names) - failed} of {len(names)} kinds held", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
