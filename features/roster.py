"""Names of devices and the codes that stand for them in arrays; the codes of forgotten devices are given anew.

>>> roster = Roster(most=2)
>>> roster.enter(["P-1", "P-2", "P-3"]).tolist()
[0, 1, -1]
>>> roster.remove("P-1"), roster.enter(["P-4", "P-2"]).tolist(), roster.name(0)
(0, [0, 1], 'P-4')
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]

REFUSED = -1
"""The code of a device that would be one too many."""


class Roster:
    """Devices by name and by code.

    Args:
        most: How many there may be; None for any number.
        names: Names by code to begin with; None where a code is free.

    Attributes:
        codes: Code by name.
    """

    def __init__(self, most: int | None, names: Iterable[str | None] = ()) -> None:
        self._most = most
        self._names = list(names)
        self._free = [code for code, name in enumerate(self._names) if name is None]
        self.codes = {name: code for code, name in enumerate(self._names) if name is not None}

    @property
    def size(self) -> int:
        """Codes that were ever given; all are below it."""
        return len(self._names)

    @property
    def names(self) -> list[str | None]:
        """Names by code; None where a code is free."""
        return self._names

    def name(self, code: int) -> str:
        """The name behind a code that is in use."""
        return str(self._names[code])

    def enter(self, names: Sequence[str]) -> Codes:
        """Codes of devices, new or known; ``REFUSED`` for those that are too many."""
        codes = np.empty(len(names), np.int32)
        for number, name in enumerate(names):
            code = self.codes.get(name)
            codes[number] = self._new(name) if code is None else code
        return codes

    def find(self, names: Sequence[str]) -> Codes:
        """Codes of devices, as ``enter`` gives them; quick where all are known."""
        try:
            return np.fromiter(map(self.codes.__getitem__, names), np.int32, len(names))
        except KeyError:
            return self.enter(names)

    def remove(self, name: str) -> int | None:
        """Free the code of a device and tell it; None where the device is not known."""
        code = self.codes.pop(name, None)
        if code is not None:
            self._names[code] = None
            self._free.append(code)
        return code

    def in_use(self, codes: Codes) -> bool:
        """Whether every code stands for a device, or for one that was refused."""
        if not len(codes):
            return True
        return bool(codes.max() < len(self._names)) and not (self._free and np.isin(codes, self._free).any())

    def _new(self, name: str) -> int:
        if self._most is not None and len(self.codes) >= self._most:
            return REFUSED
        if self._free:
            code = self._free.pop()
            self._names[code] = name
        else:
            code = len(self._names)
            self._names.append(name)
        self.codes[name] = code
        return code
