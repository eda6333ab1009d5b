"""The fields of the trigger forms, and the task that refuses what no form has.

Airflow checks the values of known fields and takes unknown keys in silence. So every DAG begins with a task that
compares the keys of the run with its form and, where one is misspelt, fails with the nearest known one.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowFailException

from dags.errors import ParameterError

MORE = "More"
ENGINE_OPTIONS = {"engine": "{{ params.engine }}", "master": "{{ params.master or '' }}"}
"""What the fields `engine` and `master` say, as options of the command."""


def fleet(names: Collection[str], description: str) -> Param:
    """Return the field that picks one fleet, or all when empty."""
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *names],
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


def check(context: Context, form: Mapping[str, Param]) -> dict[str, Any]:
    """Return the values of a run, after its keys were compared with the form.

    Raises:
        AirflowFailException: A key is unknown; trying again would not help.
    """
    given = {*context["params"], *(context["dag_run"].conf or {})}
    try:
        refuse_unknown(given, form, context["dag"].dag_id)
    except ParameterError as error:
        raise AirflowFailException(f"{error.code} {error}") from error
    return {name: context["params"][name] for name in form}
