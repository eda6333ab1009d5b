import re

import numpy as np
import pytest

from pipelines.lanes import lanes_picture
from pipelines.lines import WIDTH
from tests.fakes.overlapping import HOUR, START, dataset_of, overlapping

RECTANGLE = re.compile(r"M([\d.]+),([\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+z")


def drawn(path):
    """Rectangles as (left, top, width, height)."""
    return [tuple(map(float, found)) for found in RECTANGLE.findall(path)]


def test_a_split_by_devices_is_a_lane_for_each_with_the_held_out_ones_below():
    rows = overlapping(devices=4, hours=100)
    picture = lanes_picture(dataset_of(rows, np.isin(rows.device, ["device-00", "device-02"])))
    train, test = drawn(picture.train), drawn(picture.test)
    assert [left for left, *_ in train + test] == [0.0] * 4
    assert all(width == pytest.approx(WIDTH, abs=0.5) for _, _, width, _ in train + test)
    assert len({top for _, top, *_ in train + test}) == 4
    assert [name for _, name in picture.lanes] == ["device-00", "device-01", "device-02", "device-03"]
    assert "of 2 devices to learn from" in picture.alt


def test_pauses_take_no_room_and_the_beginnings_of_runs_stand_beside_the_rest():
    rows = overlapping(devices=1, hours=400)
    hour = (rows.end - START) // HOUR - 1
    pauses = hour // 100 * 10_000 * HOUR
    runs = type(rows)(rows.device, rows.end + pauses, rows.values, rows.label)
    picture = lanes_picture(dataset_of(runs, hour % 100 < 30))
    learned, judged = drawn(picture.train), drawn(picture.test)
    assert len(learned) == len(judged) == 4
    assert sum(width for _, _, width, _ in learned) == pytest.approx(0.3 * WIDTH, rel=0.1)
    assert sum(width for _, _, width, _ in judged) == pytest.approx(0.7 * WIDTH, rel=0.1)


def test_of_many_devices_some_are_drawn_and_the_rest_is_counted():
    rows = overlapping(devices=60, hours=40)
    picture = lanes_picture(dataset_of(rows, rows.device < "device-30"))
    assert picture.unlisted == 36
    assert len({top for _, top, *_ in drawn(picture.train + picture.test)}) == 24
    assert picture.lanes == []  # names would not fit
    assert len(picture.train + picture.test) < 20_000


def test_a_device_that_is_judged_once_can_be_seen():
    rows = overlapping(devices=4, hours=900)
    last = rows.end == rows.end.max()
    held = rows.device == "device-03"
    kept = rows.select(~held | last)
    picture = lanes_picture(dataset_of(kept, kept.device != "device-03"))
    ((left, _, width, _),) = drawn(picture.test)
    assert width >= 2
    assert left > 0.99 * WIDTH
