"""What people may choose about the DAGs: tables of ``tidemill.toml``, and variables that stand for their entries.

    [schedules] and [deadlines]   see dags.schedules              TIDEMILL_SCHEDULE_INGEST, TIDEMILL_DEADLINE_INGEST
    [pools]                       see dags.pools                  TIDEMILL_POOL_TRAIN
    [notifications]               see dags.notify                 TIDEMILL_NOTIFY_SLACK
    [metrics]                     file = "/var/lib/node/t.prom"   TIDEMILL_METRICS_FILE
    [webhook]                     see dags.fleet.hook             TIDEMILL_WEBHOOK_SECRET_FILE
    [pods.<dag>]                  see dags.pods

A variable goes before the file. No Airflow is imported here: the command reads the same to say what it found.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dags.errors import ScheduleError
from dags.schedules import TIMINGS

POOLS: Mapping[str, str] = {
    "ingest": "pool of ingests and features, so that nothing else holds them up",
    "train": "pool of trainings and searches, so that they cannot take every slot",
}
CHANNELS: Mapping[str, str] = {
    "webhook": "address that failures are posted to as JSON",
    "slack": "address of an incoming webhook of Slack, Mattermost or Teams",
    "email": "addresses that failures are mailed to, with commas between",
    "smtp": "mail server: smtp://host:25, or smtps://user:password@host",
    "sender": "address that mails come from",
    "quiet": "how long the same failure is not told again, such as 1h",
}
_ENTRIES: Mapping[str, Mapping[str, str]] = {
    "schedules": {dag: f"when {dag} runs: cron, a length of time or off" for dag in TIMINGS},
    "deadlines": {dag: f"by when a run of {dag} should be over, such as 2h, or off" for dag in TIMINGS},
    "pools": POOLS,
    "notifications": CHANNELS,
    "webhook": {"secret_file": "file with the secret that MLflow signs its webhooks with; none turns them off"},
    "metrics": {"file": "file for a textfile collector that the DAG metrics writes"},
}
_SECRET = ("webhook", "slack", "smtp")
_PREFIX = {"schedules": "SCHEDULE", "deadlines": "DEADLINE", "pools": "POOL", "notifications": "NOTIFY"}
TABLES = (*_ENTRIES, "pods")


def _variable(table: str, name: str) -> str:
    return f"TIDEMILL_{_PREFIX.get(table, table.upper())}_{name.upper()}"


VARIABLES: Mapping[str, str] = {
    _variable(table, name): meaning for table, entries in _ENTRIES.items() for name, meaning in entries.items()
}
"""Every variable and what it means."""


@dataclass(frozen=True, slots=True)
class Options:
    """What people chose; what is missing was left to its default.

    Attributes:
        schedules: By DAG.
        deadlines: By DAG.
        pools: Name of the pool by kind of work.
        notifications: By entry of ``CHANNELS``.
        webhook: By entry: ``secret_file``.
        metrics: By entry: ``file``.
        pods: By DAG.
    """

    schedules: Mapping[str, str] = field(default_factory=dict)
    deadlines: Mapping[str, str] = field(default_factory=dict)
    pools: Mapping[str, str] = field(default_factory=dict)
    notifications: Mapping[str, str] = field(default_factory=dict)
    webhook: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    pods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def gather(environ: Mapping[str, str], project: Mapping[str, Any]) -> Options:
    """Gather what people chose.

    Args:
        environ: The environment.
        project: The content of ``tidemill.toml``.

    Raises:
        ScheduleError: An entry that no table has, or that is no text. Names of DAGs are judged by ``dags.schedules``,
            so that a misspelt one stops the DAG it means and no other.

    Example:
        >>> found = gather({"TIDEMILL_SCHEDULE_INGEST": "off"}, {"schedules": {"ingest": "@daily", "train": "@weekly"}})
        >>> found.schedules
        {'ingest': 'off', 'train': '@weekly'}
    """
    found: dict[str, dict[str, str]] = {}
    for table, entries in _ENTRIES.items():
        stored = _table(table, project.get(table, {}))
        if table not in ("schedules", "deadlines"):
            _refuse_unknown(table, stored, entries)
        named = {name: environ[_variable(table, name)] for name in entries if environ.get(_variable(table, name))}
        found[table] = {**stored, **named}
    pods = project.get("pods", {})
    _refuse_unknown("pods", pods, TIMINGS)
    return Options(**found, pods=pods)


def shown(environ: Mapping[str, str], project: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, value and source of everything somebody chose; addresses of channels are secrets, and covered.

    Example:
        >>> shown({"TIDEMILL_NOTIFY_SLACK": "https://hooks.example/T0/B1"}, {"schedules": {"ingest": "@daily"}})
        [('schedules.ingest', '@daily', 'file'),
         ('notifications.slack', '********', 'environment TIDEMILL_NOTIFY_SLACK')]
    """
    found = gather(environ, project)
    lines = []
    for table in _ENTRIES:
        for name, value in getattr(found, table).items():
            variable = _variable(table, name)
            source = f"environment {variable}" if environ.get(variable) else "file"
            secret = table == "notifications" and name in _SECRET
            lines.append((f"{table}.{name}", "********" if secret else value, source))
    return lines + [(f"pods.{dag}", ", ".join(map(str, chosen)), "file") for dag, chosen in found.pods.items()]


def _table(table: str, stored: Any) -> dict[str, str]:
    texts = isinstance(stored, Mapping) and all(isinstance(value, str) and value for value in stored.values())
    if not texts:
        raise ScheduleError("every entry must be a text", where=f"[{table}] in tidemill.toml", fix='name = "value"')
    return dict(stored)


def _refuse_unknown(table: str, stored: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in sorted(set(stored) - set(known)):
        near = difflib.get_close_matches(name, list(known), 1)
        fix = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
        raise ScheduleError(f"{name!r} is unknown", where=f"[{table}] in tidemill.toml", fix=fix)
