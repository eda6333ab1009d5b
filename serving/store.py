"""Object storage behind one small port: get, put, put-if-absent, list, delete.

Laws every store keeps (``tests/unit/serving/test_store.py`` holds them against each kind):

- a reader sees an object whole, old or new, never a part of it; when ``put`` returns, the object survives a power cut;
- of any number of writers of one key, ``put_if_absent`` answers ``True`` to at most one;
- ``list`` gives keys in code point order, which is the byte order of their UTF-8 and therefore S3's;
- ``prefix`` is a string prefix, not a folder: ``raw/pu`` lists ``raw/pumps/a``;
- ``delete`` of what is not there is no error, so that it can be repeated.
"""

import contextlib
import errno
import importlib
import os
import secrets
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from serving.errors import (
    DiskFullError,
    InvalidKeyError,
    InvalidStoreUriError,
    MissingExtraError,
    MissingObjectError,
    MissingStoreError,
    StoreDeniedError,
    StoreError,
)

_TEMPORARY = ".tidemill-"  # prefix of files that are not objects yet; no key may use it
_KEY_BYTES = 1024  # S3's limit
_SEGMENT_BYTES = 255  # the limit of a file name
_FIRST_PRINTABLE, _DELETE = 0x20, 0x7F


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing.

    Attributes:
        key: Key within the store.
        size: Bytes.
        etag: Changes whenever the object is written again; says nothing about equal content. Folder: size,
            modification time and inode (cheap: the file is not read). S3: the service's ETag without quotes.
        modified_us: When it was written, UTC microseconds.
    """

    key: str
    size: int
    etag: str
    modified_us: int


class Store(Protocol):
    """The port. Every error is a ``StoreError``."""

    @property
    def uri(self) -> str:
        """What ``open_store`` opens again; free of credentials."""

    def get(self, key: str) -> bytes:
        """The object; ``MissingObjectError`` when there is none."""

    def put(self, key: str, data: bytes) -> None:
        """Write or replace the object, atomically and durably."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write the object unless the key exists; whether this call wrote it."""

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Objects whose key starts with ``prefix`` and is greater than ``after``, sorted by key, lazily."""

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""


def open_store(uri: str, *, create: bool = False) -> Store:
    """Open the store that a setting names.

    Args:
        uri: A path, ``file:///path``, ``s3://bucket/prefix`` or ``http(s)://host/path`` (read-only).
        create: Make a missing folder. Not by default, because a misspelt path or an unmounted disk must not look like
            an empty store. Buckets are never created.

    Raises:
        MissingStoreError: The folder does not exist. A bucket is looked at with the first call, not here.
        InvalidStoreUriError: The URI is of no known kind.
        MissingExtraError: ``s3://`` without boto3.

    Example:
        >>> import tempfile
        >>> store = open_store(tempfile.mkdtemp())
        >>> store.put("raw/pumps/1.json", b"{}")
        >>> [entry.key for entry in store.list("raw/")]
        ['raw/pumps/1.json']
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        scheme = "file"
    parts = urllib.parse.urlsplit(uri) if separator else None
    if parts and "@" in parts.netloc:
        raise InvalidStoreUriError(
            "the store URI carries credentials",
            where=f"{scheme}://…@{parts.hostname}",
            why="URIs end up in logs and reports",
            fix="leave them out; S3 credentials come from boto3's own chain",
        )
    match scheme.lower():
        case "file":
            store = FolderStore(_folder_of(uri))
            if create:
                _make_folder(store.root)
            store.require_root()
            return store
        case "http" | "https" | "s3":
            return _open_adapter(scheme.lower(), uri)
    raise InvalidStoreUriError(
        f"no store is opened by {scheme}://", where=uri, fix="use a path, file:///…, s3://bucket/prefix or http(s)://…"
    )


def check_key(key: str) -> str:
    """The key itself when every kind of store can hold it; ``InvalidKeyError`` otherwise.

    Example:
        >>> check_key("raw/pumps/2026/11/22/00/a.json.gz")
        'raw/pumps/2026/11/22/00/a.json.gz'
    """
    why = ""
    if any(ord(letter) < _FIRST_PRINTABLE or ord(letter) == _DELETE for letter in key):
        why = "it holds control characters"
    elif "\\" in key:
        why = "it holds a backslash"
    else:
        try:
            encoded = key.encode()
            if len(encoded) > _KEY_BYTES or max(map(len, encoded.split(b"/"))) > _SEGMENT_BYTES:
                why = f"it is longer than {_KEY_BYTES} bytes, or a segment than {_SEGMENT_BYTES}"
        except UnicodeEncodeError:
            why = "it is not valid Unicode"
    if why:
        raise InvalidKeyError("a key was refused", where=ascii(key)[:200], why=why, fix="use relative/keys/like.this")
    return check_readable(key)


def check_readable(key: str) -> str:
    """The key itself when it stays within the store; looser than ``check_key``, because others write odd names too."""
    why = ""
    if not key:
        why = "it is empty"
    elif key.startswith("/"):
        why = "it is absolute"
    elif "\0" in key:
        why = "it holds a NUL"
    elif any(segment in ("", ".", "..") for segment in key.split("/")):
        why = "it has an empty, '.' or '..' segment"
    elif any(segment.startswith(_TEMPORARY) for segment in key.split("/")):
        why = f"names that start with {_TEMPORARY!r} are reserved for unfinished writes"
    else:
        try:
            os.fsencode(key)
        except UnicodeEncodeError:
            why = "it is not valid Unicode"
    if why:
        raise InvalidKeyError("a key was refused", where=ascii(key)[:200], why=why, fix="use relative/keys/like.this")
    return key


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
        path = self.root / check_readable(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            self.require_root()
            raise MissingObjectError("no such object", where=f"{key} in {self.uri}") from None
        except OSError as error:
            _raise_for(error, key, self.uri)

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
        temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}.part"
        try:
            _make_folder(path.parent)
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
        try:
            with os.scandir(self.root / base) as found:
                entries = [(f"{base}{item.name}{'/' if item.is_dir() else ''}", item) for item in found]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            _raise_for(error, base, self.uri)
        # A folder sorts with its slash: "a-b" comes before "a/x", as it does in S3.
        for name, item in sorted(entries, key=lambda pair: pair[0]):
            if item.name.startswith(_TEMPORARY):
                continue
            if name.endswith("/"):
                wanted = name.startswith(prefix) or prefix.startswith(name)
                passed = after > name and not after.startswith(name)
                if wanted and not passed:
                    yield from self._walk(name, prefix, after)
            elif name.startswith(prefix) and name > after and item.is_file():
                with contextlib.suppress(FileNotFoundError):  # deleted since the folder was read
                    yield _entry(name, item.stat())


def _folder_of(uri: str) -> Path:
    if "://" not in uri:
        if not uri.strip():
            raise InvalidStoreUriError(
                "the store URI is empty", fix="set TIDEMILL_STORE to a path or s3://bucket/prefix"
            )
        return Path(uri).expanduser()
    parts = urllib.parse.urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise InvalidStoreUriError("a file URI needs three slashes and an absolute path", where=uri, fix="file:///data")
    return Path(urllib.parse.unquote(parts.path))


def _open_adapter(scheme: str, uri: str) -> Store:
    """Load the adapter only now: boto3 is not everywhere, and a web client costs time and memory of its own."""
    name, kind = ("serving.s3", "S3Store") if scheme == "s3" else ("serving.web", "HttpStore")
    try:
        adapter = getattr(importlib.import_module(name), kind)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("boto3", "botocore"):
            raise
        raise MissingExtraError(
            "s3:// needs boto3", where=uri, why="the base installation leaves it out", fix="pip install 'tidemill[s3]'"
        ) from error
    opened: Store = adapter.open(uri)
    return opened


def _entry(key: str, status: os.stat_result) -> Entry:
    # Two writes within one tick of the kernel's clock share the time; their inodes differ, as both files exist at once.
    etag = f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"
    return Entry(key, status.st_size, etag, status.st_mtime_ns // 1000)


def _make_folder(folder: Path) -> None:
    """Create the folder and what is missing above it, each durable in its parent."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
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
