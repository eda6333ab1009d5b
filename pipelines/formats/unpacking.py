"""What an object is packed in, told by its first bytes and never by its name, and held to a limit on the way."""

import importlib
import io
import zlib
from types import ModuleType
from typing import Any

import pyarrow as pa


def _fastest() -> ModuleType:
    """ISA-L needs two thirds of zlib's time; where it has no wheel the standard library reads the same."""
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib


MOST_BYTES = 512 * 1024 * 1024
GZIP, ZSTD, PARQUET, AVRO = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"Obj\x01"
_STEP = 4 * 1024 * 1024
_ZLIB: Any = _fastest()
_MOST_LAYERS = 3  # some log buckets gzip what was gzipped


class UnreadableError(Exception):
    """The bytes of an object cannot be turned into records; the text is a sentence for people."""


def unpack(data: bytes) -> bytes:
    """The content of an object, unpacked as often as needed.

    Raises:
        UnreadableError: It is empty, damaged, or unpacks to more than 512 MiB.

    Example:
        >>> import gzip
        >>> unpack(gzip.compress(gzip.compress(b"{}") + gzip.compress(b"{}")))
        b'{}{}'
    """
    if not data:
        raise UnreadableError("The object is empty.")
    for _ in range(_MOST_LAYERS):
        if data.startswith(GZIP):
            data = gunzip(data)
        elif data.startswith(ZSTD):
            data = unzstd(data, MOST_BYTES)
        else:
            break
    if len(data) > MOST_BYTES:
        raise too_large()
    if data.startswith((GZIP, ZSTD)):
        raise UnreadableError(f"The object is packed more than {_MOST_LAYERS} times.")
    return data


def gunzip(data: bytes) -> bytes:
    """All members of a gzip file."""
    parts: list[bytes] = []
    rest: Any = data
    room = MOST_BYTES
    try:
        while rest[:2] == GZIP:
            member = _ZLIB.decompressobj(wbits=31)
            parts.append(member.decompress(rest, room + 1))
            room -= len(parts[-1])
            if room < 0:
                raise too_large()
            if not member.eof:
                raise UnreadableError("The object is gzipped and was cut off.")
            rest = member.unused_data
    except (zlib.error, _ZLIB.error) as error:
        raise UnreadableError(f"The object is gzipped and damaged: {error}.") from error
    if bytes(rest).strip(b"\0"):  # tapes and some uploaders pad with zeros
        raise UnreadableError("The object is gzipped and followed by other bytes.")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def unzstd(data: bytes, room: int) -> bytes:
    """All frames of a zstd file."""
    out = io.BytesIO()
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            while chunk := stream.read(_STEP):
                if out.tell() + len(chunk) > room:
                    raise too_large()
                out.write(chunk)
    except OSError as error:
        raise UnreadableError(f"The object is packed with zstd and damaged or cut off: {error}.") from error
    return out.getvalue()


def too_large() -> UnreadableError:
    """What an object is that would take too much memory."""
    return UnreadableError(f"The object unpacks to more than {MOST_BYTES >> 20} MiB.")
