"""Kinds of values on the command line: names with suggestions and completion, moments, days."""

import difflib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click
from click.shell_completion import CompletionItem

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class Name(click.ParamType[str]):
    """One of several names that are only looked up when needed.

    Args:
        kind: What is named, for messages: "fleet".
        known: Gives the names there are.
    """

    def __init__(self, kind: str, known: Callable[[], Sequence[str]]) -> None:
        self.name = kind
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail with the nearest known one."""
        known = list(self._known())
        if value not in known:
            close = difflib.get_close_matches(str(value), known, 1)
            meant = f" Did you mean {close[0]!r}?" if close else f" There are: {', '.join(known)}."
            self.fail(f"{value!r} is no {self.name}.{meant}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's signature
        """Complete from the names there are."""
        return [CompletionItem(name) for name in self._known() if name.startswith(incomplete)]


class Moment(click.ParamType[int]):
    """An ISO 8601 day or time as UTC microseconds; without a zone it is UTC.

    Example:
        >>> Moment().convert("1970-01-02", None, None), Moment().convert("1970-01-01T01:00:00+01:00", None, None)
        (86400000000, 0)
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return UTC microseconds."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no ISO 8601 time, for example 2026-02-04 or 2026-02-04T06:00.", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000 + moment.microsecond


class Day(click.ParamType[date]):
    """A UTC day, ``2026-01-31``.

    Example:
        >>> Day().convert("2026-01-31", None, None)
        datetime.date(2026, 1, 31)
    """

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no day, for example 2026-01-31.", param, ctx)


class Age(click.ParamType[timedelta]):
    """An age such as ``30d``, ``36h`` or ``2w``.

    Example:
        >>> Age().convert("36h", None, None)
        datetime.timedelta(days=1, seconds=43200)
    """

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the age."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,6})([hdw])", str(value))
        if found is None:
            self.fail(f"{value!r} is no age, for example 30d, 36h or 2w.", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


class Share(click.ParamType[tuple[int, int]]):
    """One of several shares, such as ``1/2``.

    Example:
        >>> Share().convert("2/3", None, None)
        (2, 3)
    """

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return which one of how many."""
        found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", str(value))
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r} is no share, for example 1/2.", param, ctx)
        return int(found[1]), int(found[2])


def iso(moment_us: int) -> str:
    """UTC microseconds as people read them, whole seconds.

    Example:
        >>> iso(1_767_571_200_000_000)
        '2026-01-05T00:00:00Z'
    """
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fleets() -> Sequence[str]:
    from features import catalog  # noqa: PLC0415 - numpy comes with it

    return catalog.names()


def _usecases() -> Sequence[str]:
    from pipelines import usecases  # noqa: PLC0415 - numpy comes with it

    return usecases.names()


def _estimators() -> Sequence[str]:
    from pipelines import usecases  # noqa: PLC0415 - numpy comes with it

    return (*usecases.ESTIMATORS, usecases.AUTOMATIC)


def _reasons() -> Sequence[str]:
    from features.schema import Reason  # noqa: PLC0415 - numpy comes with it

    return [reason.value for reason in Reason]


FLEET = Name("fleet", _fleets)
USECASE = Name("use case", _usecases)
ESTIMATOR = Name("estimator", _estimators)
MOMENT = Moment()
DAY = Day()
AGE = Age()
SHARE = Share()
REASON = Name("reason", _reasons)
SINGLE_WRITER = click.option(
    "--single-writer",
    is_flag=True,
    help="No other process writes to this store: do not ask whether several could.",
)
