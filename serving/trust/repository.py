"""What is published, as the publisher may believe it: read from the store and verified against the folder of keys.

A publisher that signed whatever it found would sign for anybody who can write to the store. So each run starts from a
state that is verified as a client verifies it, with the keys at hand as the anchor. Expiry does not matter here:
signing anew is how expired metadata is mended.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from securesystemslib.exceptions import Error as SigningLibraryError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # the module re-exports them without __all__
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from serving.errors import MissingObjectError
from serving.store import Store
from serving.trust.errors import NotInitialisedError, UntrustedError, WrongKeysError
from serving.trust.keys import KeyRing
from serving.trust.layout import RELEASES_ROLE, hashed_path

_NUMBERED = re.compile(r"([1-9]\d{0,17})\.(\w+)\.json")
_Signed = TypeVar("_Signed", Targets, Snapshot, Timestamp)


@dataclass(frozen=True, slots=True)
class State:
    """The newest published state, verified.

    Attributes:
        root: Newest root.
        targets: The delegation.
        releases: The published files.
        snapshot: Which versions belong together.
        timestamp: Which snapshot is the newest.
        timestamp_bytes: Its file.
        numbers: Highest file number of each role, published or not.
    """

    root: Root
    targets: Targets
    releases: Targets
    snapshot: Snapshot
    timestamp: Timestamp
    timestamp_bytes: bytes
    numbers: Mapping[str, int]

    def of(self, role: str) -> Root | Targets | Snapshot | Timestamp:
        """The metadata of one role."""
        signed: Root | Targets | Snapshot | Timestamp = getattr(self, role)
        return signed


class Repository:
    """Reads and verifies; never writes.

    Args:
        store: Where it lies.
        keys: The keys it must be signed with.
        prefix: Folder of the repository within the store.
    """

    def __init__(self, store: Store, keys: KeyRing, prefix: str) -> None:
        self._store = store
        self._keys = keys
        self._prefix = prefix
        self.where = f"{prefix} in {store.uri}"

    def key(self, name: str) -> str:
        """Key of a metadata file."""
        return f"{self._prefix}/metadata/{name}"

    def file_key(self, path: str, sha256: str) -> str:
        """Key of a published file."""
        return f"{self._prefix}/targets/{hashed_path(path, sha256)}"

    def numbers(self) -> dict[str, int]:
        """Highest file number of each role; roles without a file are left out."""
        numbers: dict[str, int] = {}
        for entry in self._store.list(self.key("")):
            numbered = _NUMBERED.fullmatch(entry.key.rpartition("/")[2])
            if numbered:
                numbers[numbered[2]] = max(int(numbered[1]), numbers.get(numbered[2], 0))
        return numbers

    def load(self) -> State:
        """The newest published state.

        Raises:
            NotInitialisedError: There is none.
            WrongKeysError: It belongs to other keys.
            UntrustedError: It is incomplete or not signed as it must be.
        """
        numbers = self.numbers()
        root, _ = self.load_root(numbers)
        if "timestamp" not in numbers:
            raise self._missing()
        timestamp, data = self._load_role("timestamp", MetaFile(numbers["timestamp"]), Timestamp, root)
        snapshot, _ = self._load_role("snapshot", timestamp.snapshot_meta, Snapshot, root)
        targets, _ = self._load_role("targets", snapshot.meta["targets.json"], Targets, root)
        with self._verified("targets"):
            self._require_ours(RELEASES_ROLE, targets.get_delegated_role(RELEASES_ROLE).keyids)
        releases, _ = self._load_role(RELEASES_ROLE, snapshot.meta[f"{RELEASES_ROLE}.json"], Targets, targets)
        return State(root, targets, releases, snapshot, timestamp, data, numbers)

    def load_root(self, numbers: Mapping[str, int]) -> tuple[Root, bytes]:
        """The newest root and its file; raises as ``load`` does."""
        if "root" not in numbers:
            raise self._missing()
        with self._verified("root"):
            data = self._store.get(self.key(f"{numbers['root']}.root.json"))
            root = Metadata[Root].from_bytes(data)
            for role, delegation in root.signed.roles.items():
                self._require_ours(role, delegation.keyids)
            root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
        return root.signed, data

    def _load_role(
        self, role: str, meta: MetaFile, kind: type[_Signed], delegator: Root | Targets
    ) -> tuple[_Signed, bytes]:
        with self._verified(role):
            data = self._store.get(self.key(f"{meta.version}.{role}.json"))
            meta.verify_length_and_hashes(data)
            metadata: Metadata[_Signed] = Metadata.from_bytes(data)
            delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
            if not isinstance(metadata.signed, kind) or metadata.signed.version != meta.version:
                raise RepositoryError(f"the file says it is {metadata.signed.type} {metadata.signed.version}")
        return metadata.signed, data

    def read(self, prefix: str) -> dict[str, bytes]:
        """Published files whose path starts with ``prefix``; raises as ``load`` does."""
        found = {}
        for path, target in self.load().releases.targets.items():
            if path.startswith(prefix):
                with self._verified(path):
                    found[path] = self._store.get(self.file_key(path, target.hashes["sha256"]))
                    target.verify_length_and_hashes(found[path])
        return found

    def _require_ours(self, role: str, keyids: list[str]) -> None:
        if set(keyids) != {key.keyid for key in self._keys.of(role)}:
            raise WrongKeysError(
                f"the {role} keys are not those of the repository",
                where=self.where,
                why=f"the keys in {self._keys.folder} are others",
                fix="use the folder that the repository was initialised with",
            )

    @contextmanager
    def _verified(self, role: str) -> Iterator[None]:
        try:
            yield
        except (RepositoryError, SigningLibraryError, MissingObjectError, ValueError, KeyError) as error:
            raise UntrustedError(
                "the store holds something that these keys have not signed",
                where=f"{role} of {self.where}",
                why=str(error) or type(error).__name__,
                fix="look who wrote into the store, and restore the file from a backup",
            ) from error

    def _missing(self) -> NotInitialisedError:
        return NotInitialisedError(
            "the store holds no repository of updates",
            where=self.where,
            fix="tidemill keys, or correct TIDEMILL_STORE",
        )
