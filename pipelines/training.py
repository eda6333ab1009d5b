"""One training: from feature rows and events to a judged, registered version.

    regimes -> load and split -> search -> fit, export, pack -> examine the bundle -> gate record -> report -> register
      -> ledger of trainings

It can be killed anywhere and run again: the same data, parameters and code give the same bundle, its gate record is
replaced by an equal one, and the registry finishes the run that was begun. The version comes last, and after it the
ledger of trainings, which says that there is one (`serving.retraining`).

Why so:

- *A refused candidate is registered too*, without the challenger alias: people look for a run where runs are.
- *What a search found stays in the store*: its budget is in seconds, so a repeated search would differ.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from features.errors import TidemillError
from pipelines import cutoff, history, recording, reportfile, searching, verdict
from pipelines.candidate import build
from pipelines.chosen import Searched
from pipelines.dataset import Dataset
from pipelines.errors import VersionMissingError
from pipelines.examine import Champion, Examination, examine
from pipelines.graph import feature_graph
from pipelines.lake import Lake
from pipelines.materialize import materialize
from pipelines.registration import Registered, RegistryPort
from pipelines.request import Parameters, Progress, Tell, silent, unheard
from pipelines.usecases import UseCase
from serving.approval import write_gate
from serving.bundle import unpack
from serving.predictor import Predictor
from serving.retraining import Trained, record_training
from serving.store import Store

__all__ = ["STAGES", "Parameters", "Progress", "TrainingSummary", "origin", "train"]

STAGES = ("load", "search", "fit", "examine", "report", "register")


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
        seconds: How long each stage took.
        search: The best trial and the runner-up in words; empty where nothing was searched.
        report: Page of the report in MLflow.
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
    seconds: dict[str, float] = field(default_factory=dict)
    search: str = ""
    report: str = ""


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
    tell: Tell = unheard,
    timer: Callable[[], float] = time.perf_counter,
) -> TrainingSummary:
    """Train a use case.

    Args:
        store: Takes the gate record, and at the end the ledger's word of the version.
        lake: Holds features, events and telemetry.
        registry: Takes run and version, knows the champion.
        usecase: What to foresee.
        parameters: What differs this time.
        now_us: The clock, UTC microseconds.
        progress: Told each stage.
        tell: Told how the search goes on.
        timer: A monotonic clock in seconds, for latency and stages.

    Raises:
        TableMissingError: Features or events are not there yet.
        TooLittleDataError: There is not enough history.
        ExportError: The graph from panes is asked for, and a feature has no form in it.
        RegistryUnreachableError: MLflow does not answer; found out before anything is computed.
    """
    step = _Steps(progress, timer)
    version = registry.champion(usecase.name)
    if usecase.pane_graph:
        feature_graph(usecase.features)  # what has no graph is refused before hours are spent on it
    step("load")
    usecase, data = searching.load(store, lake, usecase, parameters, now_us)
    champion = _champion(lake, registry, usecase, version, data) if version else None
    step("search")
    found = searching.searched(
        store, usecase, parameters, data, now_us=now_us, progress=progress, tell=tell, timer=timer
    )
    step("fit")
    candidate = build(usecase, data, found.estimator, found.parameters, parameters.seed)
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
        rebuild=partial(cutoff.before_ends, lake, features, version=int(data.lineage["features.version"])),
    )
    gate = recording.gate_record(examination, now_us)
    write_gate(store, gate)
    step("report")
    registration = recording.registration(lake, examination, found, parameters, now_us)
    step("register")
    registered = registry.register(registration)
    made = Trained(usecase.name, registered.version, gate.digest, gate.passed, gate.reasons, gate.decided_at_us)
    record_training(store, made)
    return _summary(examination, registered, found, step.done())


class _Steps:
    """The stages of a training as they begin, told and timed."""

    def __init__(self, progress: Progress, timer: Callable[[], float]) -> None:
        self._progress, self._timer = progress, timer
        self._begun: dict[str, float] = {}

    def __call__(self, name: str) -> None:
        """A stage begins, and the one before it is over."""
        self._begun[name] = self._timer()
        self._progress(name, STAGES.index(name), len(STAGES))

    def done(self) -> dict[str, float]:
        """The last one is over; return the seconds of each."""
        ends = [*list(self._begun.values())[1:], self._timer()]
        self._progress("done", len(STAGES), len(STAGES))
        return {name: round(end - start, 3) for (name, start), end in zip(self._begun.items(), ends, strict=True)}


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


def _summary(
    examination: Examination, registered: Registered, found: Searched, seconds: dict[str, float]
) -> TrainingSummary:
    data, candidate, parity = examination.dataset, examination.candidate, examination.parity
    return TrainingSummary(
        usecase=examination.usecase.name,
        version=registered.version,
        reused=registered.reused,
        gate="passed" if examination.passed else "failed",
        reasons=examination.reasons,
        digest=candidate.bundle.digest,
        estimator=candidate.estimator,
        metrics=reportfile.plain(verdict.told(examination)),
        parity={"rows": parity.rows, "label_flips": parity.label_flips, "max_abs": parity.max_abs},
        rows={"train": len(data.train), "test": len(data.test)},
        champion=examination.champion.version if examination.champion else "",
        run_id=registered.run_id,
        url=registered.url,
        seconds=seconds,
        search=found.sentence(),
        report=registered.report,
    )
