"""Estimators: the kinds of model that can be fitted, behind one small interface.

    estimator.py       the interface
    linear.py          a weighted sum
    boosting.py        boosted trees
    forest.py          averaged trees
    pca.py             distance from the components of normal operation
    modes.py           whether normal operation has several modes
    isolation.py       how early random splits isolate a row
    average.py         several of these at once
    mlp.py             dense layers on rows as they are
    torch_nets.py      a 1-D convolutional network and an autoencoder on windows, by torch (extra ``torch``)
    keras_nets.py      the same by Keras on TensorFlow (extra ``tensorflow``)
    deep.py            what both have in common: shapes, training, early stopping by devices
    sequence.py        columns that are lags of one feature, as a time axis
    network.py         a fitted network in float64, as numbers and as ONNX nodes
    extras.py          whether the library of an extra is here
    own.py             estimators that a use case brings along, by dotted name
    made.py            what they have in common
    plugged.py         ... in the style of scikit-learn
    plugged_module.py  ... modules of torch
    fitted_nodes.py    fitted models of scikit-learn that are written exactly
    foreign.py         graphs by converters

An estimator is fitted once, gives a *margin* in float64 and writes itself as ONNX nodes. What turns margins into scores
is learned beside it (``pipelines.fitting``). The float64 margin is the reference against which the exported model is
held on every test row.

How to add one here: write a class with the members of ``Estimator``, register it in ``ESTIMATORS``, add its name to
``pipelines.usecases.ESTIMATORS``. The parity tests collect it from there.

Your own estimator, without touching this package
-------------------------------------------------
Two short files in a package of yours that can be imported where trainings run: what is fitted, and the use case. ::

    # plant/model.py
    from sklearn.ensemble import ExtraTreesClassifier

    def careful_trees(n_estimators=200, max_depth=8):
        return ExtraTreesClassifier(n_estimators, max_depth=max_depth, class_weight="balanced")

    # plant/usecase.py
    from dataclasses import replace
    from pipelines import usecases

    USECASE = replace(usecases.load("pump_failure"), estimator="plant.model:careful_trees")

The name after the colon is one of

* a class or function that returns an estimator in the style of scikit-learn: ``fit``, ``get_params``, and one of
  ``decision_function``, ``predict_proba`` (classifiers) or ``predict`` (regressors);
* a subclass of ``torch.nn.Module`` that is made with ``inputs=`` and takes rows ``(n, inputs)`` to ``(n, 1)``;
* ``Plugged(factory, defaults=..., space=..., nodes=...)`` or ``PluggedModule(...)``, which say more of either:
  parameters and where to search for them, or how to write the fitted model where no writer knows it;
* a class with the members of ``Estimator``, for everything else, such as models of normal operation.

Everything after the fit is as for every other estimator: calibration, threshold, export, parity, gate, report. Linear
models, trees, forests, boosting and networks of scikit-learn, alone or in a ``Pipeline`` behind ``SimpleImputer``,
``StandardScaler`` and ``RobustScaler``, are written exactly (``fitted_nodes``). Others go through skl2onnx, modules
through torch's exporter, both in float64: what cannot be written is refused with the reason, and what is written but
says something else than the fitted model fails the parity rule of the gate. Loops (``LSTM``, ``GRU``, ``Loop``,
``Scan``) are refused: how long they run is up to their input.

The digest of the file that a dotted name leads to stands in the lineage of the bundle as ``estimator.source``.

A model that looks along time sees the last rows where its use case gives it features with lags; without lags the
convolutional networks are refused. One line beside ``estimator="torch_cnn"``, for twenty rows: ::

    feature_set=replace(FEATURES, features=lagged(FEATURES.features, rows=20)),

``lagged`` stands in ``features.feature``, ``FEATURES`` in the catalog entry of the fleet; a training computes the rows.

A dotted name names code that will run, so it is taken from the Python file of a use case only. Forms and command lines
choose among ``ESTIMATORS``; a training that is given another dotted name than its use case has is refused.

Fits are deterministic on every machine: seeded, and boosting runs on one thread, because the order in which threads add
gradients shows in the last bits and thereby in the digest of the bundle. Networks run on one thread as well; they
multiply matrices by libraries that choose instructions by processor, so their last bits hold for one kind of it.
"""

import difflib
from collections.abc import Mapping, Sequence

from pipelines.errors import UnknownNameError, UseCaseError
from pipelines.estimators.average import Average
from pipelines.estimators.boosting import HistGradientBoosting
from pipelines.estimators.estimator import Estimator, Parameters, Rows, Space, Wooded
from pipelines.estimators.extras import demand, installed
from pipelines.estimators.forest import RandomForest
from pipelines.estimators.isolation import IsolationForest
from pipelines.estimators.keras_nets import KerasAutoencoder, KerasCnn
from pipelines.estimators.linear import Linear
from pipelines.estimators.mlp import Mlp
from pipelines.estimators.own import brought, source_of
from pipelines.estimators.pca import Pca
from pipelines.estimators.plugged import Plugged
from pipelines.estimators.plugged_module import PluggedModule
from pipelines.estimators.sequence import steps_of
from pipelines.estimators.torch_nets import TorchAutoencoder, TorchCnn
from pipelines.tasks import Learns

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "Parameters",
    "Plugged",
    "PluggedModule",
    "Rows",
    "Space",
    "Wooded",
    "able",
    "create",
    "missing",
    "source_of",
]

_KINDS: tuple[type[Estimator], ...] = (
    HistGradientBoosting,
    RandomForest,
    Linear,
    Pca,
    IsolationForest,
    Mlp,
    Average,
    TorchCnn,
    TorchAutoencoder,
    KerasCnn,
    KerasAutoencoder,
)
ESTIMATORS: Mapping[str, type[Estimator]] = {kind.name: kind for kind in _KINDS}


def create(name: str, learns: Learns) -> Estimator:
    """Return a new estimator of this name, for what is to be learned.

    Args:
        name: One of ``ESTIMATORS``, or the dotted name of one that a use case brings along.
        learns: What it has to learn.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest.
        UseCaseError: It cannot learn that; the message names those that can.
        ExtraMissingError: Its library is not installed; the message names the extra.

    Example:
        >>> create("linear", "quantity").name
        'linear'
    """
    if ":" in name:
        return _checked(name, brought(name), learns)
    if name not in ESTIMATORS:
        close = difflib.get_close_matches(name, ESTIMATORS, n=1)
        fix = f"did you mean {close[0]}?" if close else f"known are {', '.join(ESTIMATORS)}"
        raise UnknownNameError(f"there is no estimator {name!r}", fix=fix)
    kind = ESTIMATORS[name]
    if library := missing(name):
        demand(library, name)
    return _checked(name, kind(), learns)


def able(learns: Learns, names: Sequence[str] | None = None) -> list[str]:
    """Return the estimators that can learn something here, by name; those whose library is missing are left out.

    Args:
        learns: What is learned.
        names: Feature names: where they hold no lags, estimators that look along time are left out. None for any.

    Example:
        >>> "torch_cnn" in able("probability", ["flow_mean_1h"])
        False
    """
    blind = names is not None and steps_of(names) is None
    return [
        name
        for name, kind in ESTIMATORS.items()
        if learns in kind.learns and not missing(name) and not (blind and getattr(kind, "along_time", False))
    ]


def missing(name: str) -> str:
    """Return the library that an estimator needs and that is not installed here; empty for none.

    Example:
        >>> missing("linear")
        ''
    """
    library: str = getattr(ESTIMATORS[name], "needs", "")
    return library if library and not installed(library) else ""


def _checked(name: str, estimator: Estimator, learns: Learns) -> Estimator:
    if learns not in estimator.learns:
        fix = f"use one of {', '.join(able(learns))}"
        raise UseCaseError(f"estimator {name!r} cannot learn a {learns}", where="use case", fix=fix)
    return estimator
