"""Foresee that a hard disk in Backblaze's data centres fails within a week.

One disk in a thousand fails in a week, so silence counts as an answer. A model is judged by the ranking of the disks,
and by what it flags within a budget of false alarms.
"""

from datetime import timedelta

from pipelines.labels import FailureWithin
from pipelines.rules import Alerting, GateRules
from pipelines.split import Split
from pipelines.usecases import UseCase

WEEK = timedelta(days=7)

USECASE = UseCase(
    name="drive_failure",
    title="Drive fails within 7 days",
    fleet="backblaze",
    label=FailureWithin(WEEK, open_ended="calm"),
    # Each disk has its own counts of hours and reads; small leaves learn the few that failed by heart.
    parameters={
        "min_samples_leaf": 500,
        "max_iter": 50,
        "learning_rate": 0.05,
        "max_features": 1.0,
    },
    # The same disks in later days; failures are known a day later, so a gap would only cost days to learn from.
    split=Split(test_devices=0, test_time=WEEK, purge=timedelta(0)),
    # Two weeks hold a few dozen failures: what is asked for is far above guessing (0.0003), not near certainty.
    gate=GateRules(
        limits={"average_precision": 0.02, "caught_share": 0.3, "false_alarms_per_device_week": 0.01}, min_gain=0.015
    ),
    placements=("cloud",),
    alerting=Alerting(false_alarms_per_device_week=0.01),
)
