import dataclasses
from datetime import timedelta

import pytest

from pipelines.datareport import merged
from pipelines.findings import Memory, document, headlines, remember, usual, warnings
from tests.fakes.arrivals import batch
from tests.fakes.fleets import DAY_US, FANS, HOUR_US, MINUTE_US, NOON_US

NOW_US = NOON_US + 2 * HOUR_US


def found(rows, before=None, **counts):
    return document(FANS, batch(rows, **counts), before or Memory(), 1, NOW_US)


def test_every_record_becomes_one_of_four_things():
    report = found([("a", 0, 0)], accepted=5, duplicates=2, superseded=1, quarantined=3, objects=2, unreadable=1)
    assert report["counts"]["records"] == 11
    assert headlines(report)[0] == "11 records in = 5 accepted + 2 duplicates + 1 superseded + 3 quarantined"
    assert report["unreadable_objects"] == 1


def test_gaps_are_told_for_the_devices_that_miss_most():
    rows = [("a", n, 0) for n in range(5)] + [("b", 0, 0), ("b", 30, 0), ("b", 50, 0)]
    rows += [(f"c{n:02d}", minute, 0) for n in range(12) for minute in (0, 10)]
    gaps = found(rows)["gaps"]
    assert (gaps["longer_than_s"], gaps["count"], gaps["devices"], len(gaps["worst"])) == (180.0, 14, 13, 10)
    assert gaps["worst"][0] == {"device": "b", "gaps": 2, "missing_s": 3000.0, "longest_s": 1800.0}


def test_a_device_with_another_rhythm_is_told_also_when_it_never_speaks_often_enough():
    rows = [("steady", n, 0) for n in range(60)] + [("fast", n, 0) for n in range(10)]
    rows += [("double", 2 * n, 0) for n in range(30)] + [("rare", 10 * n, 0) for n in range(6)] + [("once", 0, 0)]
    rhythm = found(rows)["rhythm"]
    assert [(each["device"], each["interval_s"]) for each in rhythm["worst"]] == [("rare", 600.0), ("double", 120.0)]
    assert (rhythm["off"], rhythm["declared_s"], rhythm["median_s"]) == (2, 60.0, 90.0)


def test_a_gap_is_not_taken_for_another_rhythm():
    rows = [("a", n, 0) for n in [*range(20), *range(50, 60)]]
    assert found(rows)["rhythm"]["worst"] == []


def test_new_and_silent_devices_follow_from_what_is_remembered():
    before = Memory(1, {"a": NOON_US, "gone": NOON_US - DAY_US})
    devices = found([("a", 1, 0), ("b", 2, 0)], before)["devices"]
    assert devices == {
        "heard": 2,
        "known": 3,
        "new": {"count": 1, "first": ["b"]},
        "silent": {"count": 1, "first": ["gone"]},
    }


def test_an_old_reading_does_not_turn_back_when_a_device_was_heard():
    after = remember(Memory(1, {"a": NOON_US}), batch([("a", -60, 0)], accepted=1), 2)
    assert (after.heard["a"], after.runs, after.volumes) == (NOON_US, 2, (1,))


def test_memory_survives_being_stored_and_forgets_the_volumes_of_long_ago():
    memory = Memory()
    for run in range(1, 41):
        memory = remember(memory, batch([("a", run, 0)], accepted=run, quarantined=1), run)
    assert Memory.from_json(memory.to_json()) == memory
    assert memory.volumes == tuple(range(11, 41))
    assert memory.counts == {"accepted": 820, "quarantined": 40}


@pytest.mark.parametrize(
    ("accepted", "told"), [(34, False), (33, True), (300, False), (301, True), (0, True), (None, False)]
)
def test_a_volume_unlike_the_earlier_ones_is_told(accepted, told):
    before = Memory(5, volumes=(100, 90, 5000, 100, 0))
    assert [line.partition(":")[0] for line in warnings(FANS, NOW_US, accepted, before, NOW_US)] == ["volume"] * told


def test_of_few_runs_nobody_knows_what_is_usual():
    assert usual(Memory(4, volumes=(1, 1, 1, 1))) is None
    assert warnings(FANS, NOW_US, 9, Memory(4, volumes=(1, 1, 1, 1)), NOW_US) == []


@pytest.mark.parametrize(("minutes", "told"), [(63, False), (64, True)])
def test_readings_that_are_older_than_lateness_explains_are_told(minutes, told):
    lines = warnings(FANS, NOW_US - minutes * MINUTE_US - 1, None, Memory(), NOW_US - MINUTE_US)
    assert bool(lines) == told
    assert warnings(FANS, None, None, Memory(), NOW_US) == []


def test_a_run_without_readings_has_a_report_too():
    report = found([], events=3)
    assert (report["freshness_s"], report["rhythm"]["median_s"], report["gaps"]["worst"]) == (None, None, [])
    assert len(headlines(report)) == 2


def test_lateness_is_told_in_steps_people_know():
    rows = [("a", n, delay) for n, delay in enumerate([-1, 0, 1, 2, 60, 3600, 86_400 * 40])]
    lateness = found(rows)["lateness"]
    assert lateness["ahead"] == 1
    assert [n for n in lateness["up_to"].values() if n] == [2, 1, 1, 1, 1]
    assert lateness["up_to"]["more"] == 1


def test_the_figures_do_not_depend_on_the_batches():
    rows = [(device, n, n % 7) for device in "ab" for n in range(0, 90, 3)]
    parts = merged(batch(rows[::2], accepted=30), batch(rows[1::2], accepted=30))
    whole = batch(rows, accepted=60)
    fleet = dataclasses.replace(FANS, sampling=timedelta(minutes=3))
    assert document(fleet, parts, Memory(), 1, NOW_US) == document(fleet, whole, Memory(), 1, NOW_US)
