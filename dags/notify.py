"""Who is told when a run fails or is late: a webhook, a chat, mail. Off until somebody names one.

    [notifications]                                   or TIDEMILL_NOTIFY_SLACK and so on
    slack = "https://hooks.example/services/…"        Slack, Mattermost, Teams: {"text": …}
    webhook = "https://plant.example/alerts"          everything as JSON, for programs
    email = "ops@plant.example, night@plant.example"
    smtp = "smtps://tidemill:password@mail.plant.example"
    sender = "tidemill@plant.example"
    quiet = "1h"                                      the same failure is not told again before

A message says what failed and where, the error's code, how to mend it, and leads to the log. A notification that cannot
be sent is a warning in the log of its task and changes nothing else.

Why so: own lines on the standard library, not Airflow's Slack, SMTP and HTTP providers. These want a Connection each
and fail the callback where one is missing; a message is one request.
"""

import asyncio
import json
import logging
import re
import smtplib
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dags import settings
from dags.errors import NotificationError, ScheduleError
from dags.schedules import length

TIMEOUT_S = 10.0
QUIET_S = 3600.0
MOST_REMEMBERED = 200
MEMORY = "notified.json"
_CODE = re.compile(r"TM-\d{3}")
_FIX = re.compile(r"\. Fix: (.+)$", re.DOTALL)
log = logging.getLogger("airflow.task")


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody is told.

    Attributes:
        kind: ``failed`` or ``late``.
        dag: Id of the DAG.
        task: Id of the task, with what it is about; empty for a run as a whole.
        run: Id of the run.
        code: Code of the error, ``TM-nnn``; empty where it has none.
        what: What happened, a sentence.
        fix: What to do; empty where nobody knows.
        url: Page of the log or the run.
    """

    kind: str
    dag: str
    task: str
    run: str
    code: str
    what: str
    fix: str
    url: str

    @property
    def title(self) -> str:
        """One line.

        Example:
            >>> Message("failed", "ingest", "ingest pumps", "scheduled__1", "TM-203", "no store", "", "").title
            'Tidemill: ingest pumps failed in DAG ingest (TM-203)'
        """
        code = f" ({self.code})" if self.code else ""
        if self.kind == "late":
            return f"Tidemill: a run of DAG {self.dag} is late{code}"
        return f"Tidemill: {self.task} failed in DAG {self.dag}{code}"

    @property
    def text(self) -> str:
        """All of it, as lines."""
        more = [f"Fix: {self.fix}"] if self.fix else []
        more += [f"More: tidemill explain {self.code}"] if self.code else []
        return "\n".join([self.title, self.what, *more, f"Run: {self.run}", f"Log: {self.url}"])


def configured(chosen: Mapping[str, str]) -> bool:
    """Whether anybody is to be told.

    Example:
        >>> configured({}), configured({"quiet": "2h"}), configured({"slack": "https://hooks.example/1"})
        (False, False, True)
    """
    return any(chosen.get(name) for name in _CHANNELS)


def task_failed(context: Any) -> None:
    """Tell that a task failed for good; Airflow calls it, and nothing it does can change how the task ended."""
    try:
        _tell(of_task(context))
    except Exception as error:  # noqa: BLE001 - see above
        log.warning("the failure could not be told: %r", error)


async def deadline_missed(within: str, context: Mapping[str, Any] | None = None, **_more: Any) -> None:
    """Tell that a run takes longer than it should; the triggerer calls it."""
    try:
        await asyncio.to_thread(_tell, of_run(within, context or {}))
    except Exception as error:  # noqa: BLE001 - see task_failed
        log.warning("the missed deadline could not be told: %r", error)


def of_task(context: Any) -> Message:
    """Return what to tell of a task that failed, from the context Airflow gives."""
    ti, error = context["ti"], context.get("exception")
    said = str(error or "it was ended from outside, or its machine went away")
    code, fix = _CODE.search(said), _FIX.search(said)
    about = getattr(ti, "rendered_map_index", None) or ""
    what = _FIX.sub("", said).removeprefix(code[0] if code else "").strip()
    return Message(
        "failed",
        ti.dag_id,
        f"{ti.task_id} {about}".strip(),
        ti.run_id,
        code[0] if code else "",
        what[:1000],
        fix[1].strip()[:500] if fix else "",
        ti.log_url,
    )


def of_run(within: str, context: Mapping[str, Any]) -> Message:
    """Return what to tell of a run that is late, from the context of a missed deadline."""
    run = context.get("dag_run") or {}
    dag, run_id = str(run.get("dag_id", "")), str(run.get("dag_run_id", run.get("run_id", "")))
    return Message(
        "late",
        dag,
        "",
        run_id,
        "",
        f"It is {run.get('state', 'not over')} and should have been over within {within} (hours:minutes:seconds).",
        f"look at what it waits for; change [deadlines] {dag} if it may take longer",
        settings.run_page(dag, run_id),
    )


def send(message: Message, chosen: Mapping[str, str]) -> list[str]:
    """Send a message through every channel that is named; return those that took it.

    Raises:
        NotificationError: Some did not; the others have been told all the same.
    """
    told, failed = [], []
    for name, channel in _CHANNELS.items():
        if not chosen.get(name):
            continue
        try:
            channel(message, chosen)
        except (OSError, ValueError, smtplib.SMTPException, ScheduleError) as error:
            failed.append(f"{name}: {error}")
        else:
            told.append(name)
    if failed:
        raise NotificationError("; ".join(failed), fix="correct [notifications] in tidemill.toml")
    return told


def repeated(message: Message, memory: Path, now_s: float, quiet_s: float) -> bool:
    """Whether the same was told a short while ago; if not, remember that it is told now.

    The memory is a file in the work folder: lost, or not shared between machines, it only lets a message through.
    """
    key = f"{message.kind}/{message.dag}/{message.task}/{message.code}"
    try:
        seen = {name: float(at) for name, at in json.loads(memory.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        seen = {}
    if now_s - seen.get(key, -quiet_s) < quiet_s:
        return True
    latest = sorted({**seen, key: now_s}.items(), key=lambda entry: -entry[1])[:MOST_REMEMBERED]
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(dict(latest)))
    except OSError as error:
        log.warning("what was told cannot be remembered: %s", error)
    return False


def _tell(message: Message) -> None:
    chosen = settings.options().notifications
    if not configured(chosen):
        return
    if repeated(message, settings.work_folder() / MEMORY, time.time(), quiet_s(chosen)):
        log.info("told before, a short while ago: %s", message.title)
        return
    log.info("told %s: %s", ", ".join(send(message, chosen)), message.title)


def quiet_s(chosen: Mapping[str, str]) -> float:
    """Return for how many seconds the same failure is not told again.

    Example:
        >>> quiet_s({}), quiet_s({"quiet": "15min"})
        (3600.0, 900.0)
    """
    text = chosen.get("quiet", "")
    return length(text, "[notifications] quiet").total_seconds() if text else QUIET_S


def problems(chosen: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the channels, without sending anything."""
    for name in ("webhook", "slack"):
        if chosen.get(name) and urlsplit(chosen[name]).scheme not in ("http", "https"):
            yield f"[notifications] {name} is no http(s) address"
    if chosen.get("email"):
        missing = [name for name in ("smtp", "sender") if not chosen.get(name)]
        if missing:
            yield f"[notifications] email needs {' and '.join(missing)} as well"
        elif urlsplit(chosen["smtp"]).scheme not in ("smtp", "smtps") or not urlsplit(chosen["smtp"]).hostname:
            yield "[notifications] smtp is neither smtp://host nor smtps://host"
    try:
        quiet_s(chosen)
    except ScheduleError as error:
        yield str(error)


def _webhook(message: Message, chosen: Mapping[str, str]) -> None:
    _post(chosen["webhook"], {"format": 1, "title": message.title, **asdict(message)})


def _slack(message: Message, chosen: Mapping[str, str]) -> None:
    _post(chosen["slack"], {"text": message.text})


def _mail(message: Message, chosen: Mapping[str, str]) -> None:
    if wrong := next((line for line in problems(chosen) if "smtp" in line or "email" in line), ""):
        raise ValueError(wrong)
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = message.title, chosen["sender"], chosen["email"]
    letter.set_content(message.text)
    server = urlsplit(chosen["smtp"])
    kind = smtplib.SMTP_SSL if server.scheme == "smtps" else smtplib.SMTP
    with kind(server.hostname or "", server.port or 0, timeout=TIMEOUT_S) as client:
        if server.username:
            if server.scheme == "smtp":
                client.starttls()  # a password never goes in the clear
            client.login(unquote(server.username), unquote(server.password or ""))
        client.send_message(letter)


_CHANNELS: Mapping[str, Callable[[Message, Mapping[str, str]], None]] = {
    "webhook": _webhook,
    "slack": _slack,
    "email": _mail,
}


def _post(url: str, content: Mapping[str, Any]) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("no http(s) address")
    body = json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - http(s), see above
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - see above
        answer.read(1000)
