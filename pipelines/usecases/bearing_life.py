"""Foresee how many hours are left to a ball bearing on the PRONOSTIA rig, from its vibration.

Six bearings under three loads are few to learn from: the gate is expected to refuse most candidates, and says why.
"""

from datetime import timedelta

from pipelines.labels import RemainingLife
from pipelines.rules import Alerting, GateRules
from pipelines.split import Split
from pipelines.usecases import UseCase

USECASE = UseCase(
    name="bearing_life",
    title="Hours left to a bearing",
    fleet="femto",
    # The longest life on record is below eight hours, so that nothing is cut off.
    label=RemainingLife(cap=timedelta(hours=8)),
    # Averaged trees stay within the lives they have seen, and few bearings do not bend them far.
    estimator="random_forest",
    # Every life is lived once: what counts is a bearing that was never seen.
    split=Split(test_devices=0.34, test_time=0),
    gate=GateRules(min_train=4, min_test=2),
    alerting=Alerting(at=0.5),
)
