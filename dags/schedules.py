"""When each DAG runs, and by when a run should be over: one table, and what people put in its place.

Times are UTC. In ``tidemill.toml``, or as ``TIDEMILL_SCHEDULE_<DAG>`` and ``TIDEMILL_DEADLINE_<DAG>``::

    [schedules]
    ingest = "*/15 * * * *"   # cron
    release = "5min"          # or a part of an hour or a day
    upkeep = "off"            # or only by hand

    [deadlines]
    ingest = "30min"
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dags.errors import ScheduleError

OFF = "off"
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_HOUR, _DAY = 3600, 86_400
_LENGTH = re.compile(r"(\d{1,4}) ?(s|min|h|d)")


@dataclass(frozen=True, slots=True)
class Timing:
    """The timing of one DAG.

    Attributes:
        schedule: A cron expression or a length of time, ``off`` for none.
        deadline: How long after it was due a run should be over, ``off`` for no limit; told, never enforced.
        why: Why so, for the table in the manual.
    """

    schedule: str
    deadline: str
    why: str


TIMINGS: Mapping[str, Timing] = {
    "ingest": Timing("7 * * * *", "2h", "Hubs write full hours; seven minutes let them finish."),
    "materialize": Timing("@daily", "12h", "What an ingest left undone; its runs are the days a backfill rebuilds."),
    "train": Timing(OFF, OFF, "Monitoring wakes it when a model has become worse; a budget may be a day."),
    "release": Timing("2min", "10min", "An alias wakes it in seconds; the timer is for what was missed."),
    "approve": Timing(OFF, OFF, "A release run asks; a use case says how long an answer is waited for."),
    "monitor": Timing("23 4 * * *", "4h", "Labels come late; once a day is often enough to see them."),
    "upkeep": Timing("41 2 * * *", "12h", "Small files of a day, when little else runs."),
    "metrics": Timing("5min", "30min", "As often as dashboards look; nothing without a file to write."),
}


def cron(dag: str, given: Mapping[str, str] | None = None) -> str | None:
    """Return the cron expression of a DAG; None when it has none.

    Args:
        dag: Id of the DAG.
        given: What people put in place of the table.

    Raises:
        ScheduleError: It is no schedule, or a misspelt name that means this DAG.

    Example:
        >>> cron("release"), cron("release", {"release": "6h"}), cron("ingest", {"ingest": "off"})
        ('*/2 * * * *', '0 */6 * * *', None)
        >>> cron("ingest", {"ingset": "2min"})
        Traceback (most recent call last):
        ...
        dags.errors.ScheduleError: there is no DAG 'ingset' ([schedules]). Fix: did you mean ingest?
    """
    chosen = _chosen("schedules", dag, given or {}, TIMINGS[dag].schedule)
    if chosen == OFF:
        return None
    if found := _LENGTH.fullmatch(chosen):
        return _every(dag, int(found[1]), found[2])
    _demand_cron(dag, chosen)
    return chosen


def following(dag: str, moment: datetime, given: Mapping[str, str] | None = None) -> datetime:
    """Return when a DAG runs next after a moment; a day later when it has no timer.

    Example:
        >>> following("materialize", datetime(2026, 1, 31), {"materialize": "0 0 * * 0"})
        datetime.datetime(2026, 2, 1, 0, 0)
    """
    from croniter import croniter  # noqa: PLC0415 - it comes with Airflow, see _demand_cron

    expression = cron(dag, given)
    return moment + timedelta(days=1) if expression is None else croniter(expression, moment).get_next(datetime)


def deadline(dag: str, given: Mapping[str, str] | None = None) -> timedelta | None:
    """Return how long a run may take from when it was due until somebody is told; None for ever.

    Raises:
        ScheduleError: It is no length of time, or a misspelt name that means this DAG.

    Example:
        >>> deadline("ingest"), deadline("train"), deadline("train", {"train": "6h"})
        (datetime.timedelta(seconds=7200), None, datetime.timedelta(seconds=21600))
    """
    chosen = _chosen("deadlines", dag, given or {}, TIMINGS[dag].deadline)
    if chosen == OFF:
        return None
    return length(chosen, f"[deadlines] {dag}")


def length(text: str, where: str) -> timedelta:
    """Return a length of time such as ``30min``, ``2h`` or ``1d``.

    Raises:
        ScheduleError: It is none.
    """
    if (found := _LENGTH.fullmatch(text)) and int(found[1]):
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    raise ScheduleError(f"{text!r} is no length of time", where=where, fix="write it as 30min, 2h or 1d")


def problems(schedules: Mapping[str, str], deadlines: Mapping[str, str]) -> list[str]:
    """Return everything that is wrong with what people put in place of the table, each once.

    Example:
        >>> problems({"ingest": "7 * * *", "trian": "off"}, {})  # doctest: +ELLIPSIS
        ["'7 * * *' is no schedule ([schedules] ingest). Fix: ...", "there is no DAG 'trian' ([schedules]). Fix: ..."]
    """
    found: list[str] = []
    for dag in TIMINGS:
        for check, given in ((cron, schedules), (deadline, deadlines)):
            try:
                check(dag, given)
            except ScheduleError as error:
                found.append(str(error))
    return list(dict.fromkeys(found))


def _chosen(table: str, dag: str, given: Mapping[str, str], default: str) -> str:
    """The value for a DAG. A misspelt name stops the DAG it means, or all where it is like none."""
    for name in sorted(set(given) - set(TIMINGS)):
        near = difflib.get_close_matches(name, TIMINGS, 1)
        if not near or near[0] == dag:
            fix = f"did you mean {near[0]}?" if near else f"use one of {', '.join(TIMINGS)}"
            raise ScheduleError(f"there is no DAG {name!r}", where=f"[{table}]", fix=fix)
    return given.get(dag, default)


def _every(dag: str, count: int, unit: str) -> str:
    """A cron expression that runs evenly: cron begins each hour and each day anew."""
    seconds = count * _UNITS[unit]
    if seconds and seconds < _HOUR and _HOUR % seconds == 0 and seconds % 60 == 0:
        return f"*/{seconds // 60} * * * *"
    if seconds and seconds < _DAY and seconds % _HOUR == 0 and _DAY % seconds == 0:
        return f"0 */{seconds // _HOUR} * * *"
    if seconds == _DAY:
        return "0 0 * * *"
    raise ScheduleError(
        f"{count}{unit} is no part of an hour or a day",
        where=f"[schedules] {dag}",
        why="a run would come early at each full hour or midnight",
        fix="use one that divides it, such as 10min, 6h or 1d, or a cron expression",
    )


def _demand_cron(dag: str, text: str) -> None:
    from airflow.sdk import CronTriggerTimetable  # noqa: PLC0415 - the command reads this table without Airflow
    from airflow.sdk.exceptions import AirflowTimetableInvalid  # noqa: PLC0415 - see above

    made = CronTriggerTimetable(text, timezone="UTC")
    try:
        made.validate()
        parts = len(made.expression.split())
    except AirflowTimetableInvalid:
        parts = 0
    if parts != 5:  # noqa: PLR2004 - minute, hour, day, month, weekday; Airflow would take seconds as well
        raise ScheduleError(
            f"{text!r} is no schedule",
            where=f"[schedules] {dag}",
            fix="write a cron expression of five fields such as 7 * * * *, @daily, a length such as 10min, or off",
        )
