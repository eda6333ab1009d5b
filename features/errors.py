"""What can go wrong, told in four parts: what happened, where, why, and how to mend it.

``TidemillError`` is the root of every error the project raises on purpose. Codes are stable and numbered by package:
TM-1xx features, TM-2xx serving, TM-3xx pipelines, TM-4xx infra. ``tidemill explain TM-101`` prints the docstring of the
class that owns the code, so these docstrings are written for the user who meets the error.
"""

from typing import ClassVar


class TidemillError(Exception):
    """Something Tidemill found wrong and can explain.

    Each kind of error has a code of its own, and its message says what happened, where, why, and how to mend it.

    Args:
        what: What happened, one sentence without a full stop.
        where: The file, key, row or setting it happened at.
        why: The rule that was broken, or the cause that was found.
        fix: What to do about it.

    Example:
        >>> str(TidemillError("the fleet has no signals", where="catalog entry pumps", fix="declare one Signal"))
        'the fleet has no signals (catalog entry pumps). Fix: declare one Signal'
    """

    code: ClassVar[str] = "TM-000"
    exit_code: ClassVar[int] = (
        1  # 1 a failed check or bad data, 2 usage or configuration, 3 a dependency is unreachable
    )

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        # Only `what` goes to Exception.args: pickling rebuilds from it and restores the rest from __dict__.
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        line = self.what
        if self.where:
            line += f" ({self.where})"
        if self.why:
            line += f": {self.why}"
        if self.fix:
            line += f". Fix: {self.fix}"
        return line


class DataError(TidemillError):
    """Data does not have the form it should have.

    Raised where telemetry, panes or snapshots contradict what was declared about them. Mend the data or the
    declaration; running the same thing again gives the same error.
    """

    code: ClassVar[str] = "TM-100"


class FleetError(TidemillError):
    """The description of a fleet contradicts itself.

    For example two signals share a name, or the low end of a range lies above its high end. Mend the entry in
    ``features/catalog``; nothing is read or written before it is sound.
    """

    code: ClassVar[str] = "TM-101"
    exit_code: ClassVar[int] = 2


class FeatureSetError(TidemillError):
    """A feature set asks for something that cannot be computed.

    For example a signal the fleet does not have, a statistic nobody defined, or a window that is not a whole number of
    panes. Mend the entry in ``features/catalog``.
    """

    code: ClassVar[str] = "TM-102"
    exit_code: ClassVar[int] = 2


class UnknownEntryError(TidemillError):
    """No catalog entry has that name.

    A fleet exists when a module of its name lies in ``features/catalog``. The message lists the names there are and
    the one that was probably meant.
    """

    code: ClassVar[str] = "TM-103"
    exit_code: ClassVar[int] = 2


class ReadingsShapeError(DataError):
    """Arrays of readings do not fit together.

    Times, devices and values of readings travel as arrays of one length, with one column of values per signal of the
    fleet. The message says which array has which shape and which was expected.
    """

    code: ClassVar[str] = "TM-104"


class SnapshotError(DataError):
    """A snapshot of running features cannot be restored.

    It is damaged, or it was taken with another feature set or lateness. Start without it: the features are complete
    again after the longest window has passed.
    """

    code: ClassVar[str] = "TM-105"
