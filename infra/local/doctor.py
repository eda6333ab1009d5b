"""Is everything there that Tidemill needs? A list of checks, each with a sentence and a way out.

A check never raises: whatever goes wrong in it is its finding. ``warn`` means that something works less well or is not
there yet; only ``fail`` makes the command end with 1.
"""

import importlib.util
import shutil
import stat
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

from features.errors import TidemillError
from pipelines.settings import Settings
from serving.errors import MissingStoreError

State = Literal["ok", "warn", "fail"]
LEAST_PYTHON = (3, 11)
LEAST_FREE_GIB, GOOD_FREE_GIB = 1.0, 5.0
MOST_SKEW_S = 10.0
PATIENCE_S = 5.0
PARTS = {"mlflow": "platform", "deltalake": "platform", "sklearn": "platform", "airflow": "airflow", "uvicorn": "cloud"}
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        state: ok, warn or fail.
        sentence: What was found.
        fix: What to do about it, empty when nothing.
    """

    check: str
    state: State
    sentence: str
    fix: str = ""


def examine(settings: Settings, ports: dict[str, int], now_us: int) -> Iterator[Finding]:
    """Run all checks, one after the other.

    Args:
        settings: Where store, registry, keys and work folder are.
        ports: Ports that the local stack would like to use, by part.
        now_us: The time, UTC microseconds, to compare the clocks of others with.
    """
    unnamed = any(shown.name == "store" and shown.source == "default" for shown in settings.shown)
    checks: list[Callable[[], Finding]] = [
        python,
        kernel,
        parts,
        lambda: work_folder(settings.work),
        lambda: store(settings.store, by_default=unnamed),
        lambda: tracking(settings.tracking, now_us),
        lambda: keys(settings.keys),
        lambda: free_ports(ports),
    ]
    for check in checks:
        yield check()


def python() -> Finding:
    """Is Python new enough?"""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < LEAST_PYTHON:
        return Finding("python", "fail", f"Python {found} is too old", "install Python 3.11 or newer, then: make setup")
    return Finding("python", "ok", f"Python {found}")


def kernel() -> Finding:
    """Does the compiled kernel serve?"""
    from features.kernel import BACKEND  # noqa: PLC0415 - it logs a warning of its own when it is slow

    if BACKEND != "c":
        return Finding(
            "kernel", "warn", f"features are computed by the slower {BACKEND} kernel", "install cc, make setup"
        )
    return Finding("kernel", "ok", "the compiled kernel computes features")


def parts() -> Finding:
    """Are the packages of the platform installed?"""
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join(sorted({PARTS[name] for name in missing}))
        return Finding("packages", "fail", f"not installed: {', '.join(missing)}", f"pip install 'tidemill[{extras}]'")
    return Finding("packages", "ok", "all parts of the platform are installed")


def work_folder(folder: Path) -> Finding:
    """Can the work folder be written, and is there room?"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"probe")
            file.flush()
        free = shutil.disk_usage(folder).free / _GIB
    except OSError as error:
        return Finding("disk", "fail", f"{folder} cannot be written: {error.strerror}", "set TIDEMILL_WORK to a folder")
    if free < GOOD_FREE_GIB:
        state: State = "fail" if free < LEAST_FREE_GIB else "warn"
        return Finding("disk", state, f"{free:.1f} GiB free at {folder}", "free some space, or move TIDEMILL_WORK")
    return Finding("disk", "ok", f"{free:.0f} GiB free at {folder}")


def store(uri: str, *, by_default: bool = False) -> Finding:
    """Can the store be written, does it keep conditional writes, does its clock agree?

    ``by_default`` says that nobody named this store: then it need not be there yet.
    """
    from pipelines.probe import probe, remember, verdict  # noqa: PLC0415 - one check's need
    from serving.store import open_store  # noqa: PLC0415 - one check's need

    try:
        opened = open_store(uri)
    except MissingStoreError as error:
        if by_default:
            return Finding("store", "warn", f"no store yet at {uri}", "tidemill simulate pumps, or tidemill demo")
        return Finding("store", "fail", f"{uri}: {error.what}", error.fix)
    except TidemillError as error:
        return Finding("store", "fail", f"{uri}: {error.what}", error.fix)
    found = probe(opened, _now_us)
    try:
        remember(opened, found, _now_us())
    except TidemillError as error:
        return Finding("store", "fail", f"{uri}: {error.what}", error.fix)
    bad = [each for state in ("fail", "warn") for each in found if each.verdict == state]
    warnings = [f"{each.check}: {each.sentence}" for each in bad if each.verdict == "warn"]
    state: State = bad[0].verdict if bad else "ok"
    return Finding("store", state, f"{uri}: {'; '.join([verdict(found), *warnings])}", bad[0].fix if bad else "")


def _now_us() -> int:
    return time.time_ns() // 1000


def tracking(url: str, now_us: int) -> Finding:
    """Does the MLflow server answer, to this host name, with a clock like ours?"""
    if not url.startswith(("http://", "https://")):
        return Finding("mlflow", "fail", f"{url} is no address of a server", "set MLFLOW_TRACKING_URI to http(s)://…")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=PATIENCE_S) as answer:  # noqa: S310 - http(s), see above
            date, body = answer.headers.get("Date"), answer.read(100)
    except urllib.error.HTTPError as error:
        with error:
            return _refused(url, error.code)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding("mlflow", "fail", f"{url} does not answer: {reason}", "tidemill up, or set MLFLOW_TRACKING_URI")
    if body.strip() != b"OK":
        return Finding("mlflow", "fail", f"{url} is another server", "set MLFLOW_TRACKING_URI to the MLflow server")
    skew = abs(parsedate_to_datetime(date).timestamp() - now_us / 1e6) if date else 0.0
    if skew > MOST_SKEW_S:
        return Finding("mlflow", "warn", f"the clock of {url} is {skew:.0f} s from ours", "synchronise the clocks")
    return Finding("mlflow", "ok", f"MLflow answers at {url}")


def _refused(url: str, status: int) -> Finding:
    if status == 403:  # noqa: PLR2004 - MLflow's answer to a host name it was not told
        host = url.partition("://")[2].partition("/")[0]
        fix = f"start it with --allowed-hosts {host}, or check the credentials"
        return Finding("mlflow", "fail", f"{url} refuses this host name (HTTP 403)", fix)
    return Finding("mlflow", "fail", f"{url} answers with HTTP {status}", "is this an MLflow server?")


def keys(folder: Path) -> Finding:
    """Are there signing keys, readable by their owner only?"""
    from serving.trust.keys import KeyRing  # noqa: PLC0415 - cryptography comes with it

    if not folder.exists():
        return Finding("keys", "warn", f"no signing keys at {folder}: releases cannot be signed here", "tidemill keys")
    try:
        ring = KeyRing.load(folder)
        modes = {path.name: path.stat().st_mode for path in [folder, *folder.iterdir()]}
    except (TidemillError, OSError) as error:
        return Finding("keys", "fail", str(error), getattr(error, "fix", ""))
    kind = "development keys" if ring.development else "production keys"
    fix = f"chmod -R go-rwx '{folder}'"
    if world := [name for name, mode in modes.items() if mode & stat.S_IRWXO]:
        return Finding("keys", "fail", f"every user may use {', '.join(world)} in {folder}", fix)
    if group := [name for name, mode in modes.items() if mode & stat.S_IRWXG]:
        return Finding("keys", "warn", f"{kind}: the group may use {', '.join(group)} in {folder}", fix)
    return Finding("keys", "ok", f"{kind} at {folder}, for their owner only")


def free_ports(ports: dict[str, int]) -> Finding:
    """Are the ports free that the local stack would like?"""
    from infra.local.ports import free_port  # noqa: PLC0415 - one check's need

    taken = [f"{port} ({name})" for name, port in ports.items() if free_port(port) != port]
    if taken:
        sentence = f"in use: {', '.join(taken)}; `tidemill up` takes free ones instead"
        return Finding("ports", "warn", sentence)
    return Finding("ports", "ok", f"free: {', '.join(map(str, ports.values()))}")


def verdict(findings: list[Finding]) -> str:
    """One sentence about all findings.

    Example:
        >>> verdict([Finding("python", "ok", "Python 3.11.9"), Finding("disk", "warn", "2 GiB free")])
        'Ready, with 1 remark.'
    """
    failed = [finding.check for finding in findings if finding.state == "fail"]
    remarks = sum(finding.state == "warn" for finding in findings)
    if failed:
        return f"Not ready: {', '.join(failed)}."
    return f"Ready, with {remarks} remark{'s' * (remarks > 1)}." if remarks else "Ready."
