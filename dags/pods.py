"""Tasks in pods of their own: what the Kubernetes executor is told for the tasks of a DAG.

Off unless ``tidemill.toml`` names a DAG. Each entry is optional; what is left out stays as the executor's own template
(``infra/kubernetes/pod-template.yaml``) has it::

    [pods.train]
    image = "registry.plant.example/tidemill:0.1.0"
    cpu = "2"                      # asked for; not limited, because a throttled training only takes longer
    memory = "6Gi"                 # asked for and limited
    service_account = "tidemill-train"
    node_selector = { pool = "training" }

With another executor, Airflow passes over it.
"""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from dags.errors import ScheduleError

CONTAINER = "base"
"""The container that Airflow runs the task in."""
_NEEDED = "pip install 'tidemill[kubernetes]'"


def executor_config(dag: str, pods: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the executor's instructions for the tasks of a DAG; empty where nobody chose any.

    Raises:
        ScheduleError: An entry is unknown or of the wrong kind, or the client of Kubernetes is not installed.
    """
    if dag not in pods:
        return {}
    made = pod(dag, pods[dag])
    try:
        from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator  # noqa: PLC0415 - only for pods
    except ImportError as error:
        raise ScheduleError("pods need the Kubernetes provider", where=f"[pods.{dag}]", fix=_NEEDED) from error
    return {"pod_override": PodGenerator.deserialize_model_dict(made)}


def pod(dag: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a pod's manifest that somebody chose for a DAG.

    Raises:
        ScheduleError: An entry is unknown or of the wrong kind.

    Example:
        >>> pod("train", {"memory": "6Gi"})["spec"]["containers"]
        [{'name': 'base', 'resources': {'requests': {'memory': '6Gi'}, 'limits': {'memory': '6Gi'}}}]
        >>> pod("train", {"memroy": "6Gi"})
        Traceback (most recent call last):
        ...
        dags.errors.ScheduleError: 'memroy' is unknown ([pods.train] in tidemill.toml). Fix: did you mean memory?
    """
    for name, value in chosen.items():
        _check(dag, name, value)
    requests = {name: chosen[name] for name in ("cpu", "memory") if name in chosen}
    limits = {"memory": chosen["memory"]} if "memory" in chosen else {}
    container: dict[str, Any] = {"name": CONTAINER}
    if "image" in chosen:
        container["image"] = chosen["image"]
    if requests:
        container["resources"] = {"requests": requests} | ({"limits": limits} if limits else {})
    spec: dict[str, Any] = {"containers": [container]}
    for name, field in (("service_account", "serviceAccountName"), ("node_selector", "nodeSelector")):
        if name in chosen:
            spec[field] = chosen[name]
    return {"metadata": {"labels": {"app.kubernetes.io/part-of": "tidemill", "tidemill/dag": dag}}, "spec": spec}


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_text, value.values()))


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "image": (_text, "a text"),
    "cpu": (_text, 'a text such as "2" or "500m"'),
    "memory": (_text, 'a text such as "6Gi"'),
    "service_account": (_text, "a text"),
    "node_selector": (_texts, 'labels: { pool = "training" }'),
}


def _check(dag: str, name: str, value: Any) -> None:
    where = f"[pods.{dag}] in tidemill.toml"
    if name not in _KINDS:
        near = difflib.get_close_matches(name, _KINDS, 1)
        fix = f"did you mean {near[0]}?" if near else f"use one of {', '.join(_KINDS)}"
        raise ScheduleError(f"{name!r} is unknown", where=where, fix=fix)
    fits, kind = _KINDS[name]
    if not fits(value):
        raise ScheduleError(f"{name} is {value!r}", where=where, fix=f"it must be {kind}")
