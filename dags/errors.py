"""What can go wrong in a DAG before or around the command it runs: TM-5xx."""

from typing import ClassVar

from features.errors import TidemillError


class DagError(TidemillError):
    """A task of a DAG could not do its part."""

    code: ClassVar[str] = "TM-500"


class ParameterError(DagError):
    """A run was triggered with a parameter that the form of its DAG does not have.

    Airflow itself accepts unknown keys in the configuration of a run and ignores them, so a misspelt key would
    silently leave the default in force. The first task refuses such a run; the message names the nearest known key.
    """

    code: ClassVar[str] = "TM-501"
    exit_code: ClassVar[int] = 2


class MixedSourcesError(DagError):
    """Keys, endpoint and region of one service come from two places: an Airflow connection and the environment.

    Keys of one service sent to the endpoint of another leak, and the failure they cause names neither place. So a
    connection counts as one set. Put everything into the connection, or delete it and use the environment alone.
    """

    code: ClassVar[str] = "TM-502"
    exit_code: ClassVar[int] = 2


class ConnectionFieldError(DagError):
    """An Airflow connection holds a field that cannot be handed to the tidemill command.

    Keys, a profile name, the endpoint and the region are handed over as AWS_* variables. Roles are not: describe the
    role in a profile of ~/.aws/config, which renews its tokens during a long training, and name the profile.
    """

    code: ClassVar[str] = "TM-503"
    exit_code: ClassVar[int] = 2


class CommandFailedError(DagError):
    """The tidemill command of a task ended with an error.

    The message is the command's own; its code and `tidemill explain` tell more. The lines before it in the task's log
    are the command's progress.
    """

    code: ClassVar[str] = "TM-504"


class ScheduleError(DagError):
    """A schedule, a deadline or another choice of the DAGs in tidemill.toml or the environment cannot be used.

    The DAG it is meant for is not loaded, and shows the message as its import error, because the default in its place
    would run at times that nobody chose. `tidemill doctor` says all of them at once.
    """

    code: ClassVar[str] = "TM-505"
    exit_code: ClassVar[int] = 2


class NotificationError(DagError):
    """A notification of a failure could not be sent.

    The task that failed is not affected: its log says so in a warning. Check the address, and for mail the server,
    with `tidemill notify`.
    """

    code: ClassVar[str] = "TM-506"
    exit_code: ClassVar[int] = 3


class ControlError(DagError):
    """A button of the Fleet page could not write into MLflow what it stands for.

    The message says what MLflow answered, and what was written before. The same can be done by hand in MLflow: the tags
    `rollout` (pause or abort), `rollout.reason` and `rollout.by` of the registered model, and the alias `champion`.
    """

    code: ClassVar[str] = "TM-510"
    exit_code: ClassVar[int] = 3
