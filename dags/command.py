"""One task, one call of the ``tidemill`` command, in a process of its own.

The command's progress (standard error) becomes the task's log while it runs; its result (one JSON object on standard
output) becomes the task's XCom, reduced to names and counts. When the task is killed, so is the command.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, BaseOperatorLink, Connection, Context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from dags import settings
from dags.errors import CommandFailedError, DagError

PROGRAM = Path(sys.executable).with_name("tidemill")
UNREACHABLE = 3
ACCESS_DENIED = "TM-204"
CREDENTIALS = "credentials come from the Airflow connection aws_default or, without one, from AWS_* variables"
SOMEBODY_ELSE_AT_WORK = ("TM-303", "TM-306")
GRACE_S = 15
LONGEST_TEXT = 200
LONGEST_LIST = 20
MOST_NAMES = 64


class VersionLink(BaseOperatorLink):
    """A button on the task that opens the version it registered in MLflow."""

    name = "Model version"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the address the command named, or nothing."""
        return str(getattr(operator, "result", {}).get("url") or "")


class RunLink(BaseOperatorLink):
    """A button on the task that opens its run in MLflow."""

    name = "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the address, or nothing where the command made no run."""
        made = getattr(operator, "result", {})
        base, _, page = str(made.get("url") or "").partition("#/")
        return f"{base}#/runs/{made['run_id']}" if page and made.get("run_id") else ""


class ReportLink(BaseOperatorLink):
    """A button on the task that opens the report of the training."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the address the command named; a path in the store is no page, so there is no button for it."""
        named = str(getattr(operator, "result", {}).get("report") or "")
        return named if named.startswith(("http://", "https://")) else ""


class CommandOperator(BaseOperator):
    """Call ``tidemill <words> --<option>=<value> … --json``.

    Args:
        words: The command and its positional arguments.
        options: Values by option name; an option whose value is empty is left out.
        skip_on: Codes of errors that skip the task instead of failing it.
    """

    template_fields = ("words", "options", "skip_on")
    operator_extra_links: ClassVar = (RunLink(), VersionLink(), ReportLink())
    ui_color = "#dcebf2"

    def __init__(
        self,
        *,
        words: Sequence[Any],
        options: Mapping[str, str] | None = None,
        skip_on: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.words = list(words)
        self.options = dict(options or {})
        self.skip_on = list(skip_on)
        self.result: dict[str, Any] = {}
        self._child: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the command to its end.

        Raises:
            AirflowFailException: It failed, and would fail again.
            AirflowException: It failed, and may succeed later.
            AirflowSkipException: It failed with a code that means "nothing to do" here.
        """
        try:
            connections = {service.connection: _connection(service.connection) for service in settings.SERVICES}
            environment = settings.command_environment(connections, settings.task_environment())
        except DagError as error:
            raise AirflowFailException(f"{error.code} {error}") from error
        environment["AIRFLOW_CTX_RUN_URL"] = context["ti"].log_url
        arguments = [*map(str, self.words), *flags(self.options)]
        self.log.info("tidemill %s", " ".join(arguments))
        result, code = self._run([str(PROGRAM), *arguments, "--json"], environment)
        if "error" in result or (code and not result):
            _fail(result.get("error") or {}, code, arguments, self.skip_on)
        self.result = result
        brief = summary(result)
        self.log.info("%s", json.dumps(legible(brief), indent=2))
        if sentence := result.get("sentence"):  # last, because a log is opened at its end
            self.log.info("%s", sentence)
        return brief

    def on_kill(self) -> None:
        """End the command: politely first, for good after ``GRACE_S`` seconds."""
        if (child := self._child) is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        last = threading.Timer(GRACE_S, child.kill)
        last.daemon = True
        last.start()

    def _run(self, command: list[str], environment: Mapping[str, str]) -> tuple[dict[str, Any], int]:
        """Return the last JSON object on standard output and the exit code; log the rest as it comes."""
        printed: list[str] = []
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            self._child = child
            reader = threading.Thread(target=lambda: printed.extend(child.stdout or ()), daemon=True)
            reader.start()
            said = [line.rstrip() for line in self._logged(child.stderr or ())]
            reader.join()
        result = _last_object(printed)
        if child.returncode and not result:
            result = {"error": {"message": "\n".join(said[-4:])}} if said else {}
        return result, child.returncode

    def _logged(self, lines: Any) -> Any:
        for line in lines:
            tell = self.log.warning if line.startswith("WARNING") else self.log.info
            tell("%s", line.rstrip())
            yield line


def flags(options: Mapping[str, str]) -> list[str]:
    """Write options as the command reads them; empty ones are left out.

    The value is joined to its name, so that a value that begins with a dash stays a value.

    Example:
        >>> flags({"since": "2026-11-01", "until": "", "note": "-x"})
        ['--since=2026-11-01', '--note=-x']
    """
    return [f"--{name}={value}" for name, value in options.items() if str(value) != ""]


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a result to what may travel between tasks: names, counts, short lists of them, sentences cut short.

    Example:
        >>> summary({"version": "pump_failure/3", "rows": 240, "scores": [0.1] * 1000, "lineage": {"table": 7}})
        {'version': 'pump_failure/3', 'rows': 240, 'lineage': {'table': 7}}
    """
    brief: dict[str, Any] = {}
    for name, whole in result.items():
        value = [_cut(item) for item in whole] if isinstance(whole, list) else _cut(whole)
        if isinstance(value, Mapping):
            inner = summary(value)
            if inner and len(inner) <= MOST_NAMES:
                brief[name] = inner
        elif isinstance(value, list) and len(value) <= LONGEST_LIST:
            if all(isinstance(item, Mapping) for item in value):
                brief[name] = [summary(item) for item in value]
            elif all(map(_short, value)):
                brief[name] = value
        elif _short(value):
            brief[name] = value
    return brief


def legible(value: Any) -> Any:
    """Return a result for people: numbers with six digits. What travels between tasks keeps all of them.

    Example:
        >>> legible({"latency_us": 25.66799958003685, "rows": 1234567, "moved": [0.09888901472037262]})
        {'latency_us': 25.668, 'rows': 1234567, 'moved': [0.098889]}
    """
    if isinstance(value, Mapping):
        return {name: legible(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [legible(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def may_pass(exit_code: int, error: str | None) -> bool:
    """Whether another attempt can end better: something was out of reach, somebody else at work, or a signal came.

    Example:
        >>> may_pass(3, "TM-203"), may_pass(1, "TM-306"), may_pass(1, "TM-307"), may_pass(-9, None)
        (True, True, False, True)
    """
    return exit_code == UNREACHABLE or exit_code < 0 or error in SOMEBODY_ELSE_AT_WORK


def _cut(value: object) -> object:
    """A sentence that is too long loses its end, not itself; a name that is too long would become another one."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT and " " in value:
        return f"{value[: LONGEST_TEXT - 1]}…"
    return value


def _short(value: object) -> bool:
    return (
        value is None
        or isinstance(value, bool | int | float)
        or (isinstance(value, str) and len(value) <= LONGEST_TEXT)
    )


def _connection(name: str) -> Connection | None:
    try:
        return Connection.get(name)
    except AirflowNotFoundException:
        settings.refuse_unreadable(name, settings.task_environment())
        return None


def _last_object(lines: Sequence[str]) -> dict[str, Any]:
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def _fail(error: Mapping[str, Any], code: int, arguments: list[str], skip_on: Sequence[str]) -> None:
    """Raise what Airflow understands, with the four parts of the command's own message."""
    if (name := error.get("code")) and name in skip_on:
        raise AirflowSkipException(str(error.get("message") or name))
    told = CommandFailedError(
        f"{name or ''} {error.get('message') or f'it ended with code {code} and said nothing'}".strip(),
        where=f"tidemill {' '.join(arguments)}",
        fix=CREDENTIALS if name == ACCESS_DENIED else "",
    )
    raise (AirflowException if may_pass(code, name) else AirflowFailException)(str(told)) from told
