"""What can go wrong with signed updates: codes TM-250 to TM-259, by who must act.

The network (``UnreachableError``), whoever signs (``ExpiredMetadataError``, ``KeysError``, ``WrongKeysError``,
``ConcurrentPublishError``, ``NotInitialisedError``), whoever can write into the store (``UntrustedError``), whoever set
this machine up (``DevelopmentRootError``, ``UpdateBusyError``).
"""

from features.errors import TidemillError


class TrustError(TidemillError):
    """Something about signed updates that has no class of its own.

    What already runs keeps running; only updates wait.
    """

    code = "TM-250"


class UnreachableError(TrustError):
    """The store that holds the updates did not answer, or it holds none.

    What was installed before is not affected. The next poll tries again; check the store's address and the network.
    """

    code = "TM-251"
    exit_code = 3


class ExpiredMetadataError(TrustError):
    """The signed metadata in the store is too old: whoever signs it has stopped, or somebody withholds newer ones.

    Updates stop, predictions go on with the bundle that is installed. Run `tidemill release` (or look why the release
    run does not), and check the clock of this machine.
    """

    code = "TM-252"


class UntrustedError(TrustError):
    """Signed updates were refused: a wrong key, a wrong signature, other content than was signed, or an older state.

    Nothing of it was used. Either the store was rebuilt with other keys (give this machine the new root), or somebody
    tampers with the store.
    """

    code = "TM-253"


class DevelopmentRootError(TrustError):
    """A client in the production profile was given a root whose private keys are for development.

    Such keys lie unencrypted beside the stack. Create production keys and hand out their root.
    """

    code = "TM-254"
    exit_code = 2


class UpdateBusyError(TrustError):
    """Another process is updating the same folder.

    Wait for it, or give each process a folder of its own.
    """

    code = "TM-255"
    exit_code = 3


class KeysError(TrustError):
    """The folder with the signing keys is missing, incomplete, readable by others, or damaged.

    The message names the file and the command that mends it. Keys are never replaced on the side.
    """

    code = "TM-256"
    exit_code = 2


class WrongKeysError(TrustError):
    """The keys in the folder are not the keys of the repository in the store.

    Use the folder that the repository was initialised with. A store that must change hands needs a new root, signed
    with the old root keys.
    """

    code = "TM-257"
    exit_code = 2


class ConcurrentPublishError(TrustError):
    """Another publisher was faster. Nothing of this attempt is visible to anybody.

    Run the same command again: it starts from what the other one published.
    """

    code = "TM-258"
    exit_code = 3


class NotInitialisedError(TrustError):
    """The store holds no repository of updates yet.

    Initialise it once; a store is never taken for a new one on the side, because a wrong store would then look empty.
    """

    code = "TM-259"
    exit_code = 2
