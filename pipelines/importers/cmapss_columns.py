"""Which column of a C-MAPSS file is which: published order, a header in one of the spellings in use, or as told.

>>> columns_of(["1", "1", "-0.0007", "641.82"], ("unit", "cycle", "-", "sensor_2"), "train_FD001.txt")
(['unit', 'cycle', '-', 'T24'], False)
>>> columns_of(["unit_nr", "time_cycles", "s_2", "s_11", "RUL"], (), "train_FD001.csv")
(['unit', 'cycle', 'T24', 'Ps30', '-'], True)
"""

import difflib
from collections.abc import Sequence
from typing import Final

from features.catalog.cmapss import FLEET
from pipelines.errors import ImportFileError, ImportOptionError

PUBLISHED: Final = ("unit", "cycle", *FLEET.signal_names)
PASSED_OVER: Final = "-"
_SETTINGS = 3

_SPELLINGS: Final[dict[str, str]] = {
    **{name.lower().replace("_", ""): name for name in PUBLISHED},
    **dict.fromkeys(("unitnumber", "unitnr", "unitid", "id", "engine", "engineid", "enginenumber"), "unit"),
    **dict.fromkeys(("cycles", "time", "timecycle", "timecycles", "timeincycles", "timestep"), "cycle"),
    **{
        f"{word}{place}": name
        for place, name in enumerate(FLEET.signal_names[:_SETTINGS], start=1)
        for word in ("os", "op", "opsetting", "operationalsetting", "set")
    },
    **{
        f"{word}{place}": name
        for place, name in enumerate(FLEET.signal_names[_SETTINGS:], start=1)
        for word in ("s", "sensor", "sensormeasurement", "sm")
    },
    **dict.fromkeys(("rul", "ttf", "label", "maxcycle", "index", "unnamed:0", "", "-"), PASSED_OVER),
}


def columns_of(first: Sequence[str], given: Sequence[str], where: str) -> tuple[list[str], bool]:
    """What the columns of a file are.

    Args:
        first: Fields of its first line.
        given: Names that were told; empty to take the header or the published order.
        where: The file, for messages.

    Returns:
        ``unit``, ``cycle``, a signal of the fleet or ``-`` for each column, and whether the first line is a header.

    Raises:
        ImportOptionError: A told name means nothing.
        ImportFileError: The columns cannot be told, or unit or cycle is not among them.
    """
    headed = bool(first) and not all(map(_is_number, filter(None, first)))
    names = list(given) or (list(first) if headed else list(PUBLISHED))
    found = [_SPELLINGS.get(name.strip().lower().replace("_", "").replace(" ", "")) for name in names]
    unknown = [name for name, column in zip(names, found, strict=True) if column is None]
    if unknown:
        close = difflib.get_close_matches(unknown[0], PUBLISHED, 1)
        error = ImportOptionError if given else ImportFileError
        raise error(
            f"columns that mean nothing here: {', '.join(unknown)}" + (f"; {close[0]}?" if close else ""),
            where="--columns" if given else f"{where}:1",
            fix=f"name them with --columns: {', '.join(PUBLISHED)}, or - for one to pass over",
        )
    if len(found) != len(first):
        raise ImportFileError(
            f"{len(first)} columns, expected {len(found)}",
            where=f"{where}:1",
            fix="say which they are, in their order: --columns unit,cycle,sensor2,…",
        )
    columns = [column for column in found if column is not None]
    told = [column for column in columns if column != PASSED_OVER]
    if len(set(told)) < len(told) or not {"unit", "cycle"} <= set(told):
        raise ImportFileError(
            "unit and cycle are needed, and each column once", where=f"{where}:1", why=f"found: {', '.join(told)}"
        )
    return columns, headed


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
