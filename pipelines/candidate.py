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
from pipelines.estimator import Fitted, fit
from pipelines.evaluate import Span, choose_threshold
from pipelines.graph import score_graph
from pipelines.reference import deciles, golden_rows
from pipelines.usecases import UseCase
from serving.bundle import Bundle, Manifest, pack, unpack
from serving.predictor import Predictor


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
    fitted = fit(estimator, parameters, dataset.train, seed)
    threshold = choose_threshold(dataset.train, fitted.rehearsed, span_of(dataset), usecase.cost)
    features = usecase.features
    settings = {f"parameter.{name}": str(value) for name, value in sorted(parameters.items())}
    manifest = Manifest(
        usecase=usecase.name,
        features=features,
        threshold=threshold,
        horizon_s=dataset.horizon_us // 1_000_000,
        estimator=estimator,
        placements=usecase.placements,
        lineage={**dataset.lineage, **settings, "code": code_version()},
        reference=deciles(features.names, dataset.train.values),
        label=usecase.label.name,
    )
    model = fitted.onnx()
    from_panes = score_graph(features, model) if usecase.pane_graph else None
    data = pack(manifest, model, golden_rows(fitted, dataset.train.values, seed), from_panes)
    bundle = unpack(data)
    return Candidate(estimator, parameters, fitted, data, bundle, Predictor(bundle))


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
