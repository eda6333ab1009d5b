"""One training: from feature rows and events to a judged, registered version.

    regimes -> load and split -> search -> fit, export, pack -> examine the bundle -> gate record -> report -> register

It can be killed anywhere and run again: the same data, parameters and code give the same bundle, its gate record is
replaced by an equal one, and the registry finishes the run that was begun. The version comes last.

Why so:

- *A refused candidate is registered too*, without the challenger alias: people look for a run where runs are.
- *What a search found is kept with the run*: its budget is in seconds, so a repeated search would differ.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import TidemillError
from pipelines import cutoff, history, regimes, report, verdict
from pipelines.candidate import build, recipe_of, span_of
from pipelines.dataset import Dataset
from pipelines.errors import VersionMissingError
from pipelines.estimators import create
from pipelines.examine import Champion, Examination, examine
from pipelines.graph import feature_graph
from pipelines.lake import Lake, Snapshot
from pipelines.materialize import materialize
from pipelines.registration import BUNDLE, REPORT, TABLES, Registered, Registration, RegistryPort
from pipelines.tasks import task_of
from pipelines.timeline import timelines
from pipelines.tuning import search
from pipelines.usecases import UseCase
from serving.approval import GateRecord, write_gate
from serving.bundle import canonical_json, digest_of, unpack
from serving.predictor import Predictor
from serving.store import Store

Progress = Callable[[str, int, int], None]
STAGES = ("load", "search", "fit", "examine", "report", "register")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What may differ from training to training.

    Attributes:
        since: First window end to learn from, UTC microseconds; None for all there is.
        until: The present to act in: nothing that became known later is used; None for now.
        estimator: Another one than the use case names.
        budget_s: Seconds to search for better parameters.
        seed: Decides held-out devices, fits and searches.
        note: Why this training; shown with the run.
        trigger: What started it, for the name of the run.
        origin: Tags that lead back to whoever started it, such as ``airflow.url``.
    """

    since: int | None = None
    until: int | None = None
    estimator: str | None = None
    budget_s: float = 0.0
    seed: int = 0
    note: str = ""
    trigger: str = "manual"
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What came of a training.

    Attributes:
        usecase: The use case.
        version: The registered version.
        reused: Whether it was registered before, by an equal training.
        gate: ``"passed"`` or ``"failed"``.
        reasons: Why it failed, as sentences.
        digest: Of the bundle.
        estimator: What was fitted.
        metrics: The figures of the run without details, at most 20: it travels between tasks of a schedule.
        parity: Bundle against fitted model: rows, label_flips, max_abs.
        rows: Windows of train and test.
        champion: The version it was compared with; empty for none.
        run_id: The run in MLflow.
        url: Page of the version in MLflow.
    """

    usecase: str
    version: str
    reused: bool
    gate: str
    reasons: list[str]
    digest: str
    estimator: str
    metrics: dict[str, float | None]
    parity: dict[str, float]
    rows: dict[str, int]
    champion: str
    run_id: str
    url: str


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def origin(environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return what started this process, by the variables Airflow sets: a word for the run's name, and tags.

    Example:
        >>> origin({"AIRFLOW_CTX_DAG_ID": "train", "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-11-22T00:00:00"})
        ('scheduled', {'airflow.dag_id': 'train', 'airflow.run_id': 'scheduled__2026-11-22T00:00:00'})
    """
    names = {"dag_id": "DAG_ID", "run_id": "DAG_RUN_ID", "task_id": "TASK_ID", "url": "RUN_URL"}
    tags = {f"airflow.{tag}": environ.get(f"AIRFLOW_CTX_{name}", "") for tag, name in names.items()}
    kind = tags["airflow.run_id"].partition("__")[0] if "__" in tags["airflow.run_id"] else "manual"
    return kind.replace("asset_triggered", "asset"), {tag: value for tag, value in tags.items() if value}


def train(
    store: Store,
    lake: Lake,
    registry: RegistryPort,
    usecase: UseCase,
    parameters: Parameters,
    *,
    now_us: int,
    progress: Progress = silent,
    timer: Callable[[], float] = time.perf_counter,
) -> TrainingSummary:
    """Train a use case.

    Args:
        store: Takes the gate record.
        lake: Holds features, events and telemetry.
        registry: Takes run and version, knows the champion.
        usecase: What to foresee.
        parameters: What differs this time.
        now_us: The clock, UTC microseconds.
        progress: Told each stage.
        timer: A monotonic clock in seconds, for latency.

    Raises:
        TableMissingError: Features or events are not there yet.
        TooLittleDataError: There is not enough history.
        ExportError: The graph from panes is asked for, and a feature has no form in it.
        RegistryUnreachableError: MLflow does not answer; found out before anything is computed.
    """

    def step(name: str) -> None:
        progress(name, STAGES.index(name), len(STAGES))

    version = registry.champion(usecase.name)
    if usecase.pane_graph:
        feature_graph(usecase.features)  # what has no graph is refused before hours are spent on it
    step("load")
    usecase = regimes.learned(
        store, lake, usecase, since=parameters.since, until=parameters.until, seed=parameters.seed, now_us=now_us
    )
    data = history.load(
        store, lake, usecase, since=parameters.since, until=parameters.until, seed=parameters.seed, now_us=now_us
    )
    champion = _champion(lake, registry, usecase, version, data) if version else None
    step("search")
    found = _searched(registry, usecase, parameters, data)
    step("fit")
    candidate = build(usecase, data, parameters.estimator or usecase.estimator, found, parameters.seed)
    step("examine")
    features = candidate.bundle.manifest.features
    examination = examine(
        usecase,
        data,
        candidate,
        champion,
        panes=partial(history.panes_behind, lake, features),
        seed=parameters.seed,
        timer=timer,
        rebuild=partial(cutoff.before_ends, lake, features),
    )
    write_gate(store, _gate_record(examination, now_us))
    step("report")
    registration = _registration(lake, examination, parameters, now_us)
    step("register")
    registered = registry.register(registration)
    progress("done", len(STAGES), len(STAGES))
    return _summary(examination, registered)


def _champion(lake: Lake, registry: RegistryPort, usecase: UseCase, version: str, data: Dataset) -> Champion | None:
    """Open the champion and bring its features to the windows of the test.

    One that was registered by hand has no bundle and serves nowhere, so there is nothing to compare with.
    """
    try:
        bundle = unpack(registry.download_bundle(usecase.name, version))
        predictor = Predictor(bundle)
    except VersionMissingError:
        return None
    except TidemillError as error:
        return Champion(version, None, None, str(error))
    features = bundle.manifest.features
    if features.digest == usecase.features.digest:
        return Champion(version, predictor, data.test.values)
    if features.fleet.name != usecase.fleet:
        return Champion(version, predictor, None, f"it sees fleet {features.fleet.name}")
    materialize(lake, features)
    test = data.test
    first, last = int(test.end.min()), int(test.end.max())
    theirs = history.windows_of(
        lake.features(features).open(), features, after={"end": first - 1}, before={"end": last + 1}
    )
    values = history.matched(test, theirs)
    note = "" if values is not None else "some windows of the test are missing in its features"
    return Champion(version, predictor, values, note)


def _searched(registry: RegistryPort, usecase: UseCase, parameters: Parameters, data: Dataset) -> dict[str, Any]:
    name = parameters.estimator or usecase.estimator
    task, recipe = task_of(usecase.label), recipe_of(usecase, data, name, {}, parameters.seed)
    create(name, task.learns)
    if parameters.budget_s <= 0:
        return {}
    before = registry.found_before(_experiment(usecase), _key(usecase, parameters, data))
    space = usecase.search if name == usecase.estimator else {}
    if before is not None:
        return before
    return search(task, recipe, space, data.train, span_of(data), budget_s=parameters.budget_s)


def _key(usecase: UseCase, parameters: Parameters, data: Dataset) -> str:
    """Name everything a training depends on, the budget of its search included."""
    parts = [usecase.name, parameters.estimator or usecase.estimator, parameters.budget_s, dict(data.lineage)]
    return digest_of(canonical_json(parts)).removeprefix("sha256:")[:32]


def _experiment(usecase: UseCase) -> str:
    return f"{usecase.fleet}/{usecase.name}"


def _gate_record(examination: Examination, now_us: int) -> GateRecord:
    evidence = {
        "rules": [report.plain(result) for result in examination.results],
        "metrics": report.plain(examination.metrics),
        "champion": examination.champion.version if examination.champion else "",
    }
    digest = examination.candidate.bundle.digest
    reasons = tuple(examination.reasons)
    return GateRecord(examination.usecase.name, digest, examination.passed, reasons, now_us, evidence)


def _registration(lake: Lake, examination: Examination, parameters: Parameters, now_us: int) -> Registration:
    usecase, data, candidate = examination.usecase, examination.dataset, examination.candidate
    telemetry = lake.telemetry(usecase.fleet_schema).open()
    shown = timelines(examination, _reader(telemetry)) if usecase.label.question == "failure" else []
    document = report.document(examination)
    page = report.page(examination, shown, now_us=now_us, note=parameters.note)
    source = {**data.lineage, "train": len(data.train), "test": len(data.test)}
    tags = {
        "features.digest": data.lineage["features.digest"],
        "code.version": candidate.bundle.manifest.lineage["code"],
        "tables": json.dumps({name: data.lineage[f"{name}.version"] for name in TABLES}),
        "gate": "passed" if examination.passed else "failed",
        "training.key": _key(usecase, parameters, data),
        "search.found": json.dumps(dict(candidate.parameters)),
        **({"mlflow.note.content": parameters.note} if parameters.note else {}),
        **parameters.origin,
    }
    return Registration(
        usecase=usecase.name,
        title=usecase.title,
        experiment=_experiment(usecase),
        run_name=verdict.run_name(now_us, parameters.trigger, data.since, data.until),
        digest=candidate.bundle.digest,
        passed=examination.passed,
        params=verdict.params_of(examination),
        metrics=verdict.metrics_of(examination),
        tags=tags,
        files={
            BUNDLE: candidate.data,
            REPORT: page.encode(),
            "report/report.json": json.dumps(document, indent=1).encode(),
        },
        dataset=(f"{usecase.fleet}/features", digest_of(canonical_json(dict(data.lineage))), source),
        describe=lambda link: verdict.description(examination, link),
    )


def _reader(telemetry: Snapshot) -> Callable[[str, str, int, int], tuple[NDArray[np.int64], NDArray[np.float64]]]:
    def read(device: str, signal: str, since: int, until: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        rows = telemetry.read(["time", signal], devices=[device], after={"time": since}, before={"time": until})
        rows = rows.sort_by("time")
        return rows["time"].to_numpy(), rows[signal].to_numpy()

    return read


def _summary(examination: Examination, registered: Registered) -> TrainingSummary:
    data, candidate, parity = examination.dataset, examination.candidate, examination.parity
    return TrainingSummary(
        usecase=examination.usecase.name,
        version=registered.version,
        reused=registered.reused,
        gate="passed" if examination.passed else "failed",
        reasons=examination.reasons,
        digest=candidate.bundle.digest,
        estimator=candidate.estimator,
        metrics=report.plain(verdict.told(examination)),
        parity={"rows": parity.rows, "label_flips": parity.label_flips, "max_abs": parity.max_abs},
        rows={"train": len(data.train), "test": len(data.test)},
        champion=examination.champion.version if examination.champion else "",
        run_id=registered.run_id,
        url=registered.url,
    )
