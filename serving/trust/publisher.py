"""The writing side of updates: a TUF repository of static files in a ``Store``, and no server.

Layout below ``updates/``::

    metadata/1.root.json            signed by two of three root keys
    metadata/<n>.targets.json       only delegates: releases/* and bundles/* to the role "releases", terminating
    metadata/<n>.releases.json      the published files, signed online
    metadata/<n>.snapshot.json      which versions belong together
    metadata/<n>.timestamp.json     which snapshot is the newest: creating this file is the moment of publication
    metadata/timestamp.json         its copy under the name that clients ask for
    targets/<folder>/<sha256>.<name>

Laws (``tests/unit/serving/test_publisher.py``):

- whoever is killed after any number of writes leaves a repository that clients accept, old or new, and running the same
  command again ends where an undisturbed run would have;
- of two publishers that start from the same state one wins; the other fails and has changed nothing that clients see;
- nothing is carried on that the same keys have not signed before (``serving.trust.repository``).

Why so:
    *Numbered timestamps* are not in the TUF specification, which has one mutable file. A conditional write cannot say
    who may replace a file, only who may create one, so the number is what two publishers compete for. Cost: one small
    file per publication. Files that lost are skipped by number and never named; clients do not see them.
    *Files are never deleted*, only no longer listed: a client may still be reading the state before.
"""

import logging
import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from tuf.api.metadata import (  # type: ignore[attr-defined]  # the module re-exports them without __all__
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from serving.errors import MissingObjectError
from serving.store import Store
from serving.trust.errors import ConcurrentPublishError, TrustError
from serving.trust.keys import ROLES, ROOT_THRESHOLD, KeyRing
from serving.trust.layout import DEVELOPMENT_MARK, PREFIX, RELEASES_ROLE, moment
from serving.trust.repository import Repository, State
from serving.trust.seal import KeySeal

# Signed anew when less than half of it is left. Short ones bound how long a frozen store can hide a publication; long
# ones how seldom somebody has to bring offline keys.
LIFETIMES: Mapping[str, timedelta] = {
    "root": timedelta(days=365),
    "targets": timedelta(days=365),
    "releases": timedelta(days=90),
    "snapshot": timedelta(days=7),
    "timestamp": timedelta(days=3),
}
_AHEAD = timedelta(days=1)  # clocks of two publishers may differ
_PATHS = ("releases/*", "bundles/*")
_PATH = re.compile(r"(releases|bundles)/[A-Za-z0-9_][A-Za-z0-9_.-]*")
_Signed = TypeVar("_Signed", Root, Targets, Snapshot, Timestamp)
_LOG = logging.getLogger(__name__)


class Publisher:
    """Publishes files for ``serving.trust.client.TrustedClient``.

    Args:
        store: Must support conditional writes.
        keys: Folder of the signing keys, see ``serving.trust.keys``.
        prefix: Folder of the repository within the store.

    Raises:
        KeysError: The keys cannot be read.

    Example:
        >>> import tempfile
        >>> from serving.trust.keys import create_keys
        >>> from serving.store import open_store
        >>> from serving.trust.client import TrustedClient
        >>> work = Path(tempfile.mkdtemp())
        >>> create_keys(work / "keys")
        >>> store = open_store(str(work / "store"), create=True)
        >>> publisher = Publisher(store, work / "keys")
        >>> publisher.initialise(now_us=0)
        >>> publisher.publish({"releases/pump_failure.json": b"{}"}, remove=(), now_us=1)
        >>> client = TrustedClient(store, work / "gateway", publisher.root_bytes())
        >>> client.refresh(now_us=2), client.fetch("releases/pump_failure.json")
        (True, b'{}')
    """

    def __init__(self, store: Store, keys: Path, prefix: str = PREFIX) -> None:
        self._store = store
        self._keys = KeyRing.load(keys)
        self._repository = Repository(store, self._keys, prefix)

    @property
    def seal(self) -> KeySeal:
        """What signs records beside the repository with the key of releases."""
        return KeySeal(self._keys)

    def initialise(self, now_us: int) -> None:
        """Make the repository if there is none. One that exists with the same keys stays as it is.

        Raises:
            KeysError: The root and targets keys are needed and not here.
            WrongKeysError: The store holds a repository of other keys.
            ConcurrentPublishError: Another process did the same at this moment; run again.
        """
        numbers = self._repository.numbers()
        if "root" not in numbers:
            self._store.put_if_absent(self._repository.key("1.root.json"), self._sign("root", self._first_root(now_us)))
            numbers = self._repository.numbers()
        self._repository.load_root(numbers)
        if "timestamp" in numbers:
            self._expose(self._repository.load())
        else:
            first = {"targets": Targets(delegations=self._delegations()), RELEASES_ROLE: Targets()}
            self._commit(numbers, {}, first, now_us)

    def publish(self, files: Mapping[str, bytes], remove: Collection[str], now_us: int) -> None:
        """Publish files in one step: clients see all of them or none. What is published already is no change.

        Args:
            files: Path (``releases/<name>`` or ``bundles/<name>``) -> content.
            remove: Paths that are no longer published; unknown ones are ignored.
            now_us: The time that expiry counts from, UTC microseconds.

        Raises:
            NotInitialisedError: There is no repository yet.
            ConcurrentPublishError: Another publisher was faster; run again.
            UntrustedError: What the store holds was not signed with these keys.
            WrongKeysError: The keys do not belong to the repository.
            KeysError: A private key cannot be used.
            StoreError: The store fails; run again.
        """
        state = self._repository.load()
        self._expose(state)
        targets = {path: target for path, target in state.releases.targets.items() if path not in remove}
        for path, data in files.items():
            if not _PATH.fullmatch(path):
                raise TrustError("no role may publish this path", where=path, why=f"it is not like {_PATH.pattern}")
            targets[path] = TargetFile.from_data(path, data, ["sha256"])
        if targets == state.releases.targets:
            return
        for path, data in files.items():
            self._put_file(self._repository.file_key(path, targets[path].hashes["sha256"]), data)
        self._commit(state.numbers, state.snapshot.meta, {RELEASES_ROLE: Targets(targets=targets)}, now_us)

    def refresh_metadata(self, now_us: int) -> tuple[str, ...]:
        """Sign anew what has less than half of its lifetime left; the roles that were signed.

        So is what expires later than it could: a clock that ran ahead signed it, and a store that is frozen could hide
        publications for as long.

        Offline roles are signed when their keys are here; otherwise a warning is logged. Raises as ``publish`` does.
        """
        state = self._repository.load()
        self._expose(state)
        now = moment(now_us)
        due = [
            role
            for role, lifetime in LIFETIMES.items()
            if not now + lifetime / 2 <= state.of(role).expires <= now + lifetime + _AHEAD
        ]
        for role in [role for role in due if not self._keys.can_sign(role)]:
            _LOG.warning("the %s metadata expires at %s and its keys are not here", role, state.of(role).expires)
            due.remove(role)
        if "root" in due:
            self._renew_root(state.root, now_us)
        changed = {
            role: Targets.from_dict(state.of(role).to_dict()) for role in due if role in ("targets", RELEASES_ROLE)
        }
        if changed or "snapshot" in due:
            self._commit(state.numbers, state.snapshot.meta, changed, now_us)
            due += [role for role in ("snapshot", "timestamp") if role not in due]
        elif "timestamp" in due:
            self._commit_timestamp(state.numbers, state.timestamp.snapshot_meta, now_us)
        return tuple(due)

    def expiries(self) -> dict[str, int]:
        """When the metadata of each role expires, UTC microseconds: what an operator has to know ahead of time."""
        state = self._repository.load()
        return {role: (state.of(role).expires - moment(0)) // timedelta(microseconds=1) for role in LIFETIMES}

    def root_bytes(self) -> bytes:
        """The newest root metadata: what a client is installed with."""
        return self._repository.load_root(self._repository.numbers())[1]

    def read(self, prefix: str) -> dict[str, bytes]:
        """Published files whose path starts with ``prefix``, verified."""
        return self._repository.read(prefix)

    def _first_root(self, now_us: int) -> Root:
        names = [role for role in ROLES if role != RELEASES_ROLE]
        roles = {role: Role([], ROOT_THRESHOLD if role == "root" else 1) for role in names}
        root = Root(expires=moment(now_us) + LIFETIMES["root"], roles=roles)
        for role in names:
            for key in self._keys.of(role):
                root.add_key(key, role)
        if self._keys.development:
            root.unrecognized_fields[DEVELOPMENT_MARK] = True
        return root

    def _delegations(self) -> Delegations:
        keys: dict[str, Key] = {key.keyid: key for key in self._keys.of(RELEASES_ROLE)}
        role = DelegatedRole(RELEASES_ROLE, list(keys), threshold=1, terminating=True, paths=list(_PATHS))
        return Delegations(keys, {RELEASES_ROLE: role})

    def _renew_root(self, root: Root, now_us: int) -> None:
        renewed = Root.from_dict(root.to_dict())
        renewed.version += 1
        renewed.expires = moment(now_us) + LIFETIMES["root"]
        if not self._store.put_if_absent(
            self._repository.key(f"{renewed.version}.root.json"), self._sign("root", renewed)
        ):
            raise self._lost()

    def _put_file(self, key: str, data: bytes) -> None:
        if not self._store.put_if_absent(key, data) and self._store.get(key) != data:
            self._store.put(key, data)  # somebody damaged it; its name is its digest, so this can only heal

    def _commit(
        self, numbers: Mapping[str, int], meta: Mapping[str, MetaFile], changed: Mapping[str, Targets], now_us: int
    ) -> None:
        """Write what others refer to first, and the numbered timestamp last: before it, nothing has happened."""
        entries = dict(meta)
        for role, signed in changed.items():
            entries[f"{role}.json"] = self._put_numbered(role, signed, numbers, now_us)
        snapshot = self._put_numbered("snapshot", Snapshot(meta=entries), numbers, now_us)
        self._commit_timestamp(numbers, snapshot, now_us)

    def _put_numbered(self, role: str, signed: _Signed, numbers: Mapping[str, int], now_us: int) -> MetaFile:
        signed.version = numbers.get(role, 0)
        signed.expires = moment(now_us) + LIFETIMES[role]
        while True:  # numbers that a killed or slower publisher has taken are skipped
            signed.version += 1
            data = self._sign(role, signed)
            if self._store.put_if_absent(self._repository.key(f"{signed.version}.{role}.json"), data):
                return MetaFile.from_data(signed.version, data, ["sha256"])

    def _commit_timestamp(self, numbers: Mapping[str, int], snapshot: MetaFile, now_us: int) -> None:
        number = numbers.get("timestamp", 0) + 1
        expires = moment(now_us) + LIFETIMES["timestamp"]
        data = self._sign("timestamp", Timestamp(version=number, expires=expires, snapshot_meta=snapshot))
        if not self._store.put_if_absent(self._repository.key(f"{number}.timestamp.json"), data):
            raise self._lost()
        self._store.put(self._repository.key("timestamp.json"), data)

    def _expose(self, state: State) -> None:
        """Finish what was killed between publication and the copy that clients read."""
        try:
            shown = self._store.get(self._repository.key("timestamp.json"))
        except MissingObjectError:
            shown = b""
        if shown != state.timestamp_bytes:
            self._store.put(self._repository.key("timestamp.json"), state.timestamp_bytes)

    def _sign(self, role: str, signed: _Signed) -> bytes:
        metadata: Metadata[_Signed] = Metadata(signed)
        for signer in self._keys.signers(role):
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def _lost(self) -> ConcurrentPublishError:
        return ConcurrentPublishError(
            "another publisher was faster",
            where=self._repository.where,
            why="it published after this run had looked",
            fix="run again",
        )
