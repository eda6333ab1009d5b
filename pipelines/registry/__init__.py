"""The model registry: the one package that talks to MLflow.

    registry = Registry("http://127.0.0.1:5000")
    registry.register(registration)              # a training: one run, one version
    registry.set_alias("pump_failure", "champion", "4")
    registry.wanted()                            # what a release asks

A training leaves a run with its report, bundle, figures and data set, and a version that points to it. All of that is
keyed by the digest of the bundle: a repeated training fills in what a killed one left half done and adds nothing twice.
The version is made after everything it points to, so a version is never half there.

    connection  the way to the server, which is asked only when it answers
    runs        what a training leaves: report, bundle, figures, data sets, trials
    versions    registered models and their versions, and what each points to
    marks       aliases and tags of versions
    wishes      what people want of releases

Why so:

- *Versions come from code only.* One registered by hand in the UI has no bundle; it is shown to releases as such and
  refused there. Autologging is off: it logs twice the parameters and none of the figures people ask for.
- *An unreachable server is found out before MLflow is imported*, in seconds instead of minutes of retries.
"""

from collections.abc import Mapping

from pipelines.errors import VersionMissingError
from pipelines.registration import Registered, Registration, TrainingSet, Version
from pipelines.registry.connection import Connection
from pipelines.registry.marks import CHALLENGER, CHAMPION, Marks
from pipelines.registry.runs import Runs
from pipelines.registry.versions import Versions, report_page
from pipelines.registry.wishes import Wishes
from serving.approval import Desired, Wanted

__all__ = ["CHALLENGER", "CHAMPION", "Registry"]


class Registry:
    """The registry at an MLflow server.

    Args:
        uri: Address of the server. Credentials are taken from MLflow's own variables.
    """

    def __init__(self, uri: str) -> None:
        self._connection = Connection(uri)
        self._runs = Runs(self._connection)
        self._versions = Versions(self._connection, self._runs)
        self._marks = Marks(self._connection, self._versions)
        self._wishes = Wishes(self._connection, self._marks)

    @property
    def uri(self) -> str:
        """Address of the server."""
        return self._connection.uri

    def champion(self, usecase: str) -> str | None:
        """Return the version with the alias ``champion``; None when nobody has it."""
        with self._connection.asked():
            found = self._marks.holder(usecase, CHAMPION)
            return str(found.version) if found else None

    def challenger(self, usecase: str) -> str | None:
        """Return the version with the alias ``challenger``; None when nobody has it."""
        with self._connection.asked():
            found = self._marks.holder(usecase, CHALLENGER)
            return str(found.version) if found else None

    def wanted(self) -> list[Wanted]:
        """Return what releases ask for at first sight: every registered model with its champion."""
        with self._connection.asked():
            return self._wishes.all()

    def load(self, wanted: Wanted) -> Desired:
        """Return a champion with its bundle and the digest that was noted for it, as releases read it."""
        with self._connection.asked():
            digest = self._runs.digest(wanted.run) or None
            return Desired(wanted.usecase, wanted.version, self._runs.bundle(wanted.run), digest)

    def clear_control(self, usecase: str) -> None:
        """Remove the tags that steer a rollout from a model."""
        with self._connection.asked():
            self._wishes.forget_control(usecase)

    def versions(self, usecase: str) -> list[Version]:
        """Return all versions of a use case, oldest first; none when it was never trained."""
        with self._connection.asked():
            return [self._versions.told(found) for found in self._versions.of(usecase)]

    def training_sets(self, usecase: str) -> list[TrainingSet]:
        """Return what the versions of a use case learned from; one registered by hand has nothing to say."""
        with self._connection.asked():
            return self._versions.training_sets(usecase)

    def tags(self, usecase: str, version: str) -> dict[str, str]:
        """Return the tags of a version.

        Raises:
            VersionMissingError: There is no such version.
        """
        with self._connection.asked():
            return dict(self._versions.get(usecase, version).tags)

    def download_bundle(self, usecase: str, version: str) -> bytes:
        """Return the bundle of a version.

        Raises:
            VersionMissingError: There is no such version, or it was registered by hand and has no bundle.
        """
        with self._connection.asked():
            data = self._runs.bundle(self._versions.get(usecase, version).run_id or "")
        if data is None:
            raise VersionMissingError(
                "the version has no bundle",
                where=f"{usecase} version {version}",
                why="it was registered by hand, or its run was removed",
                fix="register versions by a training run",
            )
        return data

    def write_tags(self, usecase: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; an empty value removes the tag. A version that is gone is left out in silence."""
        with self._connection.asked():
            self._marks.write(usecase, version, tags)

    def write_section(self, usecase: str, version: str, name: str, text: str) -> None:
        """Put a section into the description of a version, in place of the one of that name; an empty one goes.

        Raises:
            VersionMissingError: There is no such version.
        """
        with self._connection.asked():
            self._versions.write_section(usecase, version, name, text)

    def set_alias(self, usecase: str, alias: str, version: str) -> None:
        """Give an alias to a version.

        Raises:
            VersionMissingError: There is no such version.
        """
        with self._connection.asked():
            self._versions.get(usecase, version)
            self._marks.give(usecase, alias, version)

    def delete_alias(self, usecase: str, alias: str) -> None:
        """Take an alias away; nothing happens when nobody has it."""
        with self._connection.asked():
            self._marks.take(usecase, alias)

    def register(self, registration: Registration) -> Registered:
        """Log a training and register its version, or finish what an earlier attempt began.

        The challenger alias goes to a version that passed; it is taken from one that was judged again and refused.
        """
        with self._connection.asked():
            home, run_id = self._runs.log(registration)
            usecase = registration.usecase
            number, reused = self._versions.register(registration, home, run_id)
            if registration.passed:
                self._marks.give(usecase, CHALLENGER, number)
            else:
                self._marks.take(usecase, CHALLENGER, number)
            report = f"{self.uri}/{report_page(home, run_id)}"
            return Registered(number, run_id, self.page(usecase, number), reused, report)

    def page(self, usecase: str, version: str) -> str:
        """Return the address of a version's page."""
        return f"{self.uri}/#/models/{usecase}/versions/{version}"
