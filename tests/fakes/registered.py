"""Versions in a real MLflow without a training: bundles that the gate let through, refused or never saw."""

import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient

from pipelines.registration import BUNDLE
from pipelines.registry.runs import DIGEST_TAG
from serving.approval import GateRecord, write_gate
from serving.bundle import digest_of, unpack
from serving.store import Store


def register(client: MlflowClient, experiment: str, store: Store, data: bytes, *, judged: bool | None = True) -> str:
    """Register a bundle as a version of a model that is there; return the version.

    Args:
        client: Of the MLflow.
        experiment: Id of the experiment that its run belongs to.
        store: Where the gate writes.
        data: The bundle.
        judged: Passed, refused (False) or never judged (None) by the gate.
    """
    name, digest = unpack(data).manifest.usecase, digest_of(data)
    if judged is not None:
        write_gate(store, GateRecord(name, digest, judged, () if judged else ("no",), time.time_ns() // 1000))
    run = client.create_run(experiment, tags={DIGEST_TAG: digest}).info.run_id
    put_bundle(client, run, data)
    return str(client.create_model_version(name, f"runs:/{run}/bundle", run).version)


def put_bundle(client: MlflowClient, run: str, data: bytes) -> None:
    """Put bytes where the bundle of a run lies."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, BUNDLE)
        file.parent.mkdir()
        file.write_bytes(data)
        client.log_artifacts(run, folder)
