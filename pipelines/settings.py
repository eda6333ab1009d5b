"""Where things are: the one module of the pipelines that reads the environment.

Each value has one source, and the first that names it wins: flag, environment, project file (``tidemill.toml``),
default. Standard names stay standard (``AWS_*``, ``MLFLOW_*``); our own carry the prefix ``TIDEMILL_``. A name nobody
knows is an error, because a misspelt setting that is silently ignored leaves the default in force.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pipelines.errors import SettingsError

PROJECT_FILE = Path("tidemill.toml")
PREFIX = "TIDEMILL_"


@dataclass(frozen=True, slots=True)
class Known:
    """One setting: its name in the project file and as a flag, its variable, its default, and what it means."""

    name: str
    variable: str
    default: str
    meaning: str


KNOWN = (
    Known("store", "TIDEMILL_STORE", "build/store", "object storage: a folder, s3://bucket/prefix or https://…"),
    Known("tracking", "MLFLOW_TRACKING_URI", "http://127.0.0.1:5000", "the MLflow server"),
    Known("work", "TIDEMILL_WORK", "build/work", "scratch folder of running jobs"),
    Known("keys", "TIDEMILL_KEYS", "build/keys", "folder of the keys that sign releases"),
)
STANDARD = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
TABLES = ("schedules", "deadlines", "pools", "notifications", "webhook", "metrics", "pods")
"""Tables of the project file that speak to the DAGs; `dags.options` reads them."""
_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|KEY_ID")


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of ``tidemill config``: a secret's value is masked."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run, and where each came from.

    Attributes:
        store: URI of the object storage.
        tracking: URI of the MLflow server.
        work: Scratch folder.
        keys: Folder of signing keys.
        shown: Every value with its source, fit for display.
    """

    store: str
    tracking: str
    work: Path
    keys: Path
    shown: tuple[Shown, ...] = ()


def load(
    environ: Mapping[str, str],
    project_file: Path = PROJECT_FILE,
    flags: Mapping[str, str | None] | None = None,
    also_known: frozenset[str] = frozenset(),
) -> Settings:
    """Gather the settings of this run.

    Args:
        environ: The environment, usually ``os.environ``.
        project_file: A TOML file of ``name = "value"``; it need not exist. Folders in it are relative to it.
        flags: Values from the command line by setting name; None where a flag was not given.
        also_known: ``TIDEMILL_*`` variables that belong to other programs of the house.

    Raises:
        SettingsError: Unknown names or values that are no text; all of them in one sentence.

    Example:
        >>> settings = load({"TIDEMILL_STORE": "s3://plant/telemetry"}, Path("none.toml"))
        >>> settings.store, settings.shown[0].source
        ('s3://plant/telemetry', 'environment TIDEMILL_STORE')
        >>> load({"TIDEMILL_WROK": "x"}, Path("none.toml"))
        Traceback (most recent call last):
        ...
        pipelines.errors.SettingsError: 1 setting cannot be used: TIDEMILL_WROK is unknown, did you mean TIDEMILL_WORK?
    """
    stored, problems = _read_project(project_file)
    problems += _unknown_variables(environ, also_known)
    if problems:
        count = f"{len(problems)} setting{'s' * (len(problems) > 1)}"
        raise SettingsError(f"{count} cannot be used: {'; '.join(problems)}")
    values: dict[str, str] = {}
    shown: list[Shown] = []
    for known in KNOWN:
        value, source = known.default, "default"
        if (flag := (flags or {}).get(known.name)) is not None:
            value, source = flag, f"flag --{known.name}"
        elif environ.get(known.variable):
            value, source = environ[known.variable], f"environment {known.variable}"
        elif known.name in stored:
            value, source = _beside(project_file, known.name, stored[known.name]), f"file {project_file}"
        values[known.name] = value
        shown.append(Shown(known.name, masked(known.name, value), source))
    shown += [Shown(n, masked(n, environ[n]), f"environment {n}") for n in STANDARD if environ.get(n)]
    return Settings(values["store"], values["tracking"], Path(values["work"]), Path(values["keys"]), shown=tuple(shown))


def storage_options(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The options of the table engine for S3, from the same variables that boto3 reads.

    Credentials are not copied: the engine finds them by itself, in the environment, the profile or the instance role.

    Example:
        >>> storage_options({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000", "AWS_DEFAULT_REGION": "eu-west-1"})
        {'AWS_REGION': 'eu-west-1', 'AWS_ENDPOINT_URL': 'http://127.0.0.1:9000', 'AWS_ALLOW_HTTP': 'true'}
    """
    environ = os.environ if environ is None else environ
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    options = {"AWS_REGION": region}
    if endpoint := environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"):
        options["AWS_ENDPOINT_URL"] = endpoint
        if endpoint.startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
    return options


def masked(name: str, value: str) -> str:
    """Return a value as it may be shown: secrets and passwords inside addresses are covered.

    Example:
        >>> masked("AWS_SECRET_ACCESS_KEY", "abcd"), masked("store", "https://me:abcd@plant.example/raw")
        ('********', 'https://me:********@plant.example/raw')
    """
    if _SECRET.search(name):
        return "********"
    try:
        parts = urlsplit(value)
    except ValueError:
        return "********"  # no address, so nobody can say what in it is secret
    if not parts.password:
        return value
    user, place = parts.netloc.rsplit("@", 1)
    return urlunsplit(parts._replace(netloc=f"{user.split(':', 1)[0]}:********@{place}"))


def _read_project(path: Path) -> tuple[dict[str, str], list[str]]:
    if not path.exists():
        return {}, []
    try:
        text = path.read_text()
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{path} cannot be read as TOML: {error}"]
    names = [known.name for known in KNOWN]
    content = {name: value for name, value in content.items() if not (name in TABLES and isinstance(value, dict))}
    problems = []
    for name, value in content.items():
        where = f"{path}:{_line_of(name, text)}"
        if name not in names:
            problems.append(f"{name} in {where} is unknown{_suggestion(name, [*names, *TABLES])}")
        elif not isinstance(value, str) or not value:
            problems.append(f"{name} in {where} must be a text, it is {value!r}")
    return {name: str(value) for name, value in content.items()}, problems


def _line_of(name: str, text: str) -> int:
    found = re.search(rf'^\s*\[*"?{re.escape(name)}\b', text, re.MULTILINE)
    return text.count("\n", 0, found.end()) + 1 if found else 1


def _unknown_variables(environ: Mapping[str, str], also_known: frozenset[str]) -> list[str]:
    known = sorted({setting.variable for setting in KNOWN if setting.variable.startswith(PREFIX)} | also_known)
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    return [f"{name} is unknown{_suggestion(name, known)}" for name in unknown]


def _suggestion(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f", did you mean {close[0]}?" if close else f" (known: {', '.join(names)})"


def _beside(project_file: Path, name: str, value: str) -> str:
    """A relative folder in the project file means: beside that file, wherever the command is run."""
    if name == "tracking" or "://" in value or Path(value).is_absolute():
        return value
    return str(project_file.parent / value)
