r"""The canonical bytes of a training set, and their SHA-256: what makes two training sets the same to the last bit.

::

    {"names": […], "train": 1200, "test": 400}\n        feature names and counts, as JSON on one line
    train, then test, each in columns:
        device\ndevice\n…                              names of devices in UTF-8, one a row
        end                                             int64, little endian, UTC microseconds
        values                                          float32, little endian, row by row: what the model is given
        label                                           float64, little endian

Rows are sorted by device and end, so neither the files of a table nor the order in which it was written shows. Every
NaN is written with the same bits. Nothing of a library's file format is in them: the next release of one must not
change what is equal.
"""

import hashlib
import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset import Dataset
from pipelines.windows import Windows


def canonical(dataset: Dataset) -> Iterator[bytes]:
    """Yield the bytes of a training set, part by part."""
    counts = {"names": list(dataset.names), "train": len(dataset.train), "test": len(dataset.test)}
    yield json.dumps(counts, ensure_ascii=False).encode() + b"\n"
    for windows in (dataset.train, dataset.test):
        yield from _columns(windows)


def digest_of_rows(dataset: Dataset) -> str:
    """Return the SHA-256 of the canonical bytes, hexadecimal.

    Example:
        >>> one, other = (Windows(np.array(["a"]), np.array([1]), np.zeros((1, 1)), np.array([y])) for y in (0.0, 1.0))
        >>> b"".join(_columns(one)).hex()
        '610a0100000000000000000000000000000000000000'
        >>> b"".join(_columns(one)) == b"".join(_columns(other))
        False
    """
    sha = hashlib.sha256()
    for part in canonical(dataset):
        sha.update(part)
    return sha.hexdigest()


def _columns(windows: Windows) -> Iterator[bytes]:
    yield "".join(f"{device}\n" for device in windows.device.tolist()).encode()
    yield windows.end.astype("<i8").tobytes()
    yield _one_nan(windows.values.astype("<f4")).tobytes()
    yield _one_nan(windows.label.astype("<f8")).tobytes()


def _one_nan(values: NDArray[np.floating]) -> NDArray[np.floating]:
    values[np.isnan(values)] = np.nan
    return values
