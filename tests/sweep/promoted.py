"""A model whose alias is moved while something goes wrong, and what must hold of it whatever went wrong."""

import random
import time
from pathlib import Path

from mlflow import MlflowClient

from pipelines.registry import Registry
from serving.audit import verify
from serving.bundle import digest_of
from serving.release import FOLDER, Release
from serving.store import Store
from serving.trust.publisher import Publisher
from tests.fakes.bundles import packed
from tests.fakes.registered import register

FAN = "fan_failure"


class Promoted:
    """A registered model whose versions a gate let through, refused or never saw, or that were registered by hand.

    Args:
        url: Address of an MLflow server that does not know the model yet.
        store: Holds what is published.
        keys: Folder of the keys that sign it.
        chance: Draws whatever is drawn.
    """

    def __init__(self, url: str, store: Store, keys: Path, chance: random.Random) -> None:
        self.store, self.keys, self.chance = store, keys, chance
        self.registry = Registry(url)
        self.client = MlflowClient(url)
        self.experiment = self.client.create_experiment("fans")
        self.client.create_registered_model(FAN)
        self.passed: set[str] = set()  # digests that a gate let through
        self.bundles: dict[str, str] = {}  # digest by version
        self.made = 0
        for _ in range(3):
            self.train()

    @staticmethod
    def now() -> int:
        """The clock, UTC microseconds."""
        return time.time_ns() // 1000

    def train(self, *, judged: bool | None = True) -> str:
        """Register a version: passed, refused (False) or unjudged (None) by the gate."""
        self.made += 1
        data = packed(bias=0.001 * self.made)
        version = register(self.client, self.experiment, self.store, data, judged=judged)
        digest = digest_of(data)
        if judged:
            self.passed.add(digest)
        self.bundles[version] = digest
        return version

    def promote(self, version: str | None) -> None:
        """Set the alias, or delete it."""
        if version is None:
            self.client.delete_registered_model_alias(FAN, "champion")
        else:
            self.client.set_registered_model_alias(FAN, "champion", version)

    def any_version(self) -> str:
        """Mostly one that may be released, else one that may not."""
        present = {str(found.version) for found in self.client.search_model_versions(f"name = '{FAN}'")}
        good = [version for version, digest in self.bundles.items() if digest in self.passed and version in present]
        if self.chance.random() < 0.25 or not good:
            return self.train(judged=self.chance.choice([True, False, None]))
        return self.chance.choice(good)

    def published(self) -> Release | None:
        """What servers and gateways find."""
        found = Publisher(self.store, self.keys).read(FOLDER)
        return Release.from_bytes(next(iter(found.values()))) if found else None

    def check_gated(self) -> Release | None:
        """Demand that nothing was ever released that no gate let through; return what is published."""
        for audit in verify(self.store, Publisher(self.store, self.keys)):
            assert not audit.problem, audit
            for entry in audit.entries:
                if entry.outcome in ("released", "rolled_back", "advanced"):
                    assert entry.bundle_digest in self.passed, f"released ungated: {entry}"
        release = self.published()
        if release is not None and not release.withdrawn:
            assert release.bundle in self.passed, f"published ungated: {release}"
        return release

    def check(self) -> str:
        """What came of it: released, refused, withdrawn; an ``AssertionError`` where it is wrong."""
        release, wanted = self.check_gated(), self.registry.wanted()[0]
        if wanted.version is None:
            assert release is None or release.withdrawn, f"nobody is wanted, published is {release}"
            return "withdrawn"
        tags = self.registry.tags(FAN, wanted.version)
        if self.bundles.get(wanted.version) in self.passed:
            assert release is not None
            assert (release.version, release.run) == (wanted.version, wanted.run), f"{release}; {tags}"
            assert tags.get("release.status") == "released", tags
            assert "release.refused" not in tags
            return "released"
        assert release is None or release.version != wanted.version, f"published {release}"
        assert tags.get("release.status") == "refused", tags
        assert tags.get("release.refused"), tags
        return "refused"
