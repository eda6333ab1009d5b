"""The table engine's errors in our words."""

import contextlib
import re
from collections.abc import Iterator

import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from pipelines.durability import torn_files
from pipelines.errors import CommitConflictError, LakeError

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STACK = " 0: <unknown>"  # the engine's own stack says nothing


@contextlib.contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn the errors of the table engine into ours; that there is no table stays its own."""
    try:
        yield
    except TableNotFoundError:
        raise
    except CommitFailedError as error:
        raise conflict(uri, _plain(error)) from error
    except (DeltaError, OSError, pa.ArrowException, ValueError) as error:
        why, _, _ = _plain(error).partition(_STACK)
        torn = " ".join(f"'{path}'" for path in torn_files(uri))
        fix = f"rm {torn}: a power cut tore it, and what it said is written again" if torn else ""
        raise LakeError("the table cannot be used", where=uri, why=why[:500], fix=fix) from error


def conflict(uri: str, why: str) -> CommitConflictError:
    """Another writer was first."""
    what = "another writer changed the table first"
    return CommitConflictError(what, where=uri, why=why, fix="run it again")


def _plain(error: Exception) -> str:
    """What the engine says, on one line and without the colours it paints errors in."""
    return " ".join(_COLOURS.sub("", str(error)).split())
