"""The reading side of updates: a client of The Update Framework (python-tuf) over any ``Store``.

What a placement runs must come from whoever holds the keys, whole, unchanged, and not older than what it saw before.
TUF decides that; its reference implementation leaves five things open, which are closed here and in `updater`:

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
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]  # the module re-exports them without __all__

from serving.bundle import canonical_json
from serving.errors import MissingObjectError
from serving.store import FolderStore, Store
from serving.trust.errors import (
    DevelopmentRootError,
    TrustError,
    UnreachableError,
    UntrustedError,
    UpdateBusyError,
)
from serving.trust.layout import DEVELOPMENT_MARK, PREFIX, hashed_path
from serving.trust.updater import Seen, StoreFetcher, TrustedUpdater, translated

_DOWNLOADS, _FLOOR, _LOCK = "targets", "floor.json", "lock"


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
        self._updater: TrustedUpdater | None = None
        with translated("the given root"):
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
            with translated(self._where):
                updater = TrustedUpdater(self._store, self._local, self._prefix, self._root, now_us)
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
        with translated(f"{path} of {self._where}"):
            target = self._current().get_targetinfo(path)
            if target is None:
                raise MissingObjectError("no such file is published", where=f"{path} of {self._where}")
            digest = target.hashes["sha256"]
            with contextlib.suppress(MissingObjectError, tuf.LengthOrHashMismatchError):
                cached = self._local.get(f"{_DOWNLOADS}/{digest}")
                target.verify_length_and_hashes(cached)
                return cached
            key = f"{self._prefix}/targets/{hashed_path(path, digest)}"
            data = StoreFetcher(self._store).download_bytes(key, target.length)
            target.verify_length_and_hashes(data)
        self._local.put(f"{_DOWNLOADS}/{digest}", data)
        return data

    def _current(self) -> TrustedUpdater:
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

    def _raise_floor(self, seen: Mapping[str, Seen]) -> None:
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
