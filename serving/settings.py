"""Settings of the programs that serve: the one module under ``serving`` that knows the environment's names.

A setting is a field with its variable and its meaning beside it, so that the program, its ``--help`` and the table in
the manual cannot disagree (``table``). ``load`` refuses to guess: an unknown ``TIDEMILL_*`` name is an error with a
suggestion, because a misspelt setting that is silently ignored leaves the default in force; and a server that would
listen beyond this machine without asking who calls does not start.

The names of all programs of the house are in ``KEYS``, because they often share one environment.
"""

import difflib
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from serving.errors import RefusedBindError, SettingsError, UnknownSettingError

PREFIX = "TIDEMILL_"
TOKEN_LETTERS = 16
_PORTS = 65_535


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table: ``default`` is empty where the setting is off and ``required`` where there is none."""

    variable: str
    default: str
    meaning: str


def _flag(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise ValueError("neither true nor false")
    return known[text.lower()]


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _PORTS:
        raise ValueError("no port")
    return port


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError("less than 1")
    return count


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.0 < seconds < float("inf"):
        raise ValueError("no positive number of seconds")
    return seconds


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _shown(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _from(variable: str, read: Callable[[str], object], meaning: str) -> dict[str, Any]:
    return {"variable": variable, "read": read, "meaning": meaning}


_STORE = "object storage with the releases: a folder, s3://bucket/prefix or, to read only, https://…"
_ROOT = "file with the root of trust (root.json) that came with the installation"
_PRODUCTION = "refuse a root of trust that is marked for development"
_HOST = "address to listen at; beyond this machine only with a token file or mutual TLS"
_TOKEN = "file with the bearer token that callers must send"  # noqa: S105 - words about a token
_CERTIFICATE = "TLS certificate chain (PEM)"
_KEY = "TLS private key (PEM)"
_AUTHORITY = "certificate authority whose clients are let in (PEM): mutual TLS"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of ``tidemill-server``. Each field's variable and meaning: ``table(ServerSettings)``.

    Example:
        >>> settings = ServerSettings.load({"TIDEMILL_STORE": "/data", "TIDEMILL_ROOT": "/etc/root.json"})
        >>> settings.host, settings.port
        ('127.0.0.1', 8080)
        >>> ServerSettings.load({"TIDEMILL_SERVER_PROT": "80"})
        Traceback (most recent call last):
        ...
        serving.errors.UnknownSettingError: no program knows TIDEMILL_SERVER_PROT.
            Fix: did you mean TIDEMILL_SERVER_PORT?
    """

    store: str = field(metadata=_from("TIDEMILL_STORE", str, _STORE))
    root: Path = field(metadata=_from("TIDEMILL_ROOT", _path, _ROOT))
    production: bool = field(default=False, metadata=_from("TIDEMILL_PRODUCTION", _flag, _PRODUCTION))
    state: Path = field(
        default=Path("/var/lib/tidemill-server"),
        metadata=_from("TIDEMILL_SERVER_STATE", _path, "folder for update metadata and predictions on their way"),
    )
    name: str = field(
        default="server", metadata=_from("TIDEMILL_SERVER_NAME", str, "name of this server in predictions")
    )
    host: str = field(default="127.0.0.1", metadata=_from("TIDEMILL_SERVER_HOST", str, _HOST))
    port: int = field(
        default=8080, metadata=_from("TIDEMILL_SERVER_PORT", _port, "port to listen at; 0 takes a free one")
    )
    token_file: Path | None = field(default=None, metadata=_from("TIDEMILL_SERVER_TOKEN_FILE", _path, _TOKEN))
    certificate: Path | None = field(default=None, metadata=_from("TIDEMILL_SERVER_CERTIFICATE", _path, _CERTIFICATE))
    private_key: Path | None = field(default=None, metadata=_from("TIDEMILL_SERVER_PRIVATE_KEY", _path, _KEY))
    client_authority: Path | None = field(
        default=None, metadata=_from("TIDEMILL_SERVER_CLIENT_AUTHORITY", _path, _AUTHORITY)
    )
    poll_s: float = field(
        default=15.0, metadata=_from("TIDEMILL_SERVER_POLL_S", _seconds, "seconds between two looks for a new release")
    )
    threads: int = field(default=2, metadata=_from("TIDEMILL_SERVER_THREADS", _count, "requests computed at once"))
    max_rows: int = field(
        default=10_000, metadata=_from("TIDEMILL_SERVER_MAX_ROWS", _count, "most rows in one request")
    )
    max_body_mib: int = field(
        default=16, metadata=_from("TIDEMILL_SERVER_MAX_BODY_MIB", _count, "largest request body, MiB")
    )

    @staticmethod
    def load(environ: Mapping[str, str]) -> "ServerSettings":
        """Read the environment; see ``serving.settings.load``."""
        return load(ServerSettings, environ)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Settings of ``tidemill-gateway``. Each field's variable and meaning: ``table(GatewaySettings)``."""

    store: str = field(metadata=_from("TIDEMILL_STORE", str, _STORE))
    root: Path = field(metadata=_from("TIDEMILL_ROOT", _path, _ROOT))
    name: str = field(
        metadata=_from(
            "TIDEMILL_GATEWAY_NAME", str, "name of this gateway in reports and predictions; unique in its fleet"
        )
    )
    usecase: str = field(metadata=_from("TIDEMILL_GATEWAY_USECASE", str, "use case whose releases this gateway runs"))
    production: bool = field(default=False, metadata=_from("TIDEMILL_PRODUCTION", _flag, _PRODUCTION))
    state: Path = field(
        default=Path("/var/lib/tidemill-gateway"),
        metadata=_from("TIDEMILL_GATEWAY_STATE", _path, "the one folder the gateway writes to"),
    )
    host: str = field(default="127.0.0.1", metadata=_from("TIDEMILL_GATEWAY_HOST", str, _HOST))
    port: int = field(
        default=8090, metadata=_from("TIDEMILL_GATEWAY_PORT", _port, "port to listen at; 0 takes a free one")
    )
    token_file: Path | None = field(default=None, metadata=_from("TIDEMILL_GATEWAY_TOKEN_FILE", _path, _TOKEN))
    certificate: Path | None = field(default=None, metadata=_from("TIDEMILL_GATEWAY_CERTIFICATE", _path, _CERTIFICATE))
    private_key: Path | None = field(default=None, metadata=_from("TIDEMILL_GATEWAY_PRIVATE_KEY", _path, _KEY))
    client_authority: Path | None = field(
        default=None, metadata=_from("TIDEMILL_GATEWAY_CLIENT_AUTHORITY", _path, _AUTHORITY)
    )
    poll_s: float = field(
        default=60.0, metadata=_from("TIDEMILL_GATEWAY_POLL_S", _seconds, "seconds between two looks for a new release")
    )
    trial_memory_mib: int = field(
        default=512,
        metadata=_from("TIDEMILL_GATEWAY_TRIAL_MEMORY_MIB", _count, "memory a new model may take on trial, MiB"),
    )
    trial_s: float = field(
        default=60.0, metadata=_from("TIDEMILL_GATEWAY_TRIAL_S", _seconds, "seconds a new model may take on trial")
    )
    broker: str = field(
        default="",
        metadata=_from("TIDEMILL_GATEWAY_BROKER", str, "MQTT broker, mqtt(s)://user@host:port; empty for none"),
    )
    broker_password_file: Path | None = field(
        default=None, metadata=_from("TIDEMILL_GATEWAY_BROKER_PASSWORD_FILE", _path, "file with the broker's password")
    )
    topic: str = field(
        default="telemetry/#", metadata=_from("TIDEMILL_GATEWAY_TOPIC", str, "MQTT topic filter of the telemetry")
    )

    @staticmethod
    def load(environ: Mapping[str, str]) -> "GatewaySettings":
        """Read the environment; see ``serving.settings.load``."""
        return load(GatewaySettings, environ)


_Loaded = TypeVar("_Loaded", ServerSettings, GatewaySettings)


def table(kind: type[ServerSettings | GatewaySettings]) -> list[Setting]:
    """Every setting of a program, in the order of its fields.

    Example:
        >>> table(ServerSettings)[6]
        Setting(variable='TIDEMILL_SERVER_PORT', default='8080', meaning='port to listen at; 0 takes a free one')
    """
    return [
        Setting(
            item.metadata["variable"],
            "required" if item.default is MISSING else _shown(item.default),
            item.metadata["meaning"],
        )
        for item in fields(kind)
    ]


KEYS: Mapping[str, str] = {
    **{setting.variable: setting.meaning for kind in (ServerSettings, GatewaySettings) for setting in table(kind)},
    "TIDEMILL_WORK": "scratch folder of running jobs (tidemill)",
    "TIDEMILL_KEYS": "folder of the keys that sign releases (tidemill)",
    "TIDEMILL_DATA": "folder with real data sets (tests)",
}


def load(kind: type[_Loaded], environ: Mapping[str, str]) -> _Loaded:
    """Read a program's settings; an empty variable counts as unset.

    Raises:
        UnknownSettingError: A ``TIDEMILL_*`` variable that no program knows.
        SettingsError: Required settings are missing or values cannot be used; all of them in one message.
        RefusedBindError: The address is reachable from elsewhere and nothing asks who calls.
    """
    reject_unknown(environ)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for item in fields(kind):
        variable, text = item.metadata["variable"], environ.get(item.metadata["variable"], "").strip()
        if text:
            try:
                values[item.name] = item.metadata["read"](text)
            except ValueError as error:
                problems.append(f"{variable}={text[:80]} ({error})")
        elif item.default is MISSING:
            problems.append(f"{variable} is required ({item.metadata['meaning']})")
    if problems:
        raise SettingsError("settings cannot be used", why="; ".join(problems), fix="set them in the environment")
    settings = kind(**values)
    check_bind(settings)
    return settings


def reject_unknown(environ: Mapping[str, str], known: Mapping[str, str] = KEYS) -> None:
    """Raise ``UnknownSettingError`` when the environment holds a ``TIDEMILL_*`` name that is not known."""
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        meant = {name: difflib.get_close_matches(name, known, 1, 0.8) for name in unknown}
        hints = [f"did you mean {close[0]}?" if close else f"unset {name}" for name, close in meant.items()]
        raise UnknownSettingError(f"no program knows {', '.join(unknown)}", fix=" ".join(hints))


def check_bind(settings: ServerSettings | GatewaySettings) -> None:
    """Raise ``RefusedBindError`` when strangers could call, ``SettingsError`` when the TLS files are not a set."""
    prefix = "TIDEMILL_SERVER" if isinstance(settings, ServerSettings) else "TIDEMILL_GATEWAY"
    if (settings.certificate is None) != (settings.private_key is None):
        raise SettingsError("TLS needs both files", fix=f"set {prefix}_CERTIFICATE and {prefix}_PRIVATE_KEY")
    if settings.client_authority and not settings.certificate:
        raise SettingsError("mutual TLS needs a certificate of its own", fix=f"set {prefix}_CERTIFICATE")
    if not is_loopback(settings.host) and not settings.token_file and not settings.client_authority:
        raise RefusedBindError(
            f"{settings.host} can be reached from elsewhere and nothing asks who calls",
            where=f"{prefix}_HOST",
            fix=f"set {prefix}_TOKEN_FILE or, for mutual TLS, {prefix}_CLIENT_AUTHORITY; or use 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can call an address.

    Example:
        >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "::", "gateway.local", "")]
        [True, True, True, False, False, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_root(path: Path) -> bytes:
    """Read the root of trust.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            "the root of trust cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            fix="point TIDEMILL_ROOT at the root.json that came with the installation",
        ) from error


def read_token(path: Path) -> str:
    """The bearer token in a file, without surrounding white space.

    Raises:
        SettingsError: The file cannot be read, or the token is too short or cannot stand in a header.
    """
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("the token file cannot be read", where=str(path), why=str(error)) from error
    if len(token) < TOKEN_LETTERS or not token.isprintable() or " " in token:
        raise SettingsError(
            "the token is no token",
            where=str(path),
            why=f"it must be one word of at least {TOKEN_LETTERS} printable letters",
            fix=f"head -c 32 /dev/urandom | base64 > '{path}'",
        )
    return token
