"""Tell whether people are in an office room, from its climate and its light.

A linear model stays champion here: light decides, and trees learn the corners of one season's daylight by heart.
"""

from datetime import UTC, datetime, timedelta

from pipelines.labels import State
from pipelines.rules import Alerting, GateRules
from pipelines.split import Split
from pipelines.usecases import UseCase

DAY = timedelta(days=1)

USECASE = UseCase(
    name="room_occupancy",
    title="Room is in use",
    fleet="occupancy",
    label=State("occupied", reported_within=DAY),
    estimator="linear",
    # As published: two days to test with before the week to learn from, and another week after it.
    split=Split(
        test_devices=0,
        purge=DAY,
        learned=(datetime(2015, 2, 4, 17, 51, tzinfo=UTC), datetime(2015, 2, 10, 9, 34, tzinfo=UTC)),
    ),
    gate=GateRules(
        limits={"accuracy": 0.95}, compared_by="accuracy", min_train_devices=1, max_behind_champion=0.01, max_gaps=0.4
    ),
    placements=("gateway", "cloud"),
    alerting=Alerting(at=0.5),  # in use is what is more likely than not
)
