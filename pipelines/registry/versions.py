"""Versions: the registered models, what each version points to, and how it is made, last of all."""

from typing import Any

from pipelines.errors import VersionMissingError
from pipelines.registration import REPORT, Registration, TrainingSet, Version, with_section
from pipelines.registry.connection import Connection, pages
from pipelines.registry.runs import Runs


class Versions:
    """The versions at a server, asked for within `Connection.asked`; what MLflow gives of one is passed on as it is.

    Args:
        connection: The server.
        runs: Its runs.
    """

    def __init__(self, connection: Connection, runs: Runs) -> None:
        self._connection = connection
        self._runs = runs

    @property
    def _client(self) -> Any:
        return self._connection.client

    def models(self) -> list[str]:
        """Return the names of the registered models."""
        return [model.name for model in pages(self._client.search_registered_models)]

    def of(self, usecase: str) -> list[Any]:
        """Return the versions of a use case, oldest first."""
        found = pages(self._client.search_model_versions, f"name = '{usecase}'")
        return sorted(found, key=lambda version: int(version.version))

    def get(self, usecase: str, version: str) -> Any:
        """Return one version.

        Raises:
            VersionMissingError: There is no such version.
        """
        found = self._connection.optional(lambda: self._client.get_model_version(usecase, version))
        if found is None:
            raise VersionMissingError("there is no such version", where=f"{usecase} version {version}")
        return found

    def told(self, found: Any) -> Version:
        """Return a version as others know it."""
        aliases = tuple(self.get(found.name, found.version).aliases)
        created = int(found.creation_timestamp) * 1000
        digest = self._runs.digest(found.run_id or "")
        return Version(str(found.version), found.run_id or "", digest, aliases, dict(found.tags), created)

    def training_sets(self, usecase: str) -> list[TrainingSet]:
        """Return what the versions of a use case learned from; one registered by hand has nothing to say."""
        told = [
            TrainingSet.of(usecase, str(version.version), source)
            for version in self.of(usecase)
            for source in self._runs.learned_from(version.run_id or "")
        ]
        return [each for each in told if each is not None]

    def write_section(self, usecase: str, version: str, name: str, text: str) -> None:
        """Replace a section of a description; nothing is written where nothing changes."""
        before = self.get(usecase, version).description or ""
        after = with_section(before, name, text)
        if after != before:
            self._client.update_model_version(usecase, version, after)

    def register(self, registration: Registration, home: str, run_id: str) -> tuple[str, bool]:
        """Make the version of a run, or bring the one that is there up to date.

        Args:
            registration: The training.
            home: Its experiment.
            run_id: Its run, with everything in it.

        Returns:
            Its number, and whether it was there before.
        """
        usecase = registration.usecase
        if usecase not in self.models():
            self._client.create_registered_model(usecase, description=registration.title)
        description = registration.describe(report_page(home, run_id))
        gate = {"gate": "passed" if registration.passed else "failed"}  # digests are tags of the run: lists cut them
        found = next((version for version in self.of(usecase) if version.run_id == run_id), None)
        if found is None:
            source = f"runs:/{run_id}/bundle"
            made = self._client.create_model_version(usecase, source, run_id, tags=gate, description=description)
            return str(made.version), False
        number = str(found.version)
        self._client.update_model_version(usecase, number, description)
        for name, value in gate.items():
            self._client.set_model_version_tag(usecase, number, name, value)
        return number, True


def report_page(home: str, run_id: str) -> str:
    """Return where a run's report is shown, relative to MLflow's page.

    Example:
        >>> report_page("7", "4f2a")
        '#/experiments/7/runs/4f2a/artifacts/report/index.html'
    """
    return f"#/experiments/{home}/runs/{run_id}/artifacts/{REPORT}"
