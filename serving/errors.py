"""What can go wrong between a stored bundle and a running prediction: codes TM-2xx.

The families are cut by who must act: the outside world (``StoreError``), whoever built the artifact (``BundleError``,
``ModelError``), whoever asks (``InputError``), whoever configured the program (``SettingsError``).
Codes 250-259 are those of `serving.trust`, 260-269 belong to releases, 270-279 to the gateway, 280-289 to the cloud
server.
"""

from features.errors import DataError, TidemillError


class StoreError(TidemillError):
    """The object store answered with an error that has no class of its own.

    The message carries what the store said. Nothing was half-written: an object is either the old one or the new one.
    """

    code = "TM-200"
    exit_code = 3


class MissingObjectError(StoreError):
    """An object that was asked for is not in the store.

    Either it was never written, it was deleted, or the store URI points at another place than the writer's.
    """

    code = "TM-201"
    exit_code = 1


class MissingStoreError(StoreError):
    """The store itself does not exist: no such folder or bucket.

    A store is never created on the side, because a misspelt path or an unmounted disk would then look like an empty
    store. Create it once (`mkdir`, the bucket's console) or correct TIDEMILL_STORE.
    """

    code = "TM-202"
    exit_code = 2


class StoreUnreachableError(StoreError):
    """The store did not answer in time, or its name does not resolve.

    The call can be repeated without harm once the network or the service is back. Check the endpoint and the network.
    """

    code = "TM-203"
    exit_code = 3


class StoreDeniedError(StoreError):
    """The store answered, but does not allow this.

    The credentials are missing, wrong or expired, or they lack a right. For S3 they come from boto3's own chain
    (environment, profile, instance role); for a folder from the file permissions.
    """

    code = "TM-204"
    exit_code = 2


class ReadOnlyStoreError(StoreError):
    """An http(s):// store can only be read by key: it cannot be written, and it cannot be listed.

    Use a folder or s3:// where the program has to write or to look around.
    """

    code = "TM-205"
    exit_code = 2


class DiskFullError(StoreError):
    """The disk (or the quota) is full. The object that was being written was removed again; the old one is untouched.

    Free some space and repeat the command.
    """

    code = "TM-206"
    exit_code = 3


class InvalidKeyError(StoreError):
    """A key that could leave the store or that not every kind of store can hold.

    Keys are relative, `/`-separated, at most 1024 bytes, without empty, `.` or `..` segments, backslashes or control
    characters.
    """

    code = "TM-207"
    exit_code = 2


class InvalidStoreUriError(StoreError):
    """The store URI is of no known kind, or it carries credentials.

    Known kinds: a path, file:///path, s3://bucket/prefix, http(s)://host/path. Credentials never belong into it.
    """

    code = "TM-208"
    exit_code = 2


class MissingExtraError(StoreError):
    """The store needs a package that the thin base installation leaves out.

    Install the extra that the message names.
    """

    code = "TM-209"
    exit_code = 2


class DamagedObjectError(StoreError):
    """An object arrived with other bytes than were stored, and again when it was asked for once more.

    Its length was right, its checksum was not; nothing of it was used. A proxy or a broken disk on the way is the usual
    cause. If it stays, the stored object itself is broken: write it again from its source.
    """

    code = "TM-232"
    exit_code = 3


class BundleError(DataError):
    """A bundle was refused: the file is not what `pack` would have written.

    Nothing of it was used. Build the bundle again, or fetch it again if only the transfer damaged it.
    """

    code = "TM-210"


class BundleTooLargeError(BundleError):
    """A bundle or one of its members is larger than any gateway should be asked to load.

    Use a smaller model: fewer or shallower trees.
    """

    code = "TM-211"


class BundleLayoutError(BundleError):
    """The file is not a bundle: no zip, other members than the three known ones, or bytes that do not belong there."""

    code = "TM-212"


class BundleDigestError(BundleError):
    """The content does not have the digest that was promised: it was damaged or exchanged.

    Fetch it again. If that does not help, somebody changed a file in the store.
    """

    code = "TM-213"


class BundleVersionError(BundleError):
    """The bundle has a format version that this program does not know.

    Update the program that reads it, or build the bundle with the matching release.
    """

    code = "TM-214"


class BundleContentError(BundleError):
    """The manifest or the golden rows contradict themselves or the feature set.

    The message names the field. Such a bundle was not written by `pack`.
    """

    code = "TM-215"


class ModelError(DataError):
    """The model inside a bundle was refused, or ONNX Runtime cannot run it."""

    code = "TM-220"


class MalformedModelError(ModelError):
    """The model is not a readable ONNX file, or it is nested or sized beyond any model we export."""

    code = "TM-221"


class ForbiddenOperatorError(ModelError):
    """The model uses something outside the allow-list: another operator or domain, a loop, a function, outside data.

    A 77-byte model can take 611 MiB of memory or read files of the host, so only the operators that tree, linear and
    small neural models need are let through. Export the model with those.
    """

    code = "TM-222"


class ModelLoadError(ModelError):
    """ONNX Runtime cannot load the model, or its inputs and outputs are not `features` and `score`."""

    code = "TM-223"


class GoldenMismatchError(ModelError):
    """The model does not give the golden scores on this machine that it gave where it was built.

    It must not serve here. Compare the versions of ONNX Runtime and the processor types.
    """

    code = "TM-224"


class PredictionError(ModelError):
    """The model answered with a score that is NaN or outside its bounds, or failed while it ran."""

    code = "TM-225"


class InputError(DataError):
    """The rows that were handed to the model have another shape or type than its features.

    The message says what came and what was expected; `GET /v2/models/<use case>` lists the features in order.
    """

    code = "TM-226"
    exit_code = 2


class RecordError(DataError):
    """A line of a prediction log cannot be read. The message names the line."""

    code = "TM-230"


class SpoolBusyError(TidemillError):
    """Another process keeps its predictions in the same spool folder.

    Give every process its own folder, or stop the other one.
    """

    code = "TM-231"
    exit_code = 2


class SettingsError(TidemillError):
    """A setting is missing or has a value that cannot be used. The message names the environment variable."""

    code = "TM-240"
    exit_code = 2


class UnknownSettingError(SettingsError):
    """An environment variable starts with TIDEMILL_ but no program knows it: most likely a misspelling.

    It would otherwise be ignored in silence. Correct it as suggested or unset it.
    """

    code = "TM-241"


class RefusedBindError(SettingsError):
    """A server was asked to listen beyond this machine without anything that protects it.

    Set a token file (or TLS certificate, key and client authority for mutual TLS), or bind to 127.0.0.1.
    """

    code = "TM-242"


class ReleaseError(DataError):
    """A published release cannot be read. It was not written by this program, or by a newer one."""

    code = "TM-260"


class LedgerError(DataError):
    """The ledger of promotions contradicts itself: an entry was changed, removed or written by something else.

    Nothing is released for that use case until it is mended. Restore the named entry from a backup of the store.
    """

    code = "TM-261"


class GateRecordError(DataError):
    """A gate record cannot be read. Judge the bundle again: run the training that made it once more."""

    code = "TM-262"


class PolicyError(TidemillError):
    """A use case declares a rollout that cannot be followed. The named field says which values are allowed."""

    code = "TM-263"
    exit_code = 2


class ConsentError(DataError):
    """The record of an approval cannot be read or was not signed with the key of releases. Approve again."""

    code = "TM-264"


class NothingWaitsError(TidemillError):
    """An approval was given for something that nobody asks for any more, so it was not kept.

    The alias was moved or removed meanwhile, the rollout was aborted, or the stage has begun. In the DAG `approve` the
    run is skipped. `tidemill status` says what waits now.
    """

    code = "TM-265"
