"""The fields of the trigger forms, and the task that refuses what no form has.

Airflow checks the values of known fields and takes unknown keys in silence. So every DAG begins with a task that
compares the keys of the run with its form and, where one is misspelt, fails with the nearest known one.
"""

import difflib
import logging
from collections.abc import Collection, Mapping
from typing import Any

from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowFailException

from dags.errors import ParameterError

_LOG = logging.getLogger(__name__)
MORE = "More"
EVERY = {"null": "(every one)"}
"""What a list shows for the empty value, for which Airflow's form would say null."""
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


def one_fleet(names: Collection[str]) -> Param:
    """Return the field that picks one fleet."""
    return Param(
        next(iter(names), ""),
        type="string",
        enum=list(names),
        title="Fleet",
        description="The fleet whose panes and feature rows are computed.",
    )


def engine() -> Param:
    """Return the field that picks who computes panes and feature rows."""
    return Param(
        "local",
        type="string",
        enum=["local", "spark"],
        title="Engine",
        description="Who computes: processes of this worker, or Spark, for more than one machine reads in time.",
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
    """Return the field that picks the use case to train."""
    return Param(
        next(iter(names), ""),
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
    told = []
    for name in unknown:
        near = difflib.get_close_matches(name, list(known), n=1)
        told.append(f"{name!r} is no parameter" + (f", did you mean {near[0]!r}?" if near else ""))
    raise ParameterError(
        "; ".join(told),
        where=f"run of {dag_id}",
        fix=f"trigger it again with {', '.join(sorted(known)) or 'no parameters'}",
    )


def refuse_reversed(since: str | None, until: str | None, dag_id: str) -> None:
    """Refuse a period that ends before it begins.

    Raises:
        AirflowFailException: It does; trying again would not help.

    Example:
        >>> refuse_reversed("2026-01-05", None, "train")
        >>> refuse_reversed("2026-02-03", "2026-01-20", "train")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        airflow.sdk.exceptions.AirflowFailException: TM-501 'From' (2026-02-03) must come before 'To' (2026-01-20) ...
    """
    if since and until and since >= until:
        error = ParameterError(
            f"'From' ({since}) must come before 'To' ({until})",
            where=f"run of {dag_id}",
            fix="trigger it again with an earlier first day, or a later last one",
        )
        raise _told(error) from error


def check(context: Context, form: Mapping[str, Param]) -> dict[str, Any]:
    """Return the values of a run, after its keys were compared with the form.

    Raises:
        AirflowFailException: A key is unknown; trying again would not help.
    """
    given = {*context["params"], *(context["dag_run"].conf or {})}
    try:
        refuse_unknown(given, form, context["dag"].dag_id)
    except ParameterError as error:
        raise _told(error) from error
    return {name: context["params"][name] for name in form}


def _told(error: ParameterError) -> AirflowFailException:
    """Say it in lines of the log, of which the page shows all; of an exception it shows the beginning."""
    for part in (error.what, f"fix: {error.fix}"):
        _LOG.error("%s", part)
    return AirflowFailException(f"{error.code} {error}")
