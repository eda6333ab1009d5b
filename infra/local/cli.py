r"""The command ``tidemill``: a table of commands, loaded when called, and one place where errors become exit codes.

Exit codes: 0 done · 1 a check failed or data is wrong · 2 called or configured wrongly · 3 something that is needed
cannot be reached · 130 interrupted.

To add a command, write it with ``infra.local.command.command`` and add a row to ``COMMANDS``. The row repeats the
command's summary, so that the list of commands is printed without importing any of them (a test compares the two).
"""

import difflib
import importlib
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import click
from click.exceptions import NoArgsIsHelpError, NoSuchCommand

from features.errors import TidemillError
from infra.local.console import Console, make_lossless
from infra.local.errors import CommandError, MissingPartError, UnexpectedError

INTERRUPTED = 130
TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Row:
    """One command: where it is (``module:attribute``) and the summary it is listed with."""

    target: str
    summary: str


COMMANDS: Mapping[str, Mapping[str, Row]] = {
    "Start": {
        "demo": Row("infra.local.commands_demo:demo", "Run the whole main job on this machine and show it."),
        "up": Row("infra.local.commands_stack:up", "Start MLflow, Airflow, the server and three gateways."),
        "down": Row("infra.local.commands_stack:down", "Stop what `tidemill up` started."),
        "status": Row("infra.local.commands_show:status", "Show what is stored, released and running."),
        "doctor": Row("infra.local.commands_show:doctor", "Check that everything Tidemill needs is there and works."),
        "metrics": Row(
            "infra.local.commands_metrics:metrics", "Show counts, freshness and release state for Prometheus."
        ),
        "notify": Row("infra.local.commands_metrics:notify", "Send a test message to whoever is told of failures."),
    },
    "Data": {
        "simulate": Row("infra.local.commands_data:simulate", "Write telemetry of a simulated fleet."),
        "import": Row("infra.local.commands_import:import_", "Write a public data set as a hub would have."),
        "probe": Row("infra.local.commands_probe:probe", "Look at an object of telemetry and draft a fleet for it."),
        "ingest": Row("infra.local.commands_data:ingest", "Take in what devices wrote since the last time."),
        "materialize": Row("infra.local.commands_features:materialize", "Bring panes and feature rows up to date."),
        "quarantine": Row(
            "infra.local.commands_quarantine:quarantine", "Look at rejected records and take them in again."
        ),
        "lake": Row("infra.local.commands_lake:lake", "Show and look after the tables of a fleet."),
        "features": Row("infra.local.commands_features:features", "Show the features that a fleet's models see."),
    },
    "Models": {
        "plan": Row("infra.local.commands_models:plan", "Say what a training would read and take; write nothing."),
        "train": Row("infra.local.commands_models:train", "Train, export, judge and register a candidate."),
        "release": Row("infra.local.commands_release:release", "Make the promoted versions available to placements."),
        "approve": Row("infra.local.commands_release:approve", "Approve or decline the next stage of a release."),
        "fleet": Row(
            "infra.local.commands_fleet:fleet",
            "Show what gateways run and what needs attention.",
        ),
        "ledger": Row("infra.local.commands_release:ledger", "Show and verify the ledger of promotions."),
        "monitor": Row("infra.local.commands_models:monitor", "Compare predictions with what came true."),
        "lineage": Row("infra.local.commands_models:lineage", "Follow a version from its data to its gateways."),
        "keys": Row("infra.local.commands_models:keys", "Make signing keys and the signed repository of updates."),
    },
    "Help": {
        "explain": Row("infra.local.commands_show:explain", "Explain an error, a version, a device or a prediction."),
        "config": Row("infra.local.commands_show:config", "Show every setting and where it comes from."),
    },
}

COMPLETION = """\b
Shell completion, until the shell is closed:
  bash   eval "$(_TIDEMILL_COMPLETE=bash_source tidemill)"
  zsh    eval "$(_TIDEMILL_COMPLETE=zsh_source tidemill)"
  fish   _TIDEMILL_COMPLETE=fish_source tidemill | source"""


class LazyGroup(click.Group):
    """The list of commands; a command's module is imported when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of all commands in the order of the table."""
        return [name for rows in COMMANDS.values() for name in rows]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        for rows in COMMANDS.values():
            if cmd_name in rows:
                return load(rows[cmd_name])
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one there is."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise NoSuchCommand(args[0], possibilities=known, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the table, group by group, from the rows alone."""
        for group, rows in COMMANDS.items():
            with formatter.section(group):
                formatter.write_dl([(name, row.summary) for name, row in rows.items()])


def load(row: Row) -> click.Command:
    """Import the command of a row.

    Raises:
        MissingPartError: A package that the command needs is not installed.
    """
    module, _, attribute = row.target.partition(":")
    found: click.Command = getattr(importlib.import_module(module), attribute)
    return found


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's signature
    if value:
        from importlib.metadata import version  # noqa: PLC0415 - `--help` must not pay for it

        click.echo(f"tidemill {version('tidemill')}")
        ctx.exit()


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command has --help with an example, and --json for programs.\n\n" + COMPLETION,
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def tidemill() -> None:
    """From IoT telemetry in object storage to an approved model that answers where it is needed."""


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    make_lossless(sys.stdout, sys.stderr)
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: Everything after ``tidemill``.

    Returns:
        The exit code. Results are on standard output, errors on standard error.
    """
    if "--debug" not in arguments:
        _silence_libraries()
    try:
        result = tidemill.main(list(arguments), prog_name="tidemill", standalone_mode=False)
    except NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        Console().say("\ninterrupted: nothing is half written, the same command can be run again")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; Python would complain about it at exit
        return 0
    except Exception as error:  # noqa: BLE001 - the one place where every error becomes four parts and an exit code
        return _report(error, arguments)
    return result if isinstance(result, int) else 0


def _report(error: Exception, arguments: Sequence[str]) -> int:
    known = explained(error)
    if "--debug" in arguments:
        traceback.print_exception(error)
    words = [word for word in arguments if not word.startswith("-")]
    colour = "--no-color" not in arguments
    if colour:
        from infra.local.settings import colour_wanted  # noqa: PLC0415 - only errors pay for it

        colour = colour_wanted()
    Console(as_json="--json" in arguments, colour=colour).error(known, words[0] if words else "")
    return known.exit_code


def explained(error: Exception) -> TidemillError:
    """Turn any exception into one with a code and four parts."""
    if isinstance(error, TidemillError):
        return error
    if isinstance(error, click.ClickException):
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "tidemill"
        return CommandError(_sentence(error), where=path, fix=f"{path} --help")
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] not in _OURS:
        return MissingPartError(
            f"the package {error.name} is not installed here", fix="pip install 'tidemill[platform,s3]', or make setup"
        )
    last = traceback.extract_tb(error.__traceback__)[-1]
    return UnexpectedError(
        f"{type(error).__name__}: {error}",
        where=f"{last.filename}:{last.lineno}",
        fix="run the command again with --debug and send the trace to the maintainers",
    )


_OURS = ("dags", "features", "infra", "pipelines", "serving")


def _sentence(error: click.ClickException) -> str:
    """Click's message; where a choice is misspelt, with the nearest one."""
    message = error.format_message().rstrip(".")
    if isinstance(error, click.BadParameter) and error.param and isinstance(error.param.type, click.Choice):
        given = message.partition("'")[2].rpartition("' is not one of")[0].rpartition("'")[2]
        close = difflib.get_close_matches(given, [str(choice) for choice in error.param.type.choices], 1)
        message += f". Did you mean {close[0]!r}?" if close else ""
    return message


def _silence_libraries() -> None:
    import logging  # noqa: PLC0415 - `--help` must not pay for it
    import warnings  # noqa: PLC0415 - see above

    warnings.simplefilter("ignore")
    logging.captureWarnings(capture=True)
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")


def _terminate(number: int, frame: FrameType | None) -> Any:  # noqa: ARG001 - signal's signature
    """Leave by way of every ``finally``, so that child processes end with this one."""
    sys.exit(TERMINATED)
