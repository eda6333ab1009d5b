"""The fields of the trigger forms, and the task that refuses what no form has.

Airflow checks the values of known fields and takes unknown keys in silence. So every DAG begins with a task that
compares the keys of the run with its form and, where one is misspelt, fails with the nearest known one.
"""

import difflib
import logging
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowFailException

from dags.errors import ParameterError
from features.errors import TidemillError

_LOG = logging.getLogger(__name__)
MORE = "More"
EVERY = {"null": "(every one)"}
"""What a list shows for the empty value, for which Airflow's form would say null."""
SHOWN = "pump_failure"
ENGINE_OPTIONS = {"engine": "{{ params.engine }}", "master": "{{ params.master or '' }}"}
"""What the fields `engine` and `master` say, as options of the command."""


def fleet(names: Collection[str], description: str) -> Param:
    """Return the field that picks one fleet, or all when empty."""
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *names],
        values_display=EVERY,
        title="Fleet",
        description=description,
    )


def engine() -> Param:
    """Return the field that picks who computes panes and feature rows."""
    return Param(
        "local",
        type="string",
        enum=["local", "spark"],
        title="Engine",
        description="Where it is computed: local, on this worker; spark, for more than one machine can read in time.",
    )


def master() -> Param:
    """Return the field that says where Spark works."""
    return Param(
        None,
        type=["null", "string"],
        title="Spark master",
        description="Where Spark works, for example spark://head:7077. Empty: all cores of the worker.",
        section=MORE,
    )


def usecase(names: Collection[str]) -> Param:
    """Return the field that picks the use case to train; at first the one that the demo has telemetry for."""
    return Param(
        SHOWN if SHOWN in names else next(iter(names), ""),
        type="string",
        enum=list(names),
        title="Use case",
        description="What is to be foreseen. It fixes fleet, features, label, split and gate.",
    )


def any_usecase(names: Collection[str]) -> Param:
    """Return the field that picks one use case, or all when empty."""
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *names],
        values_display=EVERY,
        title="Use case",
        description="The use case to look at. Empty: all of them.",
    )


def day(title: str, description: str) -> Param:
    """Return an optional date."""
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def demand_order(since: str | None, until: str | None, now: datetime) -> None:
    """Refuse days between which nothing can lie.

    Raises:
        ParameterError: The first is not before the second, lies in the future, or is missing.

    Example:
        >>> demand_order("2026-02-01", "2026-01-01", datetime(2026, 11, 1))
        Traceback (most recent call last):
        ...
        dags.errors.ParameterError: 'since' is 2026-02-01 and 'until' is 2026-01-01: there is nothing between them.
        Fix: give an earlier day as 'since', or a later one as 'until'
    """
    if not since:
        raise ParameterError("'until' without 'since' names no days", fix="give both, or 'since' alone")
    if until and since >= until:
        raise ParameterError(
            f"'since' is {since} and 'until' is {until}: there is nothing between them",
            fix="give an earlier day as 'since', or a later one as 'until'",
        )
    if since > now.date().isoformat():
        raise ParameterError(f"'since' is {since}, which is still to come", fix="give a day of the past, or none")


def dates(context: Context, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the days a form asks for, as options of the command; a first day without a last one stands for itself.

    Raises:
        AirflowFailException: There is nothing between them, or a last day has no first one.
    """
    since, until = params["since"], params["until"]
    if not since and not until:
        return {}
    try:
        demand_order(since, until, datetime.now(UTC))
    except ParameterError as error:
        raise AirflowFailException(f"{error.code} {error} (run of {context['dag'].dag_id})") from error
    return {"since": since, "until": until or (date.fromisoformat(since) + timedelta(days=1)).isoformat()}


def refuse_unknown(given: Collection[str], known: Collection[str], dag_id: str) -> None:
    """Refuse keys that no field of the form has.

    Raises:
        ParameterError: Some are unknown; all of them in one sentence.

    Example:
        >>> refuse_unknown({"usecas"}, {"usecase", "seed"}, "train")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        dags.errors.ParameterError: 'usecas' is no parameter, did you mean 'usecase'? (run of train). Fix: ...
    """
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return
    parts = []
    for name in unknown:
        near = difflib.get_close_matches(name, list(known), n=1)
        parts.append(f"{name!r} is no parameter" + (f", did you mean {near[0]!r}?" if near else ""))
    raise ParameterError(
        "; ".join(parts),
        where=f"run of {dag_id}",
        fix=f"trigger it again with {', '.join(sorted(known)) or 'no parameters'}",
    )


def check(context: Context, form: Mapping[str, Param]) -> dict[str, Any]:
    """Return the values of a run, after its keys were compared with the form.

    Raises:
        AirflowFailException: A key is unknown; trying again would not help.
    """
    given = {*context["params"], *(context["dag_run"].conf or {})}
    try:
        refuse_unknown(given, form, context["dag"].dag_id)
    except ParameterError as error:
        raise told(error) from error
    return {name: context["params"][name] for name in form}


def told(error: TidemillError) -> AirflowFailException:
    """Say it in lines of the log, of which the page shows all; of an exception it shows the beginning."""
    for part in (error.what, f"fix: {error.fix}"):
        _LOG.error("%s", part)
    return AirflowFailException(f"{error.code} {error}")
