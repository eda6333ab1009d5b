"""python-tuf's client over any ``Store``: with our clock, writes that are durable, and errors by who must act.

Why so:
    *A subclass that touches python-tuf's protected members* instead of a client of our own: the workflow stays theirs.
    The cost is that a new python-tuf may move them; the tests of `serving.trust.client` would say so.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from securesystemslib.exceptions import Error as SigningLibraryError
from tuf.api import exceptions as tuf
from tuf.api.metadata import (  # type: ignore[attr-defined]  # the module re-exports them without __all__
    DelegatedRole,
    Root,
    Targets,
)
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from serving.errors import MissingObjectError, StoreDeniedError
from serving.store import FolderStore, Store
from serving.trust.errors import ExpiredMetadataError, UnreachableError, UntrustedError
from serving.trust.layout import RELEASES_ROLE, moment

METADATA = "metadata"
"""Folder of python-tuf's cache."""
_FORBIDDEN, _NOT_FOUND = 403, 404

Seen = tuple[int, list[str]]
"""Version of a role, and ids of its keys."""


class TrustedUpdater(Updater):
    """python-tuf's client with our clock, our store and durable writes. Good for one refresh, as theirs.

    Args:
        store: Where the repository lies.
        local: Takes the cache.
        prefix: Folder of the repository within the store.
        root: The root this client was given with its installation.
        now_us: The time that expiry is judged by, UTC microseconds.

    Attributes:
        index: Published files once `follow` is through: path -> SHA-256 in hex.
        seen: What it saw then, by role.
    """

    def __init__(self, store: Store, local: FolderStore, prefix: str, root: bytes, now_us: int) -> None:
        self._local = local
        self.index: dict[str, str] = {}
        self.seen: dict[str, Seen] = {}
        super().__init__(str(local.root / METADATA), f"{prefix}/metadata", fetcher=StoreFetcher(store), bootstrap=root)
        self._trusted_set.reference_time = moment(now_us)

    @property
    def root(self) -> Root:
        """The newest root that is trusted."""
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


class StoreFetcher(FetcherInterface):
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
def translated(where: str) -> Iterator[None]:
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
