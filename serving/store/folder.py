"""A store in a local folder."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import NoReturn

from serving.errors import (
    DiskFullError,
    MissingObjectError,
    MissingStoreError,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)
from serving.store.keys import TEMPORARY, check_key, check_readable
from serving.store.port import Entry, Fetched, Level

_READINGS = 3  # of a file that somebody rewrites in place just now


class FolderStore:
    """A store in a local folder: an object is a file, a key its path below the root.

    ``put`` writes a temporary file beside the object, fsyncs it, renames it over the object and fsyncs the folder;
    ``put_if_absent`` ends in a hard link instead, which fails atomically when the name exists. A killed writer leaves
    at most a file named ``.tidemill-…``, which ``list`` does not show. Folders below the root are made as needed and
    are not removed; the root itself is not made (see ``open_store``).

    Args:
        root: The folder.

    Example:
        >>> import tempfile
        >>> store = FolderStore(Path(tempfile.mkdtemp()))
        >>> store.put_if_absent("ledger/1", b"mine"), store.put_if_absent("ledger/1", b"yours"), store.get("ledger/1")
        (True, False, b'mine')
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def uri(self) -> str:
        """The absolute path of the root."""
        return str(self.root)

    def require_root(self) -> None:
        """Raise ``MissingStoreError`` when the root is not a folder."""
        if not self.root.is_dir():
            found = "is not a folder" if self.root.exists() else "does not exist"
            raise MissingStoreError(
                f"the store's folder {found}",
                where=str(self.root),
                fix=f"mkdir -p '{self.root}' if this is the right place, else correct TIDEMILL_STORE",
            )

    def get(self, key: str) -> bytes:
        """The object; see ``Store``."""
        return self.fetch(key).data

    def fetch(self, key: str) -> Fetched:
        """The object with its entry; see ``Store``.

        Objects that were written through this class change by rename, so the open file stays whole. Others may write a
        file in place: one that grows is cut where it ended when it was opened, which is what its entry says, and one
        that shrinks under the reader is read again.

        Raises:
            StoreUnreachableError: It kept on shrinking.
        """
        path = self.root / check_readable(key)
        try:
            for _ in range(_READINGS):
                with path.open("rb", buffering=0) as file:
                    status = os.fstat(file.fileno())
                    data = file.read(status.st_size)
                if len(data) == status.st_size:
                    return Fetched(_entry(key, status), data, {})
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            self.require_root()
            raise MissingObjectError("no such object", where=f"{key} in {self.uri}") from None
        except OSError as error:
            _raise_for(error, key, self.uri)
        raise StoreUnreachableError(
            "the file became shorter while it was read", where=f"{key} in {self.uri}", fix="let its writer finish"
        )

    def put(self, key: str, data: bytes) -> None:
        """Write or replace the object; see ``Store``."""
        with self._written(key, data) as (temporary, path):
            temporary.replace(path)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write the object unless the key exists; see ``Store``."""
        if (self.root / check_key(key)).is_file():
            return False
        with self._written(key, data) as (temporary, path):
            try:
                os.link(temporary, path)
            except FileExistsError:
                if path.is_dir():
                    raise
                return False
        return True

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Objects in key order, one folder in memory at a time per level; see ``Store``."""
        self.require_root()
        folder = prefix.rpartition("/")[0]
        if folder:
            check_readable(folder)
        return self._walk(f"{folder}/" if folder else "", prefix, after)

    def level(self, prefix: str) -> Level:
        """One folder, without what is below it; see ``Store``."""
        self.require_root()
        if prefix:
            check_readable(prefix.rstrip("/"))
        found = list(self._scan(prefix))
        return Level(
            tuple(entry for name, item in found if not name.endswith("/") and (entry := _listed(name, item))),
            tuple(name for name, _ in found if name.endswith("/")),
        )

    def delete(self, key: str) -> None:
        """Remove the object if it is there; see ``Store``."""
        path = self.root / check_key(key)
        try:
            path.unlink()
            sync_folder(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            self.require_root()
        except OSError as error:
            _raise_for(error, key, self.uri)

    @contextlib.contextmanager
    def _written(self, key: str, data: bytes) -> Iterator[tuple[Path, Path]]:
        """A durable temporary file beside the object's path; the caller gives it its name."""
        path = self.root / check_key(key)
        self.require_root()
        temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}.part"
        try:
            make_folder(path.parent)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary, path
            sync_folder(path.parent)
        except OSError as error:
            _raise_for(error, key, self.uri)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _walk(self, base: str, prefix: str, after: str) -> Iterator[Entry]:
        for name, item in self._scan(base, prefix, after):
            if name.endswith("/"):
                yield from self._walk(name, prefix, after)
            elif entry := _listed(name, item):
                yield entry

    def _scan(self, base: str, prefix: str = "", after: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Objects and folders below one folder that a listing is to show or to enter, in key order."""
        # Of a long history mostly the end is asked for: the rest is left out before its names are put together.
        passed = after.removeprefix(base) if after.startswith(base) else ""
        try:
            with os.scandir(self.root / base) as found:
                shown = (item for item in found if item.name > passed or item.is_dir()) if passed else found
                entries = [(f"{base}{item.name}{'/' if item.is_dir() else ''}", item) for item in shown]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            _raise_for(error, base, self.uri)
        if after or not base.startswith(prefix):
            entries = [entry for entry in entries if _wanted(entry[0], prefix, after)]
        # A folder sorts with its slash: "a-b" comes before "a/x", as it does in S3.
        entries.sort(key=itemgetter(0))
        hidden = f"{base}{TEMPORARY}"
        for entry in entries:
            if not entry[0].startswith(hidden):
                yield entry


def _wanted(name: str, prefix: str, after: str) -> bool:
    """Whether a listing is to show an object, or to look into a folder."""
    if name.endswith("/"):
        passed = after > name and not after.startswith(name)
        return not passed and (name.startswith(prefix) or prefix.startswith(name))
    return name > after and name.startswith(prefix)


def _listed(key: str, item: os.DirEntry[str]) -> Entry | None:
    try:
        status = item.stat()
    except FileNotFoundError:  # deleted since the folder was read
        return None
    return _entry(key, status) if stat.S_ISREG(status.st_mode) else None


def _entry(key: str, status: os.stat_result) -> Entry:
    # Two writes within one tick of the kernel's clock share the time; their inodes differ, as both files exist at once.
    written = status.st_mtime_ns
    return Entry(key, status.st_size, f"{status.st_size:x}-{written:x}-{status.st_ino:x}", written // 1000)


def make_folder(folder: Path) -> None:
    """Create the folder and what is missing above it, each durable in its parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a file's own fsync does not."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _raise_for(error: OSError, key: str, uri: str) -> NoReturn:
    where, why = f"{key} in {uri}", error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise DiskFullError("no space left for an object", where=where, why=why, fix="free some space") from error
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        raise StoreDeniedError("the folder refuses this", where=where, why=why, fix="check owner and mode") from error
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        why = "one key would have to be an object and a folder at once"
    raise StoreError("the folder store failed", where=where, why=why) from error
