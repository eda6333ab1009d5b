"""A candidate: fitted, calibrated, given its threshold, exported and packed, once.

From here on only the bundle counts: it is what is examined, judged, registered, promoted and served, the same bytes all
the way. The same data, parameters and code give the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.dataset import Dataset
from pipelines.environment import environment
from pipelines.errors import UnknownNameError
from pipelines.estimators import source_of
from pipelines.fitting import Fitted, Recipe, fit
from pipelines.graph import score_graph
from pipelines.labels import Anomaly, Forecast, RemainingLife
from pipelines.reference import baseline, deciles, golden_rows
from pipelines.tasks import Span, task_of
from pipelines.usecases import ESTIMATORS, UseCase
from serving.bundle import Bundle, Manifest, pack, unpack
from serving.output import PROBABILITY, Output
from serving.predictor import Predictor

_TOLERANCE = 1e-6  # of golden rows, as a share of the range of scores


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that wants to become a version.

    Attributes:
        estimator: What was fitted.
        parameters: Those that differ from its defaults.
        fitted: The float64 reference.
        data: The bundle's bytes.
        bundle: The bundle, unpacked from them.
        predictor: The bundle, opened as it is served.
    """

    estimator: str
    parameters: Mapping[str, Any]
    fitted: Fitted
    data: bytes
    bundle: Bundle
    predictor: Predictor

    @property
    def threshold(self) -> float:
        """The score from which on it alerts."""
        return self.bundle.manifest.threshold


def build(usecase: UseCase, dataset: Dataset, estimator: str, parameters: Mapping[str, Any], seed: int) -> Candidate:
    """Fit a model and pack it.

    Args:
        usecase: Label, cost, placements, and whether the graph from panes goes along.
        dataset: What to learn from; its lineage goes into the bundle.
        estimator: What to fit.
        parameters: Those that differ from its defaults.
        seed: Of the fit and of the choice of golden rows.

    Raises:
        ExportError: The graph from panes is asked for, and a feature has no form in it.
    """
    task, output = task_of(usecase.label), output_of(usecase, dataset)
    fitted = fit(recipe_of(usecase, dataset, estimator, parameters, seed), dataset.train)
    threshold = task.threshold(dataset.train, fitted.rehearsed, span_of(dataset), usecase.alerting)
    features = usecase.features
    settings = {f"parameter.{name}": str(value) for name, value in sorted(parameters.items())}
    manifest = Manifest(
        usecase=usecase.name,
        features=features,
        threshold=threshold,
        horizon_s=dataset.horizon_us // 1_000_000,
        estimator=estimator,
        placements=usecase.placements,
        lineage={
            **dataset.lineage,
            **settings,
            **source_of(estimator),
            "code": code_version(),
            "environment": environment(),
        },
        reference=deciles(features.names, dataset.train.values),
        label=usecase.label.name,
        output=output,
        baseline=baseline(features.names, dataset.train.values),
    )
    model = fitted.onnx(len(features.names))
    from_panes = score_graph(features, model) if usecase.pane_graph else None
    golden = golden_rows(fitted, dataset.train.values, seed, _TOLERANCE * output.range)
    data = pack(manifest, model, golden, from_panes)
    bundle = unpack(data)
    return Candidate(estimator, parameters, fitted, data, bundle, Predictor(bundle))


def recipe_of(usecase: UseCase, dataset: Dataset, estimator: str, parameters: Mapping[str, Any], seed: int) -> Recipe:
    """Return what to fit for a use case; its own parameters hold for its own estimator, below those given.

    Raises:
        UnknownNameError: A dotted name is asked for that is not the use case's own: it names code, so nobody but the
            file of the use case may give one.
    """
    if ":" in estimator and estimator != usecase.estimator:
        fix = f"use one of {', '.join(ESTIMATORS)}, or set it as estimator of the use case"
        raise UnknownNameError(f"there is no estimator {estimator!r}", where=f"use case {usecase.name}", fix=fix)
    learns, output = task_of(usecase.label).learns, output_of(usecase, dataset)
    given = {**(usecase.parameters if estimator == usecase.estimator else {}), **parameters}
    bounds = (output.low, output.high) if learns == "quantity" else None
    return Recipe(estimator, learns, dataset.names, given, usecase.calibration, bounds, seed)


def output_of(usecase: UseCase, dataset: Dataset) -> Output:
    """Return what the score of a use case says; the bounds of a forecast are those of the training labels."""
    match usecase.label:
        case RemainingLife() as label:
            return Output("quantity", 0.0, label.longest, label.unit, "below")
        case Forecast() as label:
            low, high = float(dataset.train.label.min()), float(dataset.train.label.max())
            return Output("quantity", low, high if high > low else low + 1.0, label.unit)
        case Anomaly():
            return Output("anomaly")
        case _:
            return PROBABILITY


def span_of(dataset: Dataset) -> Span:
    """Return what evaluation has to know about a data set."""
    return Span(dataset.events, dataset.horizon_us, dataset.every_us)


def code_version() -> str:
    """Return the version of this program; in a clone, with the commit it stands on."""
    git = Path(__file__).parents[1] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        commit = (git / head.removeprefix("ref: ")).read_text().strip() if head.startswith("ref: ") else head
    except OSError:  # installed from a wheel, or the reference is packed
        return version("tidemill")
    return f"{version('tidemill')}+{commit[:12]}"
