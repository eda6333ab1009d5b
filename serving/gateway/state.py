"""The one folder a gateway writes to.

Everything below it is written durably and atomically, so the rest of the disk may be read-only and power may fail at
any moment. ``StateFolder`` proves at the start that this works here and that nobody else works in it.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from serving.gateway.errors import StateBusyError, StateFolderError

ADDRESS = "address"


class StateFolder:
    """A gateway's state folder, proven and locked until ``close``.

    Args:
        path: The folder; made when missing.

    Raises:
        StateFolderError: A probe cannot be written, fsynced and read back there.
        StateBusyError: Another agent holds the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        with failing_loudly(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StateBusyError("another agent works in this state folder", where=str(self.path)) from error
        try:
            self._probe()
        except StateFolderError:
            self._lock.close()
            raise

    def folder(self, *names: str) -> Path:
        """A folder below, made when missing."""
        path = self.path.joinpath(*names)
        with failing_loudly(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Let another agent have the folder."""
        self._lock.close()

    def _probe(self) -> None:
        probe = self.path / "probe"
        written = secrets.token_bytes(16)
        write_durably(probe, written)
        with failing_loudly(probe):
            if probe.read_bytes() != written:
                raise OSError(0, "what was written reads back differently")
            probe.unlink()


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file atomically; when this returns, it survives a power cut.

    Raises:
        StateFolderError: The disk is full, read-only or not ours.
    """
    temporary = path.with_name(f".{path.name}.new")
    with failing_loudly(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def failing_loudly(path: Path) -> Iterator[None]:
    """Turn what the operating system says about ``path`` into the error an operator can act on."""
    try:
        yield
    except OSError as error:
        raise StateFolderError(
            "the gateway cannot write its state",
            where=str(path),
            why=error.strerror or str(error),
            fix="give it a folder of its own with free space: TIDEMILL_GATEWAY_STATE",
        ) from error
