"""Foresee that a pump of the pumping station fails within a day."""

from datetime import timedelta

from pipelines.labels import FailureWithin
from pipelines.rules import Alerting, Cost, GateRules
from pipelines.usecases import UseCase

USECASE = UseCase(
    name="pump_failure",
    title="Pump fails within 24 hours",
    fleet="pumps",
    # The crew writes failures down by the end of its shift, twelve hours later at most.
    label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=24), reported_within=timedelta(hours=12)),
    gate=GateRules(limits={"caught_share": 0.6, "false_alarms_per_device_week": 0.5}),
    alerting=Alerting(cost=Cost(missed_failure=8_000, false_alarm=400)),
    placements=("gateway", "cloud"),
)
