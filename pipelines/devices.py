"""Codes of devices: small numbers that stand for names while features are computed."""

import threading
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Devices:
    """Codes of device names, given out in the order in which the names are met.

    With several threads that order differs from run to run; names given at the start have their place as code.

    Args:
        names: Names that are known already, each once.

    Example:
        >>> devices = Devices()
        >>> devices.codes(pa.chunked_array([["b", "a", "b"]])).tolist(), devices.names.to_pylist()
        ([0, 1, 0], ['b', 'a'])
        >>> devices.codes(pa.array(["a", "c"])).tolist()
        [1, 2]
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._codes = {name: code for code, name in enumerate(names)}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def names(self) -> pa.Array:
        """The names, in the order of their codes."""
        return pa.array(list(self._codes), pa.string())

    def codes(self, column: pa.ChunkedArray | pa.Array) -> NDArray[np.int32]:
        """The codes of a column of names, text or dictionary-encoded; new names get the next ones."""
        chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
        coded = chunked.unify_dictionaries() if pa.types.is_dictionary(chunked.type) else chunked.dictionary_encode()
        if not len(coded):
            return np.zeros(0, np.int32)
        with self._lock:
            texts = coded.chunk(0).dictionary.to_pylist()
            found = np.array([self._codes.setdefault(name, len(self._codes)) for name in texts], np.int32)
        places = np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in coded.chunks])
        codes: NDArray[np.int32] = found[places]
        return codes
