"""The reading side of updates: a client of The Update Framework (python-tuf) over any ``Store``.

What a placement runs must come from whoever holds the keys, whole, unchanged, and not older than what it saw before.
TUF decides that; its reference implementation leaves five things open, which this module closes:

- it never fsyncs: everything here is written through ``FolderStore``, durable before the next step;
- after a lost cache it accepts an older repository that is still valid: ``floor.json`` lies beside the cache and
  remembers the versions that were seen. A role whose keys the root replaced starts anew, as the specification wants;
- two processes may share a folder: ``refresh`` holds a lock;
- it reads the clock itself: here the time is an argument;
- a killed download leaves half a file: files are verified in memory, then written under their digest, atomically.

Layout of the folder: ``metadata/`` (TUF's cache), ``targets/<sha256>`` (downloads), ``floor.json``, ``lock``.

Who must act is told by the error: ``UnreachableError`` (the network; try again), ``ExpiredMetadataError`` (nobody signs
anew; updates stop, what runs keeps running), ``UntrustedError`` (keys, signatures, digests, a rollback).

Why so:
    *Two requests for no news* (the next root, the timestamp): every other file is named by its version and cached.
    *Nothing is written when nothing changed*: gateways poll for years on flash.
    *A subclass that touches python-tuf's protected members* instead of a client of our own: the workflow stays theirs.
    The cost is that a new python-tuf may move them; the tests of this module would say so.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.exceptions import Error as SigningLibraryError
from tuf.api import exceptions as tuf
from tuf.api.metadata import (  # type: ignore[attr-defined]  # the module re-exports them without __all__
    DelegatedRole,
    Metadata,
    Root,
    Targets,
)
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from serving.bundle import canonical_json
from serving.errors import (
    DevelopmentRootError,
    ExpiredMetadataError,
    MissingObjectError,
    StoreDeniedError,
    TrustError,
    UnreachableError,
    UntrustedError,
    UpdateBusyError,
)
from serving.store import FolderStore, Store

PREFIX = "updates"
RELEASES_ROLE = "releases"
DEVELOPMENT_MARK = "development"
_METADATA, _DOWNLOADS, _FLOOR, _LOCK = "metadata", "targets", "floor.json", "lock"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORBIDDEN, _NOT_FOUND = 403, 404

_Seen = tuple[int, list[str]]  # version of a role, ids of its keys


def moment(time_us: int) -> datetime:
    """UTC microseconds as the kind of time that TUF compares.

    Example:
        >>> moment(1_000_000).isoformat()
        '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(microseconds=time_us)


def hashed_path(path: str, sha256: str) -> str:
    """Where consistent snapshots keep a published file: versions of one path live side by side.

    Example:
        >>> hashed_path("releases/pump_failure.json", "ab12")
        'releases/ab12.pump_failure.json'
    """
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{sha256}.{name}"


class TrustedClient:
    """Published files, as far as they can be trusted. The only reader of TUF metadata outside the publisher.

    Args:
        store: Where the repository lies; ``get`` is all it needs.
        folder: Local state, made if missing; one per client.
        root: The root metadata this client was given with its installation. Newer roots are followed from there.
        production: Refuse a root that is marked for development.
        prefix: Folder of the repository within the store.

    Raises:
        UntrustedError: ``root`` is not root metadata.
        DevelopmentRootError: It is marked for development in production.
    """

    def __init__(
        self, store: Store, folder: Path, root: bytes, *, production: bool = False, prefix: str = PREFIX
    ) -> None:
        self._store = store
        self._root = root
        self._production = production
        self._prefix = prefix
        self._where = f"{prefix} in {store.uri}"
        self._updater: _Updater | None = None
        with _translated("the given root"):
            self._refuse_development(Metadata[Root].from_bytes(root).signed)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrustError("the folder for updates cannot be made", where=str(folder), why=str(error)) from error
        self._local = FolderStore(folder)

    def refresh(self, now_us: int) -> bool:
        """Follow the repository to its newest trusted state.

        Args:
            now_us: The time that expiry is judged by, UTC microseconds.

        Returns:
            Whether the published files differ from what the last refresh of this client saw.

        Raises:
            UnreachableError: The store does not answer or holds no repository.
            ExpiredMetadataError: The newest metadata is too old.
            UntrustedError: It is not signed as it must be, damaged, or older than what was seen before.
            DevelopmentRootError: The root was replaced by one for development in production.
            UpdateBusyError: Another process refreshes the same folder.
            StoreError: The local folder cannot be written, for example because the disk is full.
        """
        with self._locked():
            with _translated(self._where):
                updater = _Updater(self._store, self._local, self._prefix, self._root, now_us)
                updater.follow()
            self._refuse_development(updater.root)
            self._raise_floor(updater.seen)
            changed = self._updater is None or self._updater.index != updater.index
            self._updater = updater
            if changed:
                self._prune(updater.index)
        return changed

    def index(self) -> dict[str, str]:
        """Published files of the state that ``refresh`` saw last: path -> SHA-256 in hex.

        Raises:
            UnreachableError: Nothing was seen yet.
        """
        return dict(self._current().index)

    def fetch(self, path: str) -> bytes:
        """A published file, from the local folder or the store, verified against the signed metadata.

        Raises:
            MissingObjectError: It is not among the published files.
            UntrustedError: The store holds something else than what was signed.
            UnreachableError: The store does not answer, or lacks the file.
            StoreError: The local folder cannot be written.
        """
        with _translated(f"{path} of {self._where}"):
            target = self._current().get_targetinfo(path)
            if target is None:
                raise MissingObjectError("no such file is published", where=f"{path} of {self._where}")
            digest = target.hashes["sha256"]
            with contextlib.suppress(MissingObjectError, tuf.LengthOrHashMismatchError):
                cached = self._local.get(f"{_DOWNLOADS}/{digest}")
                target.verify_length_and_hashes(cached)
                return cached
            key = f"{self._prefix}/targets/{hashed_path(path, digest)}"
            data = _StoreFetcher(self._store).download_bytes(key, target.length)
            target.verify_length_and_hashes(data)
        self._local.put(f"{_DOWNLOADS}/{digest}", data)
        return data

    def _current(self) -> "_Updater":
        if self._updater is None:
            raise UnreachableError("no trusted updates were seen yet", where=self._where, fix="refresh first")
        return self._updater

    def _refuse_development(self, root: Root) -> None:
        if self._production and root.unrecognized_fields.get(DEVELOPMENT_MARK):
            raise DevelopmentRootError(
                "a development root was refused",
                where=self._where,
                why="its private keys lie unencrypted beside the stack, and this client runs in the production profile",
                fix="create production keys and install their root, or use the development profile",
            )

    def _raise_floor(self, seen: Mapping[str, _Seen]) -> None:
        """Refuse what is older than ever seen; remember what is newer."""
        try:
            floor = {
                role: (int(version), keys) for role, (version, keys) in json.loads(self._local.get(_FLOOR)).items()
            }
        except MissingObjectError:
            floor = {}
        except (ValueError, TypeError, AttributeError) as error:
            raise UntrustedError(
                "the versions seen before cannot be read", where=f"{self._local.uri}/{_FLOOR}", why=str(error)
            ) from error
        older = [
            f"{role} {version} after {floor[role][0]}"
            for role, (version, keys) in seen.items()
            if role in floor and floor[role][1] == keys and version < floor[role][0]
        ]
        if older:
            raise UntrustedError(
                "the store shows an older state than this machine has seen",
                where=self._where,
                why=", ".join(older),
                fix="look who rolled the store back; the next publication heals an honest mistake",
            )
        if floor != seen:
            self._local.put(_FLOOR, canonical_json(seen))

    def _prune(self, index: Mapping[str, str]) -> None:
        for entry in list(self._local.list(f"{_DOWNLOADS}/")):
            if entry.key.rpartition("/")[2] not in index.values():
                self._local.delete(entry.key)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._local.root / _LOCK
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise TrustError("the folder for updates cannot be used", where=str(path), why=str(error)) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise UpdateBusyError("the updates are being refreshed already", where=str(path)) from error
        finally:
            os.close(handle)


class _Updater(Updater):
    """python-tuf's client with our clock, our store and durable writes. Good for one refresh, as theirs."""

    def __init__(self, store: Store, local: FolderStore, prefix: str, root: bytes, now_us: int) -> None:
        self._local = local
        self.index: dict[str, str] = {}
        self.seen: dict[str, _Seen] = {}
        super().__init__(
            str(local.root / _METADATA), f"{prefix}/metadata", fetcher=_StoreFetcher(store), bootstrap=root
        )
        self._trusted_set.reference_time = moment(now_us)

    @property
    def root(self) -> Root:
        return self._trusted_set.root

    def follow(self) -> None:
        """Load all metadata there is: the top-level roles and the one delegated role."""
        self.refresh()
        releases = self._load_targets(RELEASES_ROLE, Targets.type)
        trusted = self._trusted_set
        delegation = trusted.targets.get_delegated_role(RELEASES_ROLE)
        if not isinstance(delegation, DelegatedRole):
            raise tuf.RepositoryError(f"the role {RELEASES_ROLE} is not delegated by paths")
        # Only what is entrusted to the role counts: its keys cannot publish elsewhere.
        self.index = {
            path: target.hashes["sha256"]
            for path, target in releases.targets.items()
            if delegation.is_delegated_path(path)
        }
        self.seen = {
            signed.type: (signed.version, sorted(trusted.root.get_delegated_role(signed.type).keyids))
            for signed in (trusted.root, trusted.timestamp, trusted.snapshot, trusted.targets)
        }
        self.seen[RELEASES_ROLE] = releases.version, sorted(delegation.keyids)

    def _persist_file(self, filename: str, data: bytes) -> None:
        key = Path(filename).relative_to(self._local.root).as_posix()
        with contextlib.suppress(MissingObjectError):
            if self._local.get(key) == data:  # python-tuf writes the given root at every start
                return
        self._local.put(key, data)

    def _update_root_symlink(self) -> None:
        """Not needed: the anchor is always the root that was given, never a file in the cache."""


class _StoreFetcher(FetcherInterface):
    """python-tuf's network: its addresses are keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            return iter([self._store.get(url)])
        except MissingObjectError as error:
            raise tuf.DownloadHTTPError(str(error), _NOT_FOUND) from error
        except StoreDeniedError as error:  # S3 without the right to list says so of every missing key
            raise tuf.DownloadHTTPError(str(error), _FORBIDDEN) from error


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    """python-tuf's errors as ours, by who must act."""
    try:
        yield
    except tuf.ExpiredMetadataError as error:
        raise ExpiredMetadataError(
            "the signed metadata has expired",
            where=where,
            why=str(error),
            fix="let a release run sign it anew, and check this machine's clock; what runs keeps running",
        ) from error
    except tuf.DownloadLengthMismatchError as error:
        raise UntrustedError("the store sends more than was signed", where=where, why=str(error)) from error
    except tuf.DownloadError as error:
        raise UnreachableError(
            "the updates cannot be reached",
            where=where,
            why=str(error.__cause__ or error),
            fix="the next poll tries again",
        ) from error
    except (tuf.RepositoryError, SigningLibraryError, ValueError, KeyError) as error:
        raise UntrustedError(
            "the updates were refused",
            where=where,
            why=str(error) or type(error).__name__,
            fix="compare the root of this client with the publisher's, then look who wrote into the store",
        ) from error
