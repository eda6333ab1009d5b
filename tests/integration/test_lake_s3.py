"""Panes and features in object storage: late readings end in the tables of one run, over the real protocol."""

from pipelines.materialize import materialize
from tests.fakes.fleets import FAN_FEATURES, HOUR_US, NOON_US
from tests.fakes.rebuilt import assert_complete, steady


def test_late_readings_end_in_the_tables_of_one_run(plant):
    gap, late = steady("a", NOON_US + 5 * HOUR_US, 1), steady("b", NOON_US + 2 * HOUR_US, 1)
    first = steady("a", NOON_US, 5) + steady("a", NOON_US + 6 * HOUR_US, 12)
    for delivery in (first, gap, late):
        plant.write(delivery)
        plant.ingest()
        materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, first + gap + late)
