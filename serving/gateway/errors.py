"""What can go wrong on a gateway: codes TM-270 to TM-279. Each is for whoever set the gateway up, or looks after it."""

from features.errors import DataError, TidemillError
from serving.errors import SettingsError


class StateFolderError(TidemillError):
    """The gateway cannot write its state: the folder is missing, read-only, full, or belongs to another user.

    Everything a gateway writes lies below that one folder; the rest of the disk may be read-only. It writes a probe
    there when it starts, because a gateway that looks alive and keeps nothing is worse than one that does not start.
    """

    code = "TM-270"
    exit_code = 2


class StateBusyError(TidemillError):
    """Another gateway agent works in the same state folder.

    Two agents would overwrite each other's slots and predictions. Stop the other one, or give this one a folder of its
    own.
    """

    code = "TM-271"
    exit_code = 2


class DamagedSlotError(DataError):
    """A bundle on the gateway's disk, or the pointer to it, is not what was written there.

    The disk or a person changed it. It is not served; the agent falls back to the other slot or fetches the release
    again.
    """

    code = "TM-272"


class TrialFailedError(DataError):
    """A new bundle did not pass its trial in a child process, so the gateway goes on with what it has.

    The trial opens the bundle, loads the model within a memory and time limit and runs its golden rows. The message
    says which of these failed. The same bundle is tried again after ten
    minutes, another release at once.
    """

    code = "TM-273"


class AgentUnreachableError(TidemillError):
    """`tidemill-gateway status` got no answer from the agent.

    It is not running, it listens elsewhere than its state folder says, or it does not accept this token.
    """

    code = "TM-274"
    exit_code = 3


class BrokerAddressError(SettingsError):
    """The address of the MQTT broker cannot be used.

    It is `mqtt://host:port` or `mqtts://host:port`, with the user name before an `@`; the password never stands in it.
    """

    code = "TM-275"


class NoModelError(TidemillError):
    """Telemetry came before the gateway's first release was installed, so its form is not known yet.

    Nothing of it was taken; send it again later. If it stays so, promote a version of the use case and look at the
    gateway's status for what keeps the release from arriving.
    """

    code = "TM-276"
    exit_code = 3
