"""A registry in memory, as far as a shadow run needs one: bundles, aliases, tags and descriptions of versions."""

from pipelines.errors import RegistryUnreachableError, VersionMissingError
from pipelines.registration import with_section


class ChallengedRegistry:
    """Versions count from 1, as they do in MLflow.

    Args:
        bundles: Bundles of the versions; None is one registered by hand.
    """

    def __init__(self, *bundles):
        self.bundles = list(bundles)
        self.aliases = {}
        self.descriptions = ["Passed." for _ in bundles]
        self.tagged = {}
        self.down = False
        self.fails_at = ""

    def champion(self, usecase):
        return self._aliased("champion")

    def challenger(self, usecase):
        return self._aliased("challenger")

    def download_bundle(self, usecase, version):
        data = self.bundles[int(version) - 1]
        if data is None:
            raise VersionMissingError("the version has no bundle", where=f"{usecase} version {version}")
        return data

    def tags(self, usecase, version):
        return dict(self.tagged.get(version, {}))

    def write_tags(self, usecase, version, tags):
        self._power("write_tags")
        self.tagged[version] = {**self.tags(usecase, version), **tags}

    def set_alias(self, usecase, alias, version):
        self._power("set_alias")
        self.aliases[alias] = version

    def write_section(self, usecase, version, name, text):
        at = int(version) - 1
        self.descriptions[at] = with_section(self.descriptions[at], name, text)

    def _aliased(self, alias):
        if self.down:
            raise RegistryUnreachableError("the MLflow server does not answer", where="memory")
        return self.aliases.get(alias)

    def _power(self, step):
        """A process that is killed right before a step."""
        if self.fails_at == step:
            raise KeyboardInterrupt(step)
