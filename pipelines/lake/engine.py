"""The table engine's errors in our words."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Final

import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from pipelines.durability import torn_files
from pipelines.errors import CommitConflictError, LakeError, TableMissingError
from serving.errors import MissingObjectError, StoreDeniedError

KEPT_WHILE_NAMED: Final = "after 30 days upkeep removes what no version registered in MLflow learned from"
RESTORE: Final = "restore the table's folder from a backup, or train again on what there is"
"""For whoever asks for a version of a table that is gone."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STACK = " 0: <unknown>"  # the engine's own stack says nothing
# Without keys the engine asks the machine for its role last; where there is none, that is all its error speaks of.
_ROLE = re.compile(r"/latest/(api/token|meta-data)|169\.254\.170\.2\b|/v2/credentials")
_REFUSED = ("lacked the necessary privileges", "lacked valid authentication credentials")


@contextlib.contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn the errors of the table engine into ours; that there is no table stays its own.

    Raises:
        CommitConflictError: Another writer was first.
        LakeError: The table cannot be used.
        StoreDeniedError: The credentials are missing, or do not allow it.
    """
    try:
        yield
    except TableNotFoundError:
        raise
    except CommitFailedError as error:
        raise conflict(uri, _plain(error)) from error
    except (DeltaError, OSError, pa.ArrowException, ValueError) as error:
        why, _, _ = _plain(error).partition(_STACK)
        if _ROLE.search(why):
            told, fix = "there are no usable credentials for S3", "set AWS_PROFILE or the AWS_* keys"
            raise StoreDeniedError(told, where=uri, why="no keys, and this machine has no role", fix=fix) from error
        if any(words in why for words in _REFUSED):
            fix = "check the credentials and their rights"
            raise StoreDeniedError("S3 refuses this", where=uri, why=why[:500], fix=fix) from error
        torn = " ".join(f"'{path}'" for path in torn_files(uri))
        fix = f"rm {torn}: a power cut tore it, and what it said is written again" if torn else ""
        raise LakeError("the table cannot be used", where=uri, why=why[:500], fix=fix) from error


@contextlib.contextmanager
def whole(uri: str, version: int, newest: Callable[[], int]) -> Iterator[None]:
    """As `translated`, for reading: a data file that a former version had and that is gone was taken by a vacuum.

    Args:
        uri: Of the table.
        version: Which is read.
        newest: Asks for the number of the newest version.

    Raises:
        TableMissingError: A file of this version is gone.
    """
    try:
        with translated(uri):
            yield
    except (LakeError, MissingObjectError) as error:
        gone = isinstance(error, MissingObjectError) or isinstance(error.__cause__, FileNotFoundError)
        if not gone or version >= newest():
            raise
        what = f"files of version {version} of the table are gone"
        why = f"{KEPT_WHILE_NAMED}; {error.why or error.what}"
        raise TableMissingError(what, where=uri, why=why, fix=RESTORE) from error


def conflict(uri: str, why: str) -> CommitConflictError:
    """Another writer was first."""
    what = "another writer changed the table first"
    return CommitConflictError(what, where=uri, why=why, fix="run it again")


def _plain(error: Exception) -> str:
    """What the engine says, on one line and without the colours it paints errors in."""
    return " ".join(_COLOURS.sub("", str(error)).split())
