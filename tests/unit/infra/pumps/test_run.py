"""What the simulated fleet writes: the same bytes however it is cut, and the shares it was asked for."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from features import catalog
from features.schema import Reason, check_readings
from infra.local.errors import SimulationPlanError
from infra.local.pumps import run
from infra.local.pumps.delivery import deliver
from infra.local.pumps.physics import SIGNALS, simulate
from infra.local.pumps.plan import MINUTES_A_DAY, Plan, parse_start
from infra.local.pumps.run import Written, write_fleet
from pipelines.formats import decode
from pipelines.importers.faults import SPOILT, spoil
from pipelines.validate import believe

START = parse_start("2026-01-05")
FOUR_DAYS = Plan(devices=3, days=4, seed=7, start_ms=START, late_share=0.05, duplicate_share=0.05, corrupt_share=0.01)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.gz")}


def messages(folder: Path) -> list[bytes]:
    return [line for _, data in sorted(contents(folder / "raw/pumps/telemetry").items()) for line in _lines(data)]


def _lines(data: bytes) -> list[bytes]:
    return gzip.decompress(data).splitlines()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, write_fleet(FOUR_DAYS, str(folder), processes=1)


def test_days_written_later_are_the_bytes_of_the_whole(whole, tmp_path: Path):
    first = write_fleet(dataclasses.replace(FOUR_DAYS, to_day=1), str(tmp_path), processes=1)
    rest = write_fleet(dataclasses.replace(FOUR_DAYS, from_day=1), str(tmp_path), processes=1)
    assert contents(tmp_path) == contents(whole[0])
    assert first + rest == whole[1]


def test_processes_write_the_bytes_of_one(whole, tmp_path: Path):
    days: list[tuple[int, int]] = []
    written = write_fleet(FOUR_DAYS, str(tmp_path), advance=lambda done, total: days.append((done, total)))
    assert contents(tmp_path) == contents(whole[0])
    assert written == whole[1]
    assert days == [(number, 8) for number in range(1, 9)]


def test_a_longer_run_and_a_larger_fleet_begin_alike(whole, tmp_path: Path):
    larger = dataclasses.replace(FOUR_DAYS, devices=5, days=6, to_day=2)
    write_fleet(larger, str(tmp_path), processes=1)
    old = {line for line in messages(whole[0]) if b'"pump-00' in line}
    new = [line for line in messages(tmp_path) if b'"pump-001"' in line]
    assert len(new) > 2500
    assert set(new) <= old


def test_another_seed_gives_other_readings(whole, tmp_path: Path):
    write_fleet(dataclasses.replace(FOUR_DAYS, seed=8, to_day=1), str(tmp_path), processes=1)
    assert not set(messages(tmp_path)) & {line for line in messages(whole[0]) if b"values" in line}


def test_counts_agree_with_what_lies_there(whole):
    folder, written = whole
    lines = messages(folder)
    assert written.messages == len(lines)
    assert written.objects == len(contents(folder))
    complete = [json.loads(line) for line in lines if line.startswith(b'{"device"') and line.endswith(b"}}")]
    stamps = [(message["device"], message["ts"]) for message in complete if "ts" in message]
    assert written.duplicates == len(stamps) - len(set(stamps))


def test_an_hours_object_holds_what_arrived_in_that_hour_in_order(whole):
    folder, _ = whole
    for path in (folder / "raw/pumps/telemetry/2026/01/06/05").iterdir():
        stamps = [json.loads(line)["received"] for line in _lines(path.read_bytes()) if line.endswith(b"}}")]
        begin = START + 29 * 3_600_000
        assert stamps == sorted(stamps)
        assert begin <= stamps[0] <= stamps[-1] < begin + 3_600_000


def test_shares_are_what_was_asked_for():
    plan = Plan(40, 25, 3, START, late_share=0.03, duplicate_share=0.02, disorder_share=0.015, corrupt_share=0.004)
    found = [deliver(plan, device) for device in range(plan.devices)]
    sent = plan.devices * plan.minutes
    assert sum(come.held.sum() for come in found) / sent == pytest.approx(0.03, rel=0.15)
    assert sum(come.again.sum() for come in found) / sent == pytest.approx(0.02, rel=0.05)
    assert sum((come.spoilt > 0).sum() for come in found) / sent == pytest.approx(0.004, rel=0.1)
    overtaken = sum((np.diff(come.sent[~come.held & ~come.again]) < 0).sum() for come in found) / sent
    assert overtaken == pytest.approx(0.015, rel=0.2)


def test_without_trouble_every_reading_arrives_once_and_in_order():
    plan = Plan(1, 3, 3, START, 0.0, 0.0, 0.0, 0.0, 0.0)
    come = deliver(plan, 0)
    assert come.minute.tolist() == list(range(3 * MINUTES_A_DAY))
    assert not come.held.any()
    assert not come.again.any()
    assert not come.spoilt.any()
    assert (come.received - come.sent).max() < 6000


def test_only_spikes_leave_the_valid_range_of_the_catalog():
    fleet = catalog.load("pumps").fleet
    assert fleet.signal_names == SIGNALS
    plan = Plan(12, 20, 7, START)
    for pump in [*run._pumps_of(plan, 0), *run._pumps_of(plan, 1)]:
        come = pump.deliveries
        codes = check_readings(fleet, come.sent * 1000, come.received * 1000, pump.values[come.minute])
        rejected = codes > 0
        assert set(codes[rejected].tolist()) <= {Reason.OUT_OF_RANGE.number}
        np.testing.assert_array_equal(rejected, pump.spiked[come.minute])
    run._pumps_of.cache_clear()


def test_every_way_of_spoiling_changes_the_line():
    sound = '{"device":"pump-001","ts":1767571215042,"received":1767571215391,"values":{"vibration":1.402}}\n'
    spoilt = [spoil(sound, how) for how in range(len(SPOILT))]
    assert len(set(spoilt)) == len(SPOILT)
    assert sound not in spoilt
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in spoilt)


def test_pumps_fail_two_or_three_times_in_forty_days():
    plan = Plan(16, 40, 7, START)
    events = [event for device in range(plan.devices) for event in simulate(plan, device).events]
    failures = [event for event in events if event.kind == "failure"]
    assert 2.0 <= len(failures) / plan.devices <= 3.0
    assert all(event.known_minute > event.minute for event in events)
    assert max(event.known_minute - event.minute for event in events) > MINUTES_A_DAY


def test_a_failed_pump_stands_still_until_it_is_repaired():
    plan = Plan(6, 20, 7, START)
    checked = 0
    for device in range(plan.devices):
        course = simulate(plan, device)
        for event in course.events:
            if event.kind == "failure" and event.minute + 60 < plan.minutes:
                checked += 1
                speed = course.values[:, SIGNALS.index("speed")]
                assert speed[event.minute - 1] > 300
                assert not speed[event.minute : event.minute + 60].any()
    assert checked > 2


def test_vibration_rises_before_a_bearing_fails_and_a_seal_fails_at_any_wear():
    plan = Plan(40, 40, 7, START)
    rise: list[float] = []
    wear: dict[str, list[float]] = {"bearing": [], "shaft seal": []}
    for device in range(plan.devices):
        course = simulate(plan, device)
        vibration = course.values[:, 0]
        for event in course.events:
            if event.kind == "failure" and event.minute > 5 * MINUTES_A_DAY:
                last = vibration[event.minute - 360 : event.minute].mean()
                earlier = vibration[event.minute - 5 * MINUTES_A_DAY : event.minute - 4 * MINUTES_A_DAY].mean()
                wear[event.detail].append(course.wear[event.minute - 1])
                rise += [last / earlier] * (event.detail == "bearing")
    assert np.median(rise) > 1.8
    assert min(wear["bearing"]) > 0.85
    assert min(wear["shaft seal"]) < 0.5


def test_a_plan_that_cannot_be_names_every_complaint():
    with pytest.raises(SimulationPlanError) as caught:
        Plan(devices=0, days=4, seed=1, start_ms=START, late_share=0.9, from_day=5)
    for part in ("devices is 0", "late_share is 0.9", "days 5"):
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("how", range(len(SPOILT)), ids=[name.replace(" ", "_") for name, _ in SPOILT])
def test_a_spoilt_message_is_rejected_for_the_reason_it_was_spoilt_in(how: int):
    fleet = catalog.load("pumps").fleet
    sound = (
        '{"device":"pump-001","ts":1767571215042,"received":1767571215391,"values":{"vibration":1.402,'
        '"bearing_temperature":41.20,"pressure":4.100,"flow":120.50,"motor_current":31.00,"speed":1480}}\n'
    )
    judged = believe(fleet, decode((sound + spoil(sound, how)).encode(), fleet.mapping, fleet.signal_names), 0)
    assert len(judged.times) == 1
    assert [reject.reason for reject in judged.rejects] == [SPOILT[how][1]]


def test_more_demand_moves_flow_and_speed_from_its_day_on_and_nothing_before():
    usual, more = (
        simulate(dataclasses.replace(FOUR_DAYS, more_demand=share, more_from_day=2), 0) for share in (0, 0.3)
    )
    before, flow, speed = 2 * MINUTES_A_DAY, SIGNALS.index("flow"), SIGNALS.index("speed")
    assert np.array_equal(usual.values[:before], more.values[:before])
    for signal in (flow, speed):
        assert np.median(more.values[before:, signal]) > 1.05 * np.median(usual.values[before:, signal])
