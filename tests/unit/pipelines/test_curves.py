import re
from dataclasses import replace

import numpy as np
import pytest

from pipelines import curves
from pipelines.curves import errors_picture, quantity_curves, scatter_picture
from pipelines.spells import spell_curves
from tests.fakes.examined import usual


def places(path):
    return np.array([[float(x) for x in pair.split(",")] for pair in re.findall(r"-?[\d.]+,-?[\d.]+", path)])


def test_a_perfect_forecast_lies_on_the_line():
    true = np.linspace(0, 125, 200)
    picture = scatter_picture(true, true, 125.0, "h")
    found = places(picture.dots)
    assert np.abs(found[:, 0] + found[:, 1] - curves.SQUARE).max() <= 1
    assert picture.cap == curves.SQUARE
    assert "0 % too long" in picture.alt


def test_a_scatter_of_many_windows_stays_small():
    true = np.random.default_rng(0).uniform(0, 125, 100_000)
    picture = scatter_picture(true, true + 1, None, "")
    assert len(picture.dots) < 12_000
    assert "100 % too high" in picture.alt


def test_errors_are_told_by_true_value_and_at_the_cap():
    true = np.append(np.linspace(0, 99, 400), np.full(100, 100.0))
    score = np.where(true < 50, true + 10, true - 5)
    picture = errors_picture(true, score, 100.0, "h")
    assert len(picture.bands) == 9
    assert picture.bands[-1][-1] == "at the cap"
    assert (picture.high, picture.low) == ("+10", "-5")
    middles = [band[2] for band in picture.bands]
    assert middles[0] < picture.zero < middles[-1]


@pytest.mark.parametrize("true", [np.empty(0), np.full(3, 7.0)])
def test_nothing_and_always_the_same_can_be_drawn(true):
    for cap in (None, 7.0):
        assert "nan" not in scatter_picture(true, true, cap, "h").dots
        assert "nan" not in str(errors_picture(true, true, cap, "h"))


@pytest.mark.parametrize("question", ["life", "forecast"])
def test_three_devices_are_shown_by_rule(question):
    it = usual(question)
    found = quantity_curves(it)
    errors = {name: metrics.rmse for name, metrics in it.devices}
    assert [picture.caption.partition(":")[0] for picture in found][::2] == [
        min(errors, key=lambda name: errors[name]),
        max(errors, key=lambda name: errors[name]),
    ]
    assert all(picture.true and picture.score and picture.ticks for picture in found)
    assert all((picture.threshold >= 0) == (question == "life") for picture in found[1:])


def read(device, signal, since, until):
    times = np.linspace(since, until, 50).astype(np.int64)
    return times, np.linspace(2.0, 3.0, 50)


def test_of_devices_that_are_asked_once_the_signal_before_is_shown():
    it = usual("life")
    few = [(name, replace(metrics, windows=1)) for name, metrics in it.devices]
    asked = replace(it, devices=few)
    assert quantity_curves(asked) == []
    found = quantity_curves(asked, read)
    assert len(found) == 3
    for picture in found:
        assert picture.trace is not None
        assert picture.trace.path
        assert picture.score == picture.true == ""
        assert re.search(r"; foreseen [\d.]+, true [\d.]+; \w+$", picture.caption)
        assert picture.alt
        assert picture.ticks


@pytest.mark.parametrize("question", ["life", "state"])
def test_the_signal_that_tells_most_stands_above_the_curve(question):
    it = usual(question)
    draw = quantity_curves if question == "life" else spell_curves
    plain, traced = draw(it), draw(it, read)
    assert [replace(picture, caption="", trace=None, trace_unit="") for picture in traced] == [
        replace(picture, caption="") for picture in plain
    ]
    signal = it.leanings[0].signal
    assert all(signal in picture.caption and picture.trace for picture in traced)
    assert draw(replace(it, leanings=[]), read) == plain


@pytest.mark.parametrize("question", ["state", "anomaly"])
def test_the_worst_spells_and_the_longest_false_alarm_are_shown(question):
    it = usual(question)
    alert = it.alert.copy()
    calm = np.flatnonzero((it.dataset.test.device == "pump-03") & ~it.dataset.test.positive)[5:9]
    alert[calm] = True
    found = spell_curves(replace(it, alert=alert))
    assert len(found) == 3
    assert all(picture.spells for picture in found[:2])
    well = "nothing was wrong" if question == "anomaly" else "it was not hot"
    assert found[2].caption == f"pump-03: an alarm of 4 windows, and {well}"
    assert found[2].alarms


def test_where_nothing_happened_nothing_is_shown():
    it = usual("state")
    data = replace(it.dataset, test=replace(it.dataset.test, label=np.zeros(len(it.score))))
    assert spell_curves(replace(it, dataset=data, alert=np.zeros(len(it.score), dtype=bool))) == []
