"""The console script ``tidemill-server``: the cloud placement behind uvicorn.

argparse, because the server's installation has no click. One process serves; more processes behind one port, or more
machines behind a balancer, are started side by side, each with a name and a state folder of its own.
"""

import argparse
import json
import os
import signal
import socket
import ssl
import sys
from importlib.metadata import version
from pathlib import Path

import uvicorn

from features.errors import TidemillError
from serving.cloud.asgi import Application
from serving.cloud.meter import Meter
from serving.cloud.models import ModelTable
from serving.cloud.recorder import Recorder
from serving.cloud.refresher import Refresher
from serving.cloud.server import Server
from serving.errors import SettingsError
from serving.journal import Journal, now_us
from serving.record import Spool
from serving.settings import ServerSettings, read_root, read_token, table
from serving.store import open_store
from serving.trust.client import TrustedClient

MIB = 1024 * 1024
MAX_REQUESTS = 256
GRACE_S = 10


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 2 wrong use or settings, 3 something cannot be reached."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except TidemillError as error:
        sys.stderr.write(f"{error.code} {error}\n")
        sys.exit(error.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidemill-server",
        description="Answer the Open Inference Protocol V2 with every model that is released for the cloud.",
        epilog="Settings come from the environment; `tidemill-server config` shows them all.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="command")
    run = commands.add_parser(
        "run",
        help="serve until SIGTERM (the default)",
        epilog="example: tidemill-server run --port 0",
        allow_abbrev=False,
    )
    for each, default in ((parser, None), (run, argparse.SUPPRESS)):  # what stands before `run` counts as well
        each.add_argument("--host", default=default, help="address to listen at, instead of TIDEMILL_SERVER_HOST")
        each.add_argument(
            "--port", default=default, help="port to listen at, instead of TIDEMILL_SERVER_PORT; 0 takes a free one"
        )
        each.add_argument("--address-file", type=Path, default=default, help="write the address there once it listens")
        each.set_defaults(run=_run)
    config = commands.add_parser(
        "config", help="show every setting", epilog="example: tidemill-server config --json", allow_abbrev=False
    )
    config.add_argument("--json", action="store_true", help="as one JSON object")
    config.set_defaults(run=_config)
    return parser


def _run(options: argparse.Namespace) -> None:
    environ = dict(os.environ)
    for name in ("host", "port"):
        if getattr(options, name) is not None:
            environ[f"TIDEMILL_SERVER_{name.upper()}"] = getattr(options, name)
    settings = ServerSettings.load(environ)
    token = read_token(settings.token_file) if settings.token_file else ""
    journal, meter, models = Journal(), Meter(), ModelTable()
    store = open_store(settings.store)
    client = TrustedClient(store, settings.state / "updates", read_root(settings.root), production=settings.production)
    spool = Spool(settings.state / "spool", store)
    refresher = Refresher(client, models, meter, journal, poll_s=settings.poll_s, clock=now_us)
    recorder = Recorder(spool, meter, journal)
    server = Server(
        models,
        recorder,
        meter,
        journal,
        unready=refresher.unready,
        instance=settings.name,
        version=version("tidemill"),
        clock=now_us,
        token=token,
        max_rows=settings.max_rows,
    )
    application = Application(
        server, max_body=settings.max_body_mib * MIB, max_requests=MAX_REQUESTS, threads=settings.threads
    )
    listening = _listen(settings)
    address = _address(settings, listening)
    running = _uvicorn(settings, application)
    recorder.start()
    refresher.start()
    if options.address_file:
        half = options.address_file.with_name(f".{options.address_file.name}.new")
        half.write_text(address)
        half.replace(options.address_file)  # whoever waits for the file reads it whole
    journal.say("listening", address=address, server=settings.name)
    try:
        running.run(sockets=[listening])
    finally:
        journal.say("stopping")
        refresher.stop()
        recorder.stop()
        spool.close()
    journal.say("stopped")


def _uvicorn(settings: ServerSettings, application: Application) -> uvicorn.Server:
    """A server that ends on SIGTERM from now on, and leaves the rest of the program to end by itself.

    uvicorn takes signals only while it runs, and raises them again when it has ended; both times this handler is there.
    """
    config = uvicorn.Config(
        application,
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        ssl_ca_certs=str(settings.client_authority) if settings.client_authority else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if settings.client_authority else ssl.CERT_NONE,
    )
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return server


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise SettingsError(
            "the server cannot listen",
            where=f"{settings.host}:{settings.port}",
            why=str(error),
            fix="check TIDEMILL_SERVER_HOST and TIDEMILL_SERVER_PORT",
        ) from error


def _address(settings: ServerSettings, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.certificate else 'http'}://{shown}:{port}"


def _config(options: argparse.Namespace) -> None:
    lines = []
    for setting in table(ServerSettings):
        given = os.environ.get(setting.variable, "").strip()
        required = setting.default == "required"
        lines.append(
            {
                "variable": setting.variable,
                "value": given or ("" if required else setting.default),
                "source": "environment" if given else "missing" if required else "default",
                "meaning": setting.meaning,
            }
        )
    if options.json:
        sys.stdout.write(json.dumps({"settings": lines}) + "\n")
    else:
        for line in lines:
            sys.stdout.write(f"{line['variable']}={line['value']}  # {line['source']}; {line['meaning']}\n")
    ServerSettings.load(os.environ)
