"""A registry in memory, as far as a training needs one: runs and versions keyed by the digest of their bundle."""

from pipelines.errors import RegistryUnreachableError, VersionMissingError
from pipelines.registration import BUNDLE, Registered, TrainingSet, Version


class MemoryTrainings:
    """Keeps what was registered; versions count from 1."""

    def __init__(self):
        self.registrations = []
        self.champions = {}
        self.down = False

    def champion(self, usecase):
        if self.down:
            raise RegistryUnreachableError("the MLflow server does not answer", where="memory")
        return self.champions.get(usecase)

    def download_bundle(self, usecase, version):
        files = self._of(usecase)[int(version) - 1].files
        if BUNDLE not in files:
            raise VersionMissingError("the version has no bundle", where=f"{usecase} version {version}")
        return files[BUNDLE]

    def training_sets(self, usecase):
        told = ((str(at + 1), one.dataset.source) for at, one in enumerate(self._of(usecase)) if one.dataset)
        return [found for version, source in told if (found := TrainingSet.of(usecase, version, source))]

    def versions(self, usecase):
        found = enumerate(self._of(usecase), start=1)
        return [Version(str(number), f"run-{number}", each.digest, (), each.tags, 0) for number, each in found]

    def page(self, usecase, version):
        return f"memory/{usecase}/{version}"

    def register(self, registration):
        known = [other.digest for other in self._of(registration.usecase)]
        if reused := registration.digest in known:
            number = known.index(registration.digest) + 1
        else:
            self.registrations.append(registration)
            number = len(known) + 1
        return Registered(str(number), f"run-{number}", self.page(registration.usecase, number), reused)

    def _of(self, usecase):
        return [registration for registration in self.registrations if registration.usecase == usecase]
