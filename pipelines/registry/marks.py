"""Marks on versions: aliases, of which each names one version of a model, and tags."""

from collections.abc import Mapping
from typing import Any, Final

from pipelines.errors import VersionMissingError
from pipelines.registry.connection import Connection
from pipelines.registry.versions import Versions

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"


class Marks:
    """Aliases and tags at a server, asked for within `Connection.asked`.

    Args:
        connection: The server.
        versions: Its versions.
    """

    def __init__(self, connection: Connection, versions: Versions) -> None:
        self._connection = connection
        self._versions = versions

    @property
    def _client(self) -> Any:
        return self._connection.client

    def holder(self, usecase: str, alias: str) -> Any:
        """Return the version with an alias, as MLflow gives it; None when nobody has it."""
        return self._connection.optional(lambda: self._client.get_model_version_by_alias(usecase, alias))

    def give(self, usecase: str, alias: str, version: str) -> None:
        """Give an alias to a version; whoever had it loses it."""
        self._client.set_registered_model_alias(usecase, alias, version)

    def take(self, usecase: str, alias: str, version: str | None = None) -> None:
        """Take an alias away, from this version only where one is named; nothing happens when nobody has it."""
        found = self.holder(usecase, alias)
        if found is not None and version in (None, str(found.version)):
            self._client.delete_registered_model_alias(usecase, alias)

    def write(self, usecase: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; an empty value removes the tag. A version that is gone is left out in silence."""
        try:
            present = self._versions.get(usecase, version).tags
        except VersionMissingError:
            return
        for name, value in tags.items():
            if value:
                self._client.set_model_version_tag(usecase, version, name, value)
            elif name in present:
                self._client.delete_model_version_tag(usecase, version, name)
