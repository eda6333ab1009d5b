"""Releases made by the real publisher, one call each."""

import time
from pathlib import Path

from serving.bundle import digest_of
from serving.release import Release, bundle_path, release_path
from serving.store import Store
from serving.trust.keys import create_keys
from serving.trust.publisher import Publisher


class Releases:
    """A signed repository of releases in a store.

    Args:
        store: Where it lies.
        folder: For the keys and ``root.json``; made when missing.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        create_keys(folder / "keys")
        self._publisher = Publisher(store, folder / "keys")
        self._publisher.initialise(self._now())
        self._numbers: dict[str, int] = {}
        self.root = folder / "root.json"
        self.root.write_bytes(self._publisher.root_bytes())

    def release(
        self,
        version: str,
        data: bytes,
        usecase: str = "fan_failure",
        placements: tuple[str, ...] = ("gateway", "cloud"),
        released_at_us: int | None = None,
    ) -> Release:
        """Release a bundle."""
        digest = digest_of(data)
        at_us = self._now() if released_at_us is None else released_at_us
        release = Release(usecase, self._next(usecase), version, digest, bundle_path(digest), at_us, placements)
        self._publish({release_path(usecase): release.to_bytes(), release.path: data})
        return release

    def withdraw(self, usecase: str = "fan_failure") -> Release:
        """Release nothing."""
        release = Release(usecase, self._next(usecase), "", "", "", self._now())
        self._publish({release_path(usecase): release.to_bytes()})
        return release

    def publish_file(self, path: str, data: bytes) -> None:
        """Sign any file."""
        self._publish({path: data})

    def _publish(self, files: dict[str, bytes]) -> None:
        self._publisher.publish(files, (), self._now())

    def _next(self, usecase: str) -> int:
        self._numbers[usecase] = self._numbers.get(usecase, 0) + 1
        return self._numbers[usecase]

    @staticmethod
    def _now() -> int:
        return time.time_ns() // 1000
