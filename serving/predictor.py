"""From rows of features to scores: the one module that runs a model.

Training judges candidates through it and every placement serves through it, so what was judged is what answers.
The model is checked before the runtime sees it (``operators``), its inputs and outputs after it was loaded, and each
score before it is handed out: NaN or a number outside its bounds never leaves.

``Predictor`` answers rows of features. ``PanePredictor`` answers panes, through the graph that a bundle may hold for
runtimes without our feature code; only who asks it pays for loading it.

Why so: one thread, no spinning and no memory arena are the default. A forest of 100 trees answers a row in 15
microseconds, so threads have nothing to share; servers scale by processes. An arena keeps the memory of the largest
batch it ever saw, and was at most 3 microseconds faster. With such a forest the process takes 69 MiB (interpreter and
imports 52), with 150,000 tree nodes 130 MiB.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from features.featureset import FeatureSet
from features.pane import PANE_FIELDS
from serving.bundle import Bundle
from serving.errors import GoldenMismatchError, InputError, ModelLoadError, PredictionError
from serving.operators import check_operators

_SILENT = 4  # ONNX Runtime's log level "fatal": it writes to stderr what its exceptions say as well
_ROUNDING = 1e-5  # a sum in float32 may leave its bounds by this share of their range
_MATRIX = 2

onnxruntime.set_default_logger_severity(_SILENT)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a model says about rows.

    Attributes:
        score: Shape ``(n,)``: what the bundle's manifest says under ``output``, within its bounds, never NaN.
        alert: Shape ``(n,)``: whether the score is at the bundle's threshold or on the alerting side of it.
    """

    score: NDArray[np.float64]
    alert: NDArray[np.bool_]


class Predictor:
    """A bundle, loaded. Safe to use from several threads.

    Args:
        bundle: What ``unpack`` returned.
        threads: Threads of one ``predict`` call.

    Raises:
        ModelError: The model is not allowed, cannot be loaded, or has other inputs and outputs than it must have.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.bundle = bundle
        self._width = len(bundle.manifest.features.names)
        if bundle.pane_model is not None:
            check_operators(bundle.pane_model)  # whoever uses it, a bundle that holds such a graph is not opened
        self._session = _load(bundle.model, bundle, threads)
        _check_signature(self._session, bundle, "features", "float", [self._width])

    def predict(self, rows: ArrayLike) -> Scores:
        """Score rows of features.

        Args:
            rows: Shape ``(n, F)``, columns in the order of ``manifest.features.names``, units of the fleet; NaN is a
                missing feature; n may be 0. Computed in float32.

        Raises:
            InputError: Another shape, no numbers, or a number that float32 cannot hold.
            PredictionError: The model failed, or answered with a number outside the bounds of its scores.
        """
        matrix = self._matrix(rows)
        return _scores(self._session, {"features": matrix}, self.bundle)

    def check_golden(self) -> None:
        """Answer the golden rows and compare.

        Raises:
            GoldenMismatchError: A score differs by more than the bundle's tolerance.
            PredictionError: See ``predict``.
        """
        golden = self.bundle.golden
        difference = np.abs(self.predict(golden.rows).score - golden.scores)
        wrong = int(np.count_nonzero(~(difference <= golden.tolerance)))
        if wrong:
            raise GoldenMismatchError(
                "the model does not give its golden scores here",
                where=self.bundle.digest,
                why=f"{wrong} of {len(difference)} rows differ, by up to {difference.max():.3g}; "
                f"allowed is {golden.tolerance:.3g}",
                fix="do not serve it on this machine",
            )

    def _matrix(self, rows: ArrayLike) -> NDArray[np.float32]:
        try:
            given = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError("the rows are not numbers", why=str(error)) from error
        if given.ndim != _MATRIX or given.shape[1] != self._width:
            raise InputError(
                "the rows have another shape than the features",
                where=self.bundle.manifest.usecase,
                why=f"got {list(given.shape)}, expected [n, {self._width}]",
                fix="send one column per feature, in the order of the feature set",
            )
        with np.errstate(over="ignore"):
            matrix = np.ascontiguousarray(given, dtype=np.float32)
        if np.isinf(matrix).any():
            row, column = np.argwhere(np.isinf(matrix))[0]
            name = self.bundle.manifest.features.names[column]
            raise InputError("a number is too large", where=f"row {row}, {name}", why=f"{given[row, column]}")
        return matrix


class PanePredictor:
    """A bundle's graph from panes to score, loaded. Safe to use from several threads.

    Args:
        bundle: What ``unpack`` returned.
        threads: Threads of one ``predict`` call.

    Raises:
        ModelError: The bundle holds no such graph, or the graph is not allowed, cannot be loaded, or has other inputs
            and outputs than it must have.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        if bundle.pane_model is None:
            raise ModelLoadError(
                "the bundle holds no graph from panes to score",
                where=bundle.digest,
                fix="train it with `pane_graph=True` in its use case",
            )
        self.bundle = bundle
        self._shape = pane_shape(bundle.manifest.features)
        self._session = _load(bundle.pane_model, bundle, threads)
        _check_signature(self._session, bundle, "panes", "double", list(self._shape))

    def predict(self, panes: NDArray[np.float64]) -> Scores:
        """Score rows by the panes behind them.

        Args:
            panes: Shape ``(n, *pane_shape(features))``: every pane behind each row, oldest first, the last one ending
                where the row ends, and ``features.pane.EMPTY`` where nothing was recorded; n may be 0.

        Raises:
            InputError: Another shape or type.
            PredictionError: The model failed, or answered with a number outside the bounds of its scores.
        """
        if panes.dtype != np.float64 or panes.shape[1:] != self._shape:
            raise InputError(
                "the panes have another shape than the features reach back",
                where=self.bundle.manifest.usecase,
                why=f"got {panes.dtype} {list(panes.shape)}, expected float64 [n, {', '.join(map(str, self._shape))}]",
            )
        return _scores(self._session, {"panes": panes}, self.bundle)


def pane_shape(features: FeatureSet) -> tuple[int, int, int]:
    """How many panes lie behind a row, with how many signals and fields.

    Example:
        >>> from features import catalog
        >>> pane_shape(catalog.load("pumps").features)
        (144, 6, 15)
    """
    return features.longest_us // features.pane_us, len(features.fleet.signals), len(PANE_FIELDS)


def _load(model: bytes, bundle: Bundle, threads: int) -> Any:
    check_operators(model)
    try:
        return onnxruntime.InferenceSession(model, sess_options=_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no base class
        raise ModelLoadError(
            "ONNX Runtime cannot load the model", where=bundle.digest, why=_first_line(error)
        ) from error


def _check_signature(session: Any, bundle: Bundle, name: str, element: str, shape: list[int]) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    found = ", ".join(_described(item) for item in (*inputs, *outputs))
    fits = (
        [item.name for item in inputs] == [name]
        and [item.name for item in outputs] == ["score"]
        and inputs[0].type == f"tensor({element})"
        and outputs[0].type == "tensor(float)"
        and list(inputs[0].shape[1:]) == shape
        and (len(outputs[0].shape) == 1 or (len(outputs[0].shape) == _MATRIX and outputs[0].shape[1] == 1))
    )
    if not fits:
        expected = f"{name} {element} [n, {', '.join(map(str, shape))}]"
        raise ModelLoadError(
            "the model has other inputs or outputs than it must have",
            where=bundle.digest,
            why=f"found {found}; expected {expected} and score float [n] or [n, 1]",
        )


def _scores(session: Any, given: dict[str, NDArray[Any]], bundle: Bundle) -> Scores:
    (rows,) = given.values()
    if not len(rows):
        return Scores(np.empty(0, np.float64), np.empty(0, np.bool_))
    try:
        (answer,) = session.run(["score"], given)
    except Exception as error:  # the runtime's exceptions share no base class
        raise PredictionError("the model failed", where=bundle.digest, why=_first_line(error)) from error
    score = np.asarray(answer, dtype=np.float64).reshape(-1)
    if len(score) != len(rows):
        raise PredictionError(
            "the model answered with another number of scores", why=f"{len(score)} for {len(rows)} rows"
        )
    output = bundle.manifest.output
    room = _ROUNDING * output.range
    within = (score >= output.low - room) & (score <= output.high + room)  # written so that NaN fails it
    if not bool(within.all()):
        row = int(np.argmin(within))
        why = f"{score[row]} is not within {output.low:g}..{output.high:g}"
        raise PredictionError(f"the model answered with no {output.kind}", where=f"row {row}", why=why)
    score = np.clip(score, output.low, output.high)
    return Scores(score, output.alerts(score, bundle.manifest.threshold))


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _described(item: Any) -> str:
    return f"{item.name} {item.type.removeprefix('tensor(').removesuffix(')')} {item.shape}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
