"""Avro container files, as IoT Hub and Event Hubs Capture write them.

The blocks are unpacked here, within a limit, and handed to fastavro as a file without a codec: fastavro unpacks a block
whatever it grows to. Schemas that could make a few bytes grow without end are refused.
"""

import bz2
import io
import json
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as JsonMapping
from datetime import date, datetime
from typing import Any

import fastavro
import pyarrow as pa

from features.mapping import Mapping
from pipelines.formats.plan import Plan
from pipelines.formats.rendering import as_json
from pipelines.formats.rows import Instant
from pipelines.formats.sources import Columns, ObjectColumns
from pipelines.formats.unpacking import AVRO, MOST_BYTES, UnreadableError, too_large, unzstd

_SYNC = 16
_MOST_SCHEMA = 1024 * 1024
_DEEPEST = 64
_MICROSECOND_PARTS = 1_000_000


class AvroFile:
    """An Avro container file.

    Args:
        body: The file.
        mapping: How times are written when a record is rejected.

    Raises:
        UnreadableError: It was cut off or damaged, or needs more memory than is given to it.
    """

    quoted = False
    broken = "The record is none."

    def __init__(self, body: bytes, mapping: Mapping) -> None:
        self._mapping = mapping
        try:
            plain = _uncompressed(body)
            self._records = [_native(record) for record in fastavro.reader(io.BytesIO(plain))]
        except UnreadableError:
            raise
        except Exception as error:
            raise UnreadableError(f"The object is an Avro file and cannot be read: {_said(error)}.") from error

    def columns(self, plan: Plan) -> Columns:  # noqa: ARG002 - the port's
        """See `Container`."""
        return ObjectColumns(self._records)

    def values(self) -> Iterator[object]:
        """See `Container`."""
        return iter(self._records)

    def locate(self, records: Sequence[int], count: int) -> Iterator[tuple[int, bytes]]:  # noqa: ARG002 - the port's
        """See `rejects.Container`; a record has no place of its own in the file."""
        return ((0, as_json(self._records[n], self._mapping)) for n in records)


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {str(error)[:100]}".strip()


def _native(value: Any) -> Any:
    """What JSON could hold too, but for bytes; times keep knowing their unit."""
    if isinstance(value, dict):
        return {name: _native(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_native(each) for each in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        whole = int(value.replace(microsecond=0).timestamp())
        return Instant(whole * _MICROSECOND_PARTS + value.microsecond)
    return value.isoformat() if isinstance(value, date | datetime) else value


def _uncompressed(body: bytes) -> bytes:
    """The same file without a codec."""
    stream = io.BytesIO(body)
    stream.seek(len(AVRO))
    metadata = _metadata(stream)
    codec = metadata.get("avro.codec", b"null").decode("ascii", "replace")
    if codec not in _CODECS:
        raise UnreadableError(f"The object is an Avro file of the codec '{codec[:40]}'; {', '.join(_CODECS)} are read.")
    schema = metadata.get("avro.schema", b"")
    if len(schema) > _MOST_SCHEMA:
        raise UnreadableError("The object is an Avro file with a schema of more than 1 MiB.")
    _check_schema(json.loads(schema), (), 0)
    sync = stream.read(_SYNC)
    out = io.BytesIO()
    out.write(AVRO + _long(1) + _text(b"avro.schema") + _text(schema) + _long(0) + sync)
    while stream.tell() < len(body):
        count, size = _read_long(stream), _read_long(stream)
        packed = stream.read(max(size, 0))
        if size < 0 or len(packed) < size or stream.read(_SYNC) != sync:
            raise UnreadableError("The object is an Avro file and was cut off or damaged.")
        block = _CODECS[codec](packed, MOST_BYTES - out.tell())
        if not 0 <= count <= len(block):
            raise UnreadableError("The object is an Avro file with blocks of more records than bytes.")
        out.write(_long(count) + _text(block) + sync)
        if out.tell() > MOST_BYTES:
            raise too_large()
    return out.getvalue()


def _metadata(stream: io.BytesIO) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while count := _read_long(stream):
        if count < 0:
            _read_long(stream)  # the size of the part, for those who skip it
        for _ in range(min(abs(count), 1000)):
            name = stream.read(max(_read_long(stream), 0))
            found[name.decode("utf-8", "replace")] = stream.read(max(_read_long(stream), 0))
    return found


def _read_long(stream: io.BytesIO) -> int:
    """A zigzag variable-length integer."""
    value = shift = 0
    while True:
        byte = stream.read(1)
        if not byte or shift > 63:  # noqa: PLR2004 - bits of a long
            raise UnreadableError("The object is an Avro file and was cut off or damaged.")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:  # noqa: PLR2004 - the last byte lacks the high bit
            return (value >> 1) ^ -(value & 1)
        shift += 7


def _long(value: int) -> bytes:
    value <<= 1
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _text(data: bytes) -> bytes:
    return _long(len(data)) + data


def _check_schema(schema: Any, above: tuple[str, ...], depth: int) -> None:
    """Refuse what recursion or items without bytes could make endless."""
    if depth > _DEEPEST:
        raise UnreadableError("The object is an Avro file with a schema too deep to be one of records.")
    if isinstance(schema, list):
        for each in schema:
            _check_schema(each, above, depth + 1)
    elif isinstance(schema, str):
        if schema.rpartition(".")[2] in above:
            raise UnreadableError("The object is an Avro file of records that hold themselves.")
    elif isinstance(schema, dict):
        kind = schema.get("type")
        if kind == "array" and not _takes_bytes(schema.get("items")):
            raise UnreadableError("The object is an Avro file with lists of items that take no bytes.")
        record = kind in {"record", "error"}
        named = (*above, str(schema.get("name")).rpartition(".")[2]) if record else above
        inner = [field.get("type") for field in schema.get("fields", [])] if record else []
        inner += [schema.get("items"), schema.get("values"), kind if isinstance(kind, dict | list) else None]
        for each in filter(None, inner):
            _check_schema(each, named, depth + 1)


def _takes_bytes(schema: Any) -> bool:
    if schema == "null":
        return False
    if isinstance(schema, dict):
        kind = schema.get("type")
        if kind == "record":
            return any(_takes_bytes(field.get("type")) for field in schema.get("fields", []))
        if kind == "fixed":
            return bool(schema.get("size"))
        return _takes_bytes(kind) if isinstance(kind, dict | str) else True
    return True


def _limited(start: Callable[[], Any]) -> Callable[[bytes, int], bytes]:
    def unpack(packed: bytes, room: int) -> bytes:
        stream = start()
        data: bytes = stream.decompress(packed, room + 1)
        if len(data) > room:
            raise too_large()
        return data

    return unpack


def _snappy(packed: bytes, room: int) -> bytes:
    """Snappy says at its beginning how much it holds; Avro puts a checksum behind."""
    size = shift = 0
    for byte in packed[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte lacks the high bit
            break
    if size > room:
        raise too_large()
    data: bytes = pa.decompress(packed[:-4], decompressed_size=size, codec="snappy", asbytes=True)
    if struct.unpack(">I", packed[-4:])[0] != zlib.crc32(data):
        raise UnreadableError("The object is an Avro file and damaged.")
    return data


_CODECS: JsonMapping[str, Callable[[bytes, int], bytes]] = {
    "null": lambda packed, _room: packed,
    "deflate": _limited(lambda: zlib.decompressobj(-15)),
    "bzip2": _limited(bz2.BZ2Decompressor),
    "xz": _limited(lzma.LZMADecompressor),
    "zstandard": unzstd,
    "snappy": _snappy,
}
