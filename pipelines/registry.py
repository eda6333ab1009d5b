"""The model registry: the one module that talks to MLflow.

    registry = Registry("http://127.0.0.1:5000")
    registry.register(registration)              # a training: one run, one version
    registry.set_alias("pump_failure", "champion", "4")
    registry.champions()                         # what a release asks

A training leaves a run with its report, bundle, figures and data set, and a version that points to it. All of that is
keyed by the digest of the bundle: a repeated training fills in what a killed one left half done and adds nothing twice.
The version is made after everything it points to, so a version is never half there.

Why so:

- *Versions come from code only.* One registered by hand in the UI has no bundle; it is shown to releases as such and
  refused there. Autologging is off: it logs twice the parameters and none of the figures people ask for.
- *An unreachable server is found out before MLflow is imported*, in seconds instead of minutes of retries.
"""

import json
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.errors import RegistryError, RegistryUnreachableError, VersionMissingError
from pipelines.registration import BUNDLE, REPORT, TABLES, Registered, Registration, TrainingSet, Version
from pipelines.settings import masked
from serving.approval import Desired

CHAMPION, CHALLENGER = "champion", "challenger"
DIGEST_TAG = "bundle.digest"
_ANSWER_WITHIN_S = 5.0
_ABANDONED_MS = 3_600_000
_CLIENT_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_CLASSIC = {"mlflow.experimentKind": "custom_model_development"}  # or the page opens among prompts and traces
_PARENT, _CONTEXT = "mlflow.parentRunId", "mlflow.data.context"
_ENDED = ("FINISHED", "FAILED")
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # a missing alias is the latter


class Registry:
    """The registry at an MLflow server.

    Args:
        uri: Address of the server. Credentials are taken from MLflow's own variables.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def champion(self, usecase: str) -> str | None:
        """Return the version with the alias ``champion``; None when nobody has it."""
        with self._asked():
            found = self._by_alias(usecase, CHAMPION)
            return str(found.version) if found else None

    def champions(self) -> list[Desired]:
        """Return what releases ask for: every registered model with its champion, as releases read it."""
        desired = []
        with self._asked():
            for name in self._model_names():
                found = self._by_alias(name, CHAMPION)
                if found is None:
                    desired.append(Desired(name, None, None))
                    continue
                digest = self._digest(found) or None
                desired.append(Desired(name, str(found.version), self._bundle(found.run_id), digest))
        return desired

    def versions(self, usecase: str) -> list[Version]:
        """Return all versions of a use case, oldest first; none when it was never trained."""
        with self._asked():
            return [self._version(found) for found in self._search(usecase)]

    def training_sets(self, usecase: str) -> list[TrainingSet]:
        """Return what the versions of a use case learned from; one registered by hand has nothing to say."""
        with self._asked():
            return [found for version in self._search(usecase) for found in self._learned_from(usecase, version)]

    def tags(self, usecase: str, version: str) -> dict[str, str]:
        """Return the tags of a version.

        Raises:
            VersionMissingError: There is no such version.
        """
        with self._asked():
            return dict(self._get(usecase, version).tags)

    def download_bundle(self, usecase: str, version: str) -> bytes:
        """Return the bundle of a version.

        Raises:
            VersionMissingError: There is no such version, or it was registered by hand and has no bundle.
        """
        with self._asked():
            data = self._bundle(self._get(usecase, version).run_id)
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
        with self._asked():
            try:
                present = self._get(usecase, version).tags
            except VersionMissingError:
                return
            for name, value in tags.items():
                if value:
                    self._client.set_model_version_tag(usecase, version, name, value)
                elif name in present:
                    self._client.delete_model_version_tag(usecase, version, name)

    def set_alias(self, usecase: str, alias: str, version: str) -> None:
        """Give an alias to a version.

        Raises:
            VersionMissingError: There is no such version.
        """
        with self._asked():
            self._get(usecase, version)
            self._client.set_registered_model_alias(usecase, alias, version)

    def delete_alias(self, usecase: str, alias: str) -> None:
        """Take an alias away; nothing happens when nobody has it."""
        with self._asked():
            if self._by_alias(usecase, alias):
                self._client.delete_registered_model_alias(usecase, alias)

    def register(self, registration: Registration) -> Registered:
        """Log a training and register its version, or finish what an earlier attempt began.

        The challenger alias goes to a version that passed; it is taken from one that was judged again and refused.
        """
        with self._asked():
            home = self._experiment(registration)
            run_id = self._run(home, registration)
            self._try(home, run_id, registration)
            self._fill(run_id, registration)
            usecase = registration.usecase
            report = f"#/experiments/{home}/runs/{run_id}/artifacts/{REPORT}"
            description = registration.describe(report)
            self._model(registration)
            found = next((v for v in self._search(usecase) if v.run_id == run_id), None)
            gate = {"gate": "passed" if registration.passed else "failed", "gate.digest": _short(registration.digest)}
            version = found or self._client.create_model_version(
                usecase, f"runs:/{run_id}/bundle", run_id, tags=gate, description=description
            )
            number = str(version.version)
            if found:
                self._client.update_model_version(usecase, number, description)
                for name, value in gate.items():
                    self._client.set_model_version_tag(usecase, number, name, value)
            challenger = self._by_alias(usecase, CHALLENGER)
            if registration.passed:
                self._client.set_registered_model_alias(usecase, CHALLENGER, number)
            elif challenger and str(challenger.version) == number:
                self._client.delete_registered_model_alias(usecase, CHALLENGER)
            return Registered(number, run_id, self.page(usecase, number), found is not None, f"{self.uri}/{report}")

    def page(self, usecase: str, version: str) -> str:
        """Return the address of a version's page."""
        return f"{self.uri}/#/models/{usecase}/versions/{version}"

    def _experiment(self, registration: Registration) -> str:
        found = self._client.get_experiment_by_name(registration.experiment)
        if found is not None:
            return str(found.experiment_id)
        return str(
            self._client.create_experiment(
                registration.experiment, tags={"mlflow.note.content": registration.title, **_CLASSIC}
            )
        )

    def _run(self, home: str, registration: Registration) -> str:
        """The run of this bundle: a new one, or the one an earlier attempt began. Abandoned ones are marked."""
        same = self._client.search_runs([home], f"tags.`{DIGEST_TAG}` = '{registration.digest}'")
        if same:
            return str(same[0].info.run_id)
        run = self._client.create_run(
            home, tags={DIGEST_TAG: registration.digest, **registration.tags}, run_name=registration.run_name
        )
        for other in self._client.search_runs([home], "attributes.status = 'RUNNING'"):
            if other.info.start_time < run.info.start_time - _ABANDONED_MS:
                self._client.set_terminated(other.info.run_id, "KILLED")
        return str(run.info.run_id)

    def _try(self, home: str, parent: str, registration: Registration) -> None:
        """A run below the training's for each trial: those that an earlier attempt left out or half done."""
        from mlflow.entities import Metric, Param  # noqa: PLC0415 - see _client

        if not registration.trials:
            return
        below = _pages(self._client.search_runs, [home], f"tags.`{_PARENT}` = '{parent}'")
        before = {run.data.tags.get("trial.number", ""): run.info for run in below}
        for trial in registration.trials:
            known = before.get(str(trial.number))
            if known is not None and known.status in _ENDED:
                continue
            began = trial.began_us // 1000
            if known is None:
                tags = {**trial.tags, _PARENT: parent, "trial.number": str(trial.number)}
                known = self._client.create_run(home, start_time=began, tags=tags, run_name=trial.name).info
            metrics = [Metric(name, value, began, 0) for name, value in trial.metrics.items()]
            self._client.log_batch(known.run_id, metrics, [Param(*each) for each in trial.params.items()])
            status = "FAILED" if trial.failed else "FINISHED"
            self._client.set_terminated(known.run_id, status, began + round(trial.seconds * 1000))

    def _fill(self, run_id: str, registration: Registration) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag  # noqa: PLC0415 - see _client

        before = self._client.get_run(run_id)
        metrics = [
            Metric(name, value, before.info.start_time, 0)
            for name, value in registration.metrics.items()
            if value == value and before.data.metrics.get(name) != value  # noqa: PLR0124 - MLflow has no NaN
        ]
        params = [Param(name, value) for name, value in registration.params.items() if name not in before.data.params]
        tags = [RunTag(name, value) for name, value in registration.tags.items()]
        self._client.log_batch(run_id, metrics, params, tags)
        named = {tag.value for used in before.inputs.dataset_inputs for tag in used.tags if tag.key == _CONTEXT}
        inputs = [
            DatasetInput(
                Dataset(used.name, _short(used.digest), "tidemill", json.dumps(used.source)),
                [InputTag(_CONTEXT, used.context)],
            )
            for used in (registration.dataset, registration.judged_with)
            if used is not None and used.context not in named
        ]
        if inputs:
            self._client.log_inputs(run_id, inputs)
        with tempfile.TemporaryDirectory() as folder:
            for path, data in registration.files.items():
                file = Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            self._client.log_artifacts(run_id, folder)
        self._client.set_terminated(run_id, "FINISHED")

    def _model(self, registration: Registration) -> None:
        if registration.usecase not in self._model_names():
            self._client.create_registered_model(registration.usecase, description=registration.title)

    def _model_names(self) -> list[str]:
        return [model.name for model in _pages(self._client.search_registered_models)]

    def _search(self, usecase: str) -> list[Any]:
        found = _pages(self._client.search_model_versions, f"name = '{usecase}'")
        return sorted(found, key=lambda version: int(version.version))

    def _get(self, usecase: str, version: str) -> Any:
        found = self._optional(lambda: self._client.get_model_version(usecase, version))
        if found is None:
            raise VersionMissingError("there is no such version", where=f"{usecase} version {version}")
        return found

    def _by_alias(self, usecase: str, alias: str) -> Any:
        return self._optional(lambda: self._client.get_model_version_by_alias(usecase, alias))

    def _version(self, found: Any) -> Version:
        aliases = tuple(self._get(found.name, found.version).aliases)
        created = int(found.creation_timestamp) * 1000
        digest = self._digest(found)
        return Version(str(found.version), found.run_id or "", digest, aliases, dict(found.tags), created)

    def _learned_from(self, usecase: str, version: Any) -> Iterator[TrainingSet]:
        run = self._optional(lambda: self._client.get_run(version.run_id)) if version.run_id else None
        for used in run.inputs.dataset_inputs if run else ():
            if (_CONTEXT, "test") in {(tag.key, tag.value) for tag in used.tags}:
                continue
            source = json.loads(used.dataset.source)
            if {"features.digest", "since", "until"} <= source.keys():
                since, until = int(source["since"]), int(source["until"])
                tables = {name: int(source[f"{name}.version"]) for name in TABLES if f"{name}.version" in source}
                yield TrainingSet(usecase, str(version.version), source["features.digest"], since, until, tables)

    def _digest(self, found: Any) -> str:
        run = self._optional(lambda: self._client.get_run(found.run_id)) if found.run_id else None
        return str(run.data.tags.get(DIGEST_TAG, "")) if run else ""

    def _bundle(self, run_id: str | None) -> bytes | None:
        folder = BUNDLE.rpartition("/")[0]
        listed = self._optional(lambda: self._client.list_artifacts(run_id, folder)) if run_id else None
        if BUNDLE not in [artifact.path for artifact in listed or ()]:
            return None
        with tempfile.TemporaryDirectory() as target:
            return Path(self._client.download_artifacts(run_id, BUNDLE, target)).read_bytes()

    def _optional(self, ask: Callable[[], Any]) -> Any:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see _client

        try:
            return ask()
        except MlflowException as error:
            if error.error_code in _NOT_THERE:
                return None
            raise

    @cached_property
    def _client(self) -> Any:
        """MLflow's client. It takes seconds to import, so commands that need no registry never pay for it."""
        for name, value in _CLIENT_SETTINGS.items():
            os.environ.setdefault(name, value)  # MLflow reads nothing else, and some of it while it is imported
        from mlflow import MlflowClient  # noqa: PLC0415

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Ask only a server that answers; translate MLflow's errors."""
        if "_client" not in self.__dict__:
            self._check_health()
            _ = self._client
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see _client

        try:
            yield
        except (MlflowException, OSError) as error:
            self._check_health()
            why = " ".join(str(error).split())[:500]
            raise RegistryError("the registry refused", where=masked("tracking", self.uri), why=why) from error

    def _check_health(self) -> None:
        if not self.uri.startswith(("http://", "https://")):
            return
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=_ANSWER_WITHIN_S):  # noqa: S310 - http(s), see above
                return
        except urllib.error.HTTPError:
            return  # it answers; what it thinks of us is for the real question to find out
        except (OSError, ValueError) as error:
            raise RegistryUnreachableError(
                "the MLflow server does not answer",
                where=masked("tracking", self.uri),
                why=str(getattr(error, "reason", error)),
                fix="tidemill up, or set MLFLOW_TRACKING_URI to a server that runs",
            ) from error


def _pages(search: Callable[..., Any], *arguments: Any) -> list[Any]:
    found: list[Any] = []
    page = search(*arguments)
    while True:
        found += page
        if not page.token:
            return found
        page = search(*arguments, page_token=page.token)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
