"""An ingest of an S3 service that lists what came lately, and looks at what it is told of wherever it lies."""

from pipelines.ingest import IngestSummary, ingest
from pipelines.replay import replay
from tests.fakes.fleets import DAY_US, FANS, HOUR_US, NOON_US, reading


def test_hints_and_replays_in_folders_of_long_ago_are_taken_in(plant):
    def take_in(**options) -> IngestSummary:
        return ingest(plant.store, plant.lake, FANS, NOON_US + HOUR_US, **options)

    long_ago = NOON_US - 9 * DAY_US
    plant.hub.write_telemetry("spoilt", long_ago, [reading("a", long_ago, -1.0)])
    plant.write([reading("a", NOON_US)])
    assert (take_in().accepted, take_in()) == (1, IngestSummary())
    told = plant.hub.write_telemetry("b", long_ago, [reading("b", long_ago)])
    plant.hub.write_telemetry("c", long_ago, [reading("c", long_ago)])
    plant.write([reading("d", NOON_US)])
    assert take_in(first={told, f"{told}.none"}).accepted == 2
    assert len(replay(plant.store, "fans", "00000001").keys) == 1
    assert take_in().quarantined == 1
    assert take_in() == IngestSummary()
    assert take_in(full_listing=True).accepted == 1
    assert plant.rows()["device"].to_pylist() == ["a", "b", "c", "d"]
