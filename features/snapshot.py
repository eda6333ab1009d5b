"""Snapshots: arrays and a book in one block of bytes that tells when it is damaged.

The format: a line with name and version, the SHA-256 of all that follows, the length of the book (8 bytes, little
endian), the book (JSON in UTF-8, which also says which arrays follow), and the arrays' bytes one after the other,
little endian. The version changes whenever what a stream remembers changes its meaning; snapshots of another one are
refused. No pickles, nothing to unpack: thousands of devices are written as fast as memory is copied.

    >>> book, arrays = unpack(pack({"devices": ["P-1"]}, {"newest": np.array([60], np.int64)}))
    >>> book, arrays["newest"].tolist()
    ({'devices': ['P-1']}, [60])
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.errors import SnapshotError

_FORMAT: Final = b"tidemill-online-3\n"
_DIGEST: Final = len(_FORMAT) + hashlib.sha256().digest_size
_BOOK: Final = _DIGEST + 8


def pack(book: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The snapshot of a JSON-ready book and of arrays of int64 or float64, of any shapes."""
    described = [{"name": name, "type": array.dtype.str, "shape": array.shape} for name, array in arrays.items()]
    text = json.dumps({"book": book, "arrays": described}).encode()
    parts: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text]
    parts += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays.values()]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return b"".join([_FORMAT, digest.digest(), *parts])


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The book and the arrays of a snapshot; the arrays are read-only.

    Raises:
        SnapshotError: The snapshot is damaged, or of another version.
    """
    view = memoryview(data)
    if not data.startswith(_FORMAT) or view[len(_FORMAT) : _DIGEST] != hashlib.sha256(view[_DIGEST:]).digest():
        raise SnapshotError("the snapshot is damaged, or of another version", fix="start without it")
    begin = _BOOK + int.from_bytes(view[_DIGEST:_BOOK], "little")
    document = json.loads(bytes(view[_BOOK:begin]))
    arrays = {}
    for entry in document["arrays"]:
        element, shape = np.dtype(entry["type"]), tuple(entry["shape"])
        count = int(np.prod(shape))
        arrays[entry["name"]] = np.frombuffer(data, element, count, begin).reshape(shape)
        begin += count * element.itemsize
    book: dict[str, Any] = document["book"]
    return book, arrays
