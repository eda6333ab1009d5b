"""A model registry in memory: versions with bundles, one alias per model, tags."""

from collections.abc import Mapping

from serving.approval import Control, Desired, Wanted
from serving.bundle import digest_of
from tests.fakes.interrupted import Budget


class MemoryRegistry:
    """Keeps what ``serving.reconcile.RegistryPort`` asks for; versions count from 1 as they do in MLflow.

    Args:
        budget: Shared with the store of the same process, so that power cuts hit tags too.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.writes = 0
        self.loads = 0
        self._controls: dict[str, Control] = {}
        self._bundles: dict[str, list[bytes | None]] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._champions: dict[str, str] = {}
        self._tags: dict[tuple[str, str], dict[str, str]] = {}

    def register(self, usecase: str, bundle: bytes | None) -> str:
        """A new version; None is one registered by hand. The digest is noted as training notes it."""
        versions = self._bundles.setdefault(usecase, [])
        versions.append(bundle)
        version = str(len(versions))
        if bundle is not None:
            self._digests[usecase, version] = digest_of(bundle)
        return version

    def exchange(self, usecase: str, version: str, bundle: bytes) -> None:
        """What somebody does who can write to the artifact store, but not to the registry."""
        self._bundles[usecase][int(version) - 1] = bundle

    def set_champion(self, usecase: str, version: str) -> None:
        self._champions[usecase] = version

    def remove_champion(self, usecase: str) -> None:
        self._champions.pop(usecase, None)

    def tags(self, usecase: str, version: str) -> dict[str, str]:
        return dict(self._tags.get((usecase, version), {}))

    def control(self, usecase: str, word: str, reason: str = "", by: str = "") -> None:
        """What somebody does who sets the tags of a model."""
        self._controls[usecase] = Control(word, reason, by)

    def wanted(self) -> list[Wanted]:
        return [self._first_sight(usecase) for usecase in self._bundles]

    def load(self, wanted: Wanted) -> Desired:
        self.loads += 1
        usecase, version = wanted.usecase, wanted.version or ""
        bundle = self._bundles[usecase][int(version) - 1]
        return Desired(usecase, version, bundle, self._digests.get((usecase, version)))

    def clear_control(self, usecase: str) -> None:
        self.budget.spend()
        self._controls.pop(usecase, None)

    def _first_sight(self, usecase: str) -> Wanted:
        version = self._champions.get(usecase)
        run = f"run-{version}" if version and self._bundles[usecase][int(version) - 1] is not None else ""
        promoted_by = self.tags(usecase, version or "").get("approved_by", "")
        return Wanted(usecase, version, run, promoted_by, self._controls.get(usecase, Control()))

    def write_tags(self, usecase: str, version: str, tags: Mapping[str, str]) -> None:
        self.budget.spend()
        if int(version) > len(self._bundles.get(usecase, [])):
            return
        self.writes += 1
        kept = {**self.tags(usecase, version), **tags}
        self._tags[usecase, version] = {name: value for name, value in kept.items() if value}
