"""Runs: what a training leaves in its experiment, and a run below it for each trial of its search.

A run is found by the digest of its bundle, so what an attempt that was killed left half done is filled in.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipelines.registration import BUNDLE, Registration
from pipelines.registry.connection import Connection, pages

DIGEST_TAG: Final = "bundle.digest"
CONTEXT: Final = "mlflow.data.context"
"""Tag of a data set: what it was used for."""
_ABANDONED_MS: Final = 3_600_000
_CLASSIC: Final = {"mlflow.experimentKind": "custom_model_development"}  # or the page opens among prompts and traces
_PARENT: Final = "mlflow.parentRunId"
_ENDED: Final = ("FINISHED", "FAILED")


class Runs:
    """The runs at a server, asked for within `Connection.asked`.

    Args:
        connection: The server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def _client(self) -> Any:
        return self._connection.client

    def log(self, registration: Registration) -> tuple[str, str]:
        """Log a training, or finish what an earlier attempt began; return its experiment and its run."""
        home = self._experiment(registration)
        run_id = self._run(home, registration)
        self._try(home, run_id, registration)
        self._fill(run_id, registration)
        return home, run_id

    def digest(self, run_id: str) -> str:
        """Return the digest of a run's bundle; empty where there is no run."""
        run = self._found(run_id)
        return str(run.data.tags.get(DIGEST_TAG, "")) if run else ""

    def bundle(self, run_id: str) -> bytes | None:
        """Return the bundle of a run; None where there is none."""
        folder = BUNDLE.rpartition("/")[0]
        listed = self._connection.optional(lambda: self._client.list_artifacts(run_id, folder)) if run_id else None
        if BUNDLE not in [artifact.path for artifact in listed or ()]:
            return None
        with tempfile.TemporaryDirectory() as target:
            return Path(self._client.download_artifacts(run_id, BUNDLE, target)).read_bytes()

    def learned_from(self, run_id: str) -> list[Mapping[str, Any]]:
        """Return the sources of what a run learned from, those of what it was judged with left out."""
        run = self._found(run_id)
        return [
            json.loads(used.dataset.source)
            for used in (run.inputs.dataset_inputs if run else ())
            if (CONTEXT, "test") not in {(tag.key, tag.value) for tag in used.tags}
        ]

    def _found(self, run_id: str) -> Any:
        return self._connection.optional(lambda: self._client.get_run(run_id)) if run_id else None

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
        from mlflow.entities import Metric, Param  # noqa: PLC0415 - see Connection.client

        if not registration.trials:
            return
        below = pages(self._client.search_runs, [home], f"tags.`{_PARENT}` = '{parent}'")
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
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag  # noqa: PLC0415 - see Connection.client

        before = self._client.get_run(run_id)
        metrics = [
            Metric(name, value, before.info.start_time, 0)
            for name, value in registration.metrics.items()
            if value == value and before.data.metrics.get(name) != value  # noqa: PLR0124 - MLflow has no NaN
        ]
        params = [Param(name, value) for name, value in registration.params.items() if name not in before.data.params]
        tags = [RunTag(name, value) for name, value in registration.tags.items()]
        self._client.log_batch(run_id, metrics, params, tags)
        named = {tag.value for used in before.inputs.dataset_inputs for tag in used.tags if tag.key == CONTEXT}
        inputs = [
            DatasetInput(
                Dataset(used.name, short(used.digest), "tidemill", json.dumps(used.source)),
                [InputTag(CONTEXT, used.context)],
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


def short(digest: str) -> str:
    """Return as much of a digest as fits where MLflow shows it."""
    return digest.removeprefix("sha256:")[:12]
