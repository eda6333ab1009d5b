"""Foresee that a machine of the Azure Predictive Maintenance data set fails within a day."""

from datetime import timedelta

from pipelines.labels import FailureWithin
from pipelines.rules import GateRules
from pipelines.usecases import UseCase

USECASE = UseCase(
    name="machine_failure",
    title="Machine fails within 24 hours",
    fleet="azure_pdm",
    label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=24)),
    gate=GateRules(limits={"false_alarms_per_device_week": 0.5}),
    placements=("gateway", "cloud"),
)
