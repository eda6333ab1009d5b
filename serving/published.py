"""The releases in the signed repository as any reader of the store sees them: for pages, not for placements.

Whoever shows a page needs neither keys nor a folder of its own, so signatures are not checked here. What is found is
what the newest timestamp names, with the bytes that it names. Placements go through ``serving.trust``.
"""

import json
from hashlib import sha256
from typing import Any

from serving.errors import MissingObjectError, ReleaseError
from serving.release import FOLDER, Release
from serving.store import Store
from serving.trust.layout import PREFIX, RELEASES_ROLE, hashed_path


def read_releases(store: Store) -> dict[str, Release]:
    """Return the published release of each use case; empty before the first publication.

    Raises:
        ReleaseError: What is published contradicts itself, or was written by a newer program.
    """
    try:
        newest = store.get(f"{PREFIX}/metadata/timestamp.json")
    except MissingObjectError:
        return {}
    try:
        timestamp = json.loads(newest)["signed"]
        snapshot = _signed(store, f"{timestamp['meta']['snapshot.json']['version']}.snapshot.json")
        files = _signed(store, f"{snapshot['meta'][f'{RELEASES_ROLE}.json']['version']}.{RELEASES_ROLE}.json")
        named = {path: entry["hashes"]["sha256"] for path, entry in files["targets"].items() if path.startswith(FOLDER)}
    except (MissingObjectError, KeyError, TypeError, ValueError) as error:
        raise ReleaseError("the repository of updates cannot be read", where=PREFIX, why=str(error)) from error
    found = [_release(store, path, digest) for path, digest in named.items()]
    return {release.usecase: release for release in found}


def _signed(store: Store, name: str) -> dict[str, Any]:
    signed: dict[str, Any] = json.loads(store.get(f"{PREFIX}/metadata/{name}"))["signed"]
    return signed


def _release(store: Store, path: str, digest: str) -> Release:
    key = f"{PREFIX}/targets/{hashed_path(path, digest)}"
    try:
        data = store.get(key)
    except MissingObjectError as error:
        raise ReleaseError("a published release is missing", where=key, fix="run the DAG release again") from error
    if sha256(data).hexdigest() != digest:
        raise ReleaseError("a published release was changed", where=key, fix="look who may write to the store")
    return Release.from_bytes(data)
