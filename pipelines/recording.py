"""What a training leaves behind: the gate's record, and everything the registry keeps of it.

The run in MLflow is the parent of a run for each trial of its search. Two data sets are named with it, what was learned
from and what it was judged with; the SHA-256 of both together says later whether a rebuilt training set is the same.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import report, reportfile, verdict
from pipelines.chosen import Searched
from pipelines.dataset import Dataset
from pipelines.drift import deciles
from pipelines.examine import Examination
from pipelines.lake import Lake, Snapshot
from pipelines.registration import BUNDLE, REPORT, TABLES, DatasetUse, Registration, TrialRun
from pipelines.request import Parameters
from pipelines.searching import key_of
from pipelines.study import Trial
from pipelines.tasks import Measure
from pipelines.timeline import timelines
from pipelines.trialpicture import picture
from pipelines.usecases import UseCase
from serving.approval import GateRecord
from serving.bundle import canonical_json, digest_of

_MOST_PARAMS = 20


def gate_record(examination: Examination, now_us: int) -> GateRecord:
    """Return what the gate decided, with its evidence: monitoring compares with its metrics and scores."""
    evidence = {
        "rules": [reportfile.plain(result) for result in examination.results],
        "metrics": reportfile.plain(examination.metrics),
        "scores": deciles(examination.score).tolist(),
        "champion": examination.champion.version if examination.champion else "",
    }
    digest = examination.candidate.bundle.digest
    reasons = tuple(examination.reasons)
    return GateRecord(examination.usecase.name, digest, examination.passed, reasons, now_us, evidence)


def registration(
    lake: Lake, examination: Examination, searched: Searched, parameters: Parameters, now_us: int
) -> Registration:
    """Return what the registry keeps: report, bundle, figures, data sets, trials, and the description of the version.

    Args:
        lake: Holds the telemetry that the report shows.
        examination: What was found.
        searched: How estimator and parameters were chosen.
        parameters: What was asked for.
        now_us: The clock, UTC microseconds.
    """
    usecase, data, candidate = examination.usecase, examination.dataset, examination.candidate
    said = searched.sentence()
    note = " ".join(part for part in (parameters.note, said) if part)
    document = {**reportfile.document(examination), "search": reportfile.plain(searched.document())}
    name = verdict.run_name(now_us, parameters.trigger, data.since, data.until)
    key = key_of(usecase, parameters, data)
    return Registration(
        usecase=usecase.name,
        title=usecase.title,
        experiment=f"{usecase.fleet}/{usecase.name}",
        run_name=name,
        digest=candidate.bundle.digest,
        passed=examination.passed,
        params=verdict.params_of(examination),
        metrics={**verdict.metrics_of(examination), **_search_metrics(searched)},
        tags={**_tags(examination, parameters, key), **searched.tags()},
        files={
            BUNDLE: candidate.data,
            REPORT: _page(lake, examination, now_us, note).encode(),
            "report/report.json": json.dumps(document, indent=1).encode(),
            **({"figures/search.svg": picture(searched.trials, searched.measure).encode()} if searched.best else {}),
        },
        dataset=_used(usecase, data, "training"),
        judged_with=_used(usecase, data, "test"),
        describe=lambda link: "\n\n".join(filter(None, (verdict.description(examination, link), said))),
        trials=tuple(_trial_run(trial, searched, f"{name} #{trial.number:02d}", key) for trial in searched.trials),
    )


def _tags(examination: Examination, parameters: Parameters, key: str) -> dict[str, str]:
    data, manifest = examination.dataset, examination.candidate.bundle.manifest
    return {
        "features.digest": data.lineage["features.digest"],
        "code.version": manifest.lineage["code"],
        "environment": manifest.lineage["environment"],
        "rows.sha256": data.lineage["rows.sha256"],
        "tables": json.dumps({name: data.lineage[f"{name}.version"] for name in TABLES}),
        "gate": "passed" if examination.passed else "failed",
        "training.key": key,
        **({"mlflow.note.content": parameters.note} if parameters.note else {}),
        **parameters.origin,
    }


def _used(usecase: UseCase, data: Dataset, context: str) -> DatasetUse:
    """What was learned from, or judged with, as MLflow names a data set."""
    source = {**data.lineage, "train": len(data.train), "test": len(data.test)}
    if context == "test":
        source |= {"test_from": str(data.test_from), "held_out": list(data.held_out)}
    digest = digest_of(canonical_json({**data.lineage, **({"context": context} if context == "test" else {})}))
    return DatasetUse(f"{usecase.fleet}/features", digest, source, context)


def _search_metrics(searched: Searched) -> dict[str, float]:
    """What the search reached, beside guessing and a linear model on the same parts."""
    name, told = searched.measure.name, {"best": searched.best, "linear": searched.linear, "runner_up": searched.second}
    found = {f"search_{who}_{name}": trial.score for who, trial in told.items() if trial and trial.score is not None}
    return {**found, f"search_constant_{name}": searched.constant} if found else {}


def _trial_run(trial: Trial, searched: Searched, name: str, key: str) -> TrialRun:
    measure: Measure = searched.measure
    told = {"best": searched.best, "runner-up": searched.second}
    role = next((who for who, other in told.items() if other and other.number == trial.number), "")
    params: Mapping[str, Any] = {"estimator": trial.family, **trial.parameters}
    return TrialRun(
        number=trial.number,
        name=f"{name} {trial.family}",
        params={label: str(value) for label, value in list(params.items())[:_MOST_PARAMS]},
        metrics={
            **({} if trial.score is None else {f"trial_{measure.name}": trial.score}),
            "trial_seconds": trial.seconds,
        },
        tags={
            "training.key": key,
            "trial.number": str(trial.number),
            "trial.family": trial.family,
            **({"trial.role": role} if role else {}),
            **({"mlflow.note.content": trial.note} if trial.note else {}),
        },
        began_us=trial.began_us,
        seconds=trial.seconds,
        failed=trial.score is None,
    )


def _page(lake: Lake, examination: Examination, now_us: int, note: str) -> str:
    """The report, with stretches of telemetry to look at."""
    usecase = examination.usecase
    reader = _reader(lake.telemetry(usecase.fleet_schema).open())
    shown = timelines(examination, reader) if usecase.label.question == "failure" else []
    return report.page(examination, shown, now_us=now_us, note=note, read=reader)


def _reader(telemetry: Snapshot) -> Callable[[str, str, int, int], tuple[NDArray[np.int64], NDArray[np.float64]]]:
    def read(device: str, signal: str, since: int, until: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        rows = telemetry.read(["time", signal], devices=[device], after={"time": since}, before={"time": until})
        rows = rows.sort_by("time")
        return rows["time"].to_numpy(), rows[signal].to_numpy()

    return read
