"""Feature rows as a stream gives them out: with the names of their devices, in order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from features.plan import Rows


@dataclass(frozen=True, slots=True, eq=False)
class OnlineRows:
    """Feature rows that became due, device by device, each by increasing end.

    Args:
        device: Names of the devices, one per row.
        end: Ends of the windows, shape ``(rows,)``, UTC microseconds.
        values: Features in the order of the feature set, shape ``(rows, features)``; NaN where there is nothing to say.
    """

    device: tuple[str, ...]
    end: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, made: Sequence[Rows], name: Callable[[int], str]) -> Self:
        """Put rows together that were made one after the other.

        Args:
            made: The rows, at least one part.
            name: Gives the name of the device of a code.
        """
        device = np.concatenate([rows.device for rows in made])
        end = np.concatenate([rows.end for rows in made])
        values = np.concatenate([rows.values for rows in made])
        if len(made) > 1:
            order = np.lexsort((end, device))
            device, end, values = device[order], end[order], values[order]
        return cls(tuple(map(name, device.tolist())), end, values)
