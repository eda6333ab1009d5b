"""The console script ``tidemill-gateway``: ``run``, ``status`` and ``config``.

argparse, because the base installation has nothing else and a gateway is set up through its environment.
"""

import argparse
import http.client
import json
import os
import re
import signal
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from features.errors import TidemillError
from serving.errors import SettingsError
from serving.gateway.agent import Agent
from serving.gateway.endpoint import Endpoint
from serving.gateway.errors import AgentUnreachableError
from serving.gateway.state import ADDRESS, StateFolder, write_durably
from serving.gateway.trial import Limits
from serving.gateway.updates import LateStore, Updates
from serving.journal import Journal
from serving.settings import GatewaySettings, read_root, read_token, table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_STATUS_TIMEOUT_S = 10.0
_PASSWORD = re.compile(r"(//[^:/@]*):[^@/]*@")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 1 unhealthy, 2 wrong use or settings, 3 something cannot be reached."""
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options)
    except TidemillError as error:
        sys.stderr.write(f"{error.code} {error}\n")
        code = error.exit_code
    except BrokenPipeError:
        code = 0
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidemill-gateway",
        description="Predict beside the machines: take telemetry, run the released model, go on without a network.",
        epilog="Settings come from the environment; `tidemill-gateway config` shows them all.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    run = commands.add_parser(
        "run", help="run the agent until SIGTERM", epilog="example: tidemill-gateway run --port 0", allow_abbrev=False
    )
    run.add_argument("--host", help="address to listen at, instead of TIDEMILL_GATEWAY_HOST")
    run.add_argument("--port", help="port to listen at, instead of TIDEMILL_GATEWAY_PORT; 0 takes a free one")
    run.add_argument("--address-file", type=Path, help="write the address there once it listens")
    run.set_defaults(run=_run)
    status = commands.add_parser(
        "status",
        help="ask the running agent how it is; the exit code is 0 when it is healthy",
        epilog="example: tidemill-gateway status --json",
        allow_abbrev=False,
    )
    status.add_argument("--json", action="store_true", help="the whole status as one JSON object")
    status.set_defaults(run=_status)
    config = commands.add_parser(
        "config", help="show every setting", epilog="example: tidemill-gateway config --json", allow_abbrev=False
    )
    config.add_argument("--json", action="store_true", help="as one JSON object")
    config.set_defaults(run=_config)
    return parser


def _settings(options: argparse.Namespace | None = None) -> GatewaySettings:
    environ = dict(os.environ)
    for name in ("host", "port"):
        if getattr(options, name, None) is not None:
            environ[f"TIDEMILL_GATEWAY_{name.upper()}"] = getattr(options, name)
    settings = GatewaySettings.load(environ)
    if not _NAME.fullmatch(settings.name):
        raise SettingsError(
            "the gateway's name cannot be used",
            where=f"TIDEMILL_GATEWAY_NAME={settings.name[:80]}",
            why="it becomes part of keys and file names",
            fix="use up to 64 letters, digits, dots, dashes and underscores",
        )
    return settings


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    journal = Journal()
    token = read_token(settings.token_file) if settings.token_file else ""
    state = StateFolder(settings.state)
    try:
        store = LateStore(settings.store)
        updates = Updates(store, state.folder("updates"), read_root(settings.root), production=settings.production)
        agent = Agent(
            settings.name,
            [settings.usecase],
            state=state,
            store=store,
            updates=updates,
            journal=journal,
            poll_s=settings.poll_s,
            limits=Limits(settings.trial_memory_mib, max(1, round(settings.trial_s))),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        agent.start()
        endpoint = _listen(settings, agent, journal, token)
        for file in (state.path / ADDRESS, *([options.address_file] if options.address_file else [])):
            write_durably(file, endpoint.url.encode())
        journal.say("listening", address=endpoint.url, gateway=settings.name, usecase=settings.usecase)
        _serve(settings, agent, endpoint, journal)
    finally:
        state.close()
    journal.say("stopped")
    return 0


def _serve(settings: GatewaySettings, agent: Agent, endpoint: Endpoint, journal: Journal) -> None:
    subscriber = _subscriber(settings, agent, journal)
    if subscriber is not None:
        agent.on_first_model = subscriber.start
    endpoint.start()
    try:
        agent.run()
    finally:
        journal.say("stopping")
        endpoint.stop()
        if subscriber is not None:
            subscriber.stop()
        agent.close()


def _listen(settings: GatewaySettings, agent: Agent, journal: Journal, token: str) -> Endpoint:
    tls = None
    try:
        if settings.certificate and settings.private_key:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(settings.certificate, settings.private_key)
            if settings.client_authority:
                tls.verify_mode = ssl.CERT_REQUIRED
                tls.load_verify_locations(settings.client_authority)
        return Endpoint((settings.host, settings.port), agent, journal, token=token, tls=tls)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            "the gateway cannot listen",
            where=f"{settings.host}:{settings.port}",
            why=str(error),
            fix="check TIDEMILL_GATEWAY_HOST, _PORT, _CERTIFICATE and _PRIVATE_KEY",
        ) from error


def _subscriber(settings: GatewaySettings, agent: Agent, journal: Journal) -> Any:
    if not settings.broker:
        return None
    from serving.gateway.mqtt import Subscriber, broker_of  # noqa: PLC0415 - costs memory only where it is used

    password = ""
    if settings.broker_password_file:
        try:
            password = settings.broker_password_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            where = str(settings.broker_password_file)
            raise SettingsError("the broker's password cannot be read", where=where, why=str(error)) from error
    return Subscriber(
        broker_of(settings.broker),
        name=f"tidemill-{settings.name}",
        topic=settings.topic,
        take=agent.take,
        journal=journal,
        password=password,
    )


def _status(options: argparse.Namespace) -> int:
    settings = _settings()
    document = _asked(settings, "/status")
    if options.json:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        shown = (
            "state",
            "reason",
            "version",
            "slot",
            "predictions",
            "alerts",
            "last_telemetry_at",
            "clock",
            "memory_mib",
            "disk_free_share",
            "temperature_c",
        )
        words = [f"{name}={document[name]}" for name in shown if document.get(name) not in (None, "")]
        sys.stdout.write(f"{document['id']}: " + " ".join([*words, f"updates={document['updates']['state']}"]) + "\n")
    return 0 if document["healthy"] else 1


def _asked(settings: GatewaySettings, path: str) -> dict[str, Any]:
    file = settings.state / ADDRESS
    try:
        address = file.read_text("utf-8")
    except OSError as error:
        raise AgentUnreachableError("no agent has run with this state folder", where=str(file)) from error
    request = urllib.request.Request(address + path)  # noqa: S310 - the agent wrote the address
    if settings.token_file:
        request.add_header("Authorization", f"Bearer {read_token(settings.token_file)}")
    context = _client_tls(settings) if address.startswith("https") else None
    handlers = [urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=context)] if context else [])]
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_STATUS_TIMEOUT_S) as answer:
            document: dict[str, Any] = json.loads(answer.read())
            return document
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AgentUnreachableError(
            "the agent does not answer", where=address, why=str(error), fix="look at its journal: is it running?"
        ) from error


def _client_tls(settings: GatewaySettings) -> ssl.SSLContext:
    """This machine asks itself: the certificate must be the agent's own, whatever name is in it."""
    context = ssl.create_default_context(cafile=settings.certificate)
    context.check_hostname = False
    if settings.client_authority and settings.certificate:
        context.load_cert_chain(settings.certificate, settings.private_key)
    return context


def _config(options: argparse.Namespace) -> int:
    lines = []
    for setting in table(GatewaySettings):
        given = os.environ.get(setting.variable, "").strip()
        source = "environment" if given else "default" if setting.default != "required" else "missing"
        lines.append(
            {
                "variable": setting.variable,
                "value": _PASSWORD.sub(r"\1:***@", given or ("" if setting.default == "required" else setting.default)),
                "source": source,
                "meaning": setting.meaning,
            }
        )
    if options.json:
        sys.stdout.write(json.dumps({"settings": lines}) + "\n")
    else:
        for line in lines:
            sys.stdout.write(f"{line['variable']}={line['value']}  # {line['source']}; {line['meaning']}\n")
    _settings()
    return 0
