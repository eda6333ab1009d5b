"""Errors of the composition root: TM-4xx. All four parts are for the person at the terminal."""

from typing import ClassVar

from features.errors import TidemillError


class CommandError(TidemillError):
    """A command was called in a way that cannot work: contradicting options, an unreadable date, a missing folder.

    The message names the option. Nothing was read or written.
    """

    code: ClassVar[str] = "TM-400"
    exit_code: ClassVar[int] = 2


class SimulationPlanError(CommandError):
    """The simulated fleet was asked for something it cannot be: no pumps, a share beyond 0.5, days out of order.

    Every complaint is listed at once. `tidemill simulate pumps --help` shows each option with its default.
    """

    code: ClassVar[str] = "TM-401"


class ExplainError(CommandError):
    """`tidemill explain` was given something that is neither an error code, a version, a device nor a prediction id.

    Error codes look like TM-401, versions like pump_failure/3, prediction ids are printed by `tidemill-gateway` and
    returned by the prediction server.
    """

    code: ClassVar[str] = "TM-402"


class MissingPartError(TidemillError):
    """A part of Tidemill that this command needs is not installed here.

    The gateway's installation is small on purpose: it has no training and no MLflow. Install the extra named in the
    message, or run the command where the platform is installed.
    """

    code: ClassVar[str] = "TM-403"
    exit_code: ClassVar[int] = 3


class DemoError(TidemillError):
    """The demo did not show what it must show, so it failed.

    Each step of the demo asserts its outcome: versions served, nothing ingested twice, online and batch features equal.
    The message names the step; the logs lie under `build/logs`. `tidemill demo` goes on after the last finished step.
    """

    code: ClassVar[str] = "TM-410"


class StackError(TidemillError):
    """A process of the local stack did not start, did not become healthy, or ended on its own.

    The message names the process and its log under `build/logs`. `tidemill down` stops what is left of the stack,
    `tidemill doctor` looks for a taken port, a full disk or a missing part.
    """

    code: ClassVar[str] = "TM-420"
    exit_code: ClassVar[int] = 3


class StackRunningError(CommandError):
    """The stack is already running for this folder, so a second one would fight over its databases.

    `tidemill down` stops it. A stack that was killed is recognised as dead and swept away by the next start.
    """

    code: ClassVar[str] = "TM-421"


class AirflowRequestError(TidemillError):
    """Airflow's API refused a request or did not answer.

    The message carries what Airflow said. A refused run was not created.
    """

    code: ClassVar[str] = "TM-422"
    exit_code: ClassVar[int] = 3


class UnexpectedError(TidemillError):
    """Tidemill itself made a mistake: an exception that no part of it foresaw.

    `--debug` prints the full trace. What was stored is safe: every write is atomic, and a run can be repeated.
    """

    code: ClassVar[str] = "TM-499"
