"""How a command of ``tidemill`` is made: shared options, one example in its help, one result.

    @command("Take in new raw objects of a fleet.", example="tidemill ingest pumps")
    @click.argument("fleet", type=FLEET)
    def ingest(run: Run, fleet: str) -> Outcome:
        summary = ...  # settings, store and console come from ``run``
        return Outcome({"accepted": summary.accepted}, [f"{summary.accepted:,} readings accepted"])

The decorator adds ``--json --quiet --no-color --debug --store --tracking``, prints what the function returns (as text,
or as one JSON object whose ``schema`` names the command) and turns ``ok=False`` into exit code 1. Errors are not caught
here: ``infra.local.cli`` renders every one of them in the same four parts.
"""

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from infra.local.console import Console

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from serving.store import Store

_STORE = "Object storage: a folder, s3://bucket/prefix.  [default: TIDEMILL_STORE, tidemill.toml, else build/store]"
_TRACKING = "MLflow server.  [default: MLFLOW_TRACKING_URI, tidemill.toml, else http://127.0.0.1:5000]"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command found or did.

    Attributes:
        payload: The result for programs; ``schema`` is added by the decorator.
        lines: The result for people, line by line.
        ok: False when something that was checked did not hold: exit code 1.
    """

    payload: Mapping[str, Any]
    lines: Sequence[str] = ()
    ok: bool = True


@dataclass(slots=True)
class Run:
    """One call of a command: its console, and what the shared options point to, opened when first asked for.

    Attributes:
        console: Where to speak.
        store_flag: Value of ``--store``, None when not given.
        tracking_flag: Value of ``--tracking``, None when not given.
    """

    console: Console
    store_flag: str | None = None
    tracking_flag: str | None = None
    _settings: "Settings | None" = field(default=None, repr=False)

    @property
    def settings(self) -> "Settings":
        """Settings of this call, from flags, environment, project file and defaults."""
        if self._settings is None:
            from infra.local.settings import settings  # noqa: PLC0415 - `--help` must not pay for it

            self._settings = settings(self.store_flag, self.tracking_flag)
        return self._settings

    def open_store(self, *, create: bool = False) -> "Store":
        """Open the object storage; ``create`` makes a missing folder, for commands that begin a store."""
        from serving.store import open_store  # noqa: PLC0415 - `--help` must not pay for it

        return open_store(self.settings.store, create=create)

    def admit_writers(self, store: "Store", *, single: bool) -> None:
        """Refuse a store that several writers could not share, unless somebody answers for there being one only."""
        if not single:
            from pipelines.probe import require_several_writers  # noqa: PLC0415 - `--help` must not pay for it

            require_several_writers(store, self.now_us)

    @property
    def now_us(self) -> int:
        """The time, UTC microseconds: read here once a command asks, and handed down as an argument."""
        return time.time_ns() // 1000


def command(
    summary: str, *, example: str, name: str | None = None, also: str = ""
) -> Callable[[Callable[..., Outcome]], click.Command]:
    """Make a command of a function ``(run, **options) -> Outcome``.

    Args:
        summary: One sentence; it begins the help.
        example: One line that can be pasted; it ends the help.
        name: Name of the command, the function's name when not given.
        also: More words for the help, below the summary.
    """

    def decorate(function: Callable[..., Outcome]) -> click.Command:
        @functools.wraps(function)
        def invoke(
            *, json: bool, quiet: bool, no_color: bool, store: str | None, tracking: str | None, **options: Any
        ) -> int:
            from infra.local.settings import colour_wanted  # noqa: PLC0415 - `--help` must not pay for it

            console = Console(as_json=json, quiet=quiet, colour=colour_wanted() and not no_color)
            with contextlib.redirect_stdout(
                sys.stderr
            ):  # libraries print too; standard output carries the result alone
                outcome = function(Run(console, store, tracking), **options)
            path = click.get_current_context().command_path.split()[1:]
            console.result({"schema": f"tidemill.{'-'.join(path)}/1", **outcome.payload}, outcome.lines)
            return 0 if outcome.ok else 1

        made = click.command(
            name or function.__name__.replace("_", "-"),
            help=f"{summary}\n\n{also}".strip(),
            short_help=summary,
            epilog=f"\b\nExample:\n  {example}",
            context_settings={"show_default": True},
        )(invoke)
        for option in reversed(_shared_options()):
            made.params.append(option)
        return made

    return decorate


def _shared_options() -> list[click.Option]:
    return [
        click.Option(["--debug"], is_flag=True, expose_value=False, help="Print the trace of an error as well."),
        click.Option(["--no-color"], is_flag=True, help="No colours, as with NO_COLOR."),
        click.Option(["--quiet", "-q"], is_flag=True, help="No progress and no remarks."),
        click.Option(["--json"], is_flag=True, help="Print the result as one JSON object."),
        click.Option(["--tracking"], metavar="URL", help=_TRACKING),
        click.Option(["--store"], metavar="URI", help=_STORE),
    ]
