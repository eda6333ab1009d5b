import numpy as np
import pytest

from pipelines.lake import Lake
from pipelines.signals import histories
from tests.fakes.predictions import DAY, NOW, START, USECASE
from tests.fakes.watched import SIGNALS, TRAINED, keep_panes

MINUTES = 20
LATE_DAYS = 4
ONCE = SIGNALS.index("speed")


def telling(random, begin, days, *, mean=5.0, still=()):
    """A reading each twenty minutes; signals in ``still`` stand at one value."""
    times = np.arange(begin, begin + days * DAY, MINUTES * 60_000_000)
    values = random.normal(mean, 2.0, (len(times), len(SIGNALS)))
    for signal in still:
        values[:, SIGNALS.index(signal)] = 5.0
    return times, values


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path))


@pytest.fixture
def random():
    return np.random.default_rng(5)


def late(lake, random, readings):
    """Training of two pumps that move, then what they do of late."""
    keep_panes(lake, {pump: telling(random, TRAINED[0], 20) for pump in ("pump-0", "pump-1")})
    keep_panes(lake, readings)
    return {each.name: each for each in histories(lake, USECASE.features, TRAINED, NOW)}


def test_a_day_is_the_mean_the_spread_and_the_gaps_of_its_readings(lake, random):
    times, values = telling(random, START, 1)
    values[::4, 0] = np.nan
    keep_panes(lake, {"pump-0": (times, values), "pump-1": (times, values + 100)})
    found = histories(lake, USECASE.features, None, NOW)[0]
    both = np.concatenate([values[:, 0], values[:, 0] + 100])
    (day,) = found.days.values()
    assert day.readings == np.sum(~np.isnan(both))
    assert (day.mean, day.std) == pytest.approx((np.nanmean(both), np.nanstd(both)), rel=1e-9)
    assert day.missing == pytest.approx(0.25)
    assert (found.late.mean, found.late.std) == pytest.approx((day.mean, day.std))
    assert found.training is None
    assert np.isnan(found.moved)


def test_a_level_that_moved_is_told_in_deviations_of_training(lake, random):
    found = late(lake, random, {"pump-0": telling(random, START, LATE_DAYS, mean=9.0)})
    assert found["flow"].training.mean == pytest.approx(5.0, abs=0.2)
    assert found["flow"].moved == pytest.approx(2.0, abs=0.2)
    assert len(found["flow"].days) == 18  # of four weeks, those with readings
    assert not any(each.frozen for each in found.values())


def test_a_signal_that_stands_still_where_it_moved_is_frozen(lake, random):
    stuck = {"pump-0": telling(random, START, LATE_DAYS, still=["flow"]), "pump-1": telling(random, START, LATE_DAYS)}
    found = late(lake, random, stuck)
    assert {name: each.frozen for name, each in found.items() if each.frozen} == {"flow": ("pump-0",)}


def test_what_always_stood_still_is_not_frozen(lake, random):
    keep_panes(lake, {"pump-0": telling(random, TRAINED[0], 20, still=["speed"])})
    keep_panes(lake, {"pump-0": telling(random, START, LATE_DAYS, still=["speed"])})
    assert not any(each.frozen for each in histories(lake, USECASE.features, TRAINED, NOW))


def test_a_device_that_training_never_saw_is_not_called_frozen(lake, random):
    assert not any(
        each.frozen
        for each in late(lake, random, {"pump-9": telling(random, START, LATE_DAYS, still=["flow"])}).values()
    )


def test_a_device_that_fell_silent_is_not_frozen(lake, random):
    readings = {"pump-0": telling(random, START, 1, still=["flow"]), "pump-1": telling(random, START, LATE_DAYS)}
    assert not any(each.frozen for each in late(lake, random, readings).values())


def test_a_step_between_two_still_days_is_a_movement(lake, random):
    times, values = telling(random, START, LATE_DAYS, still=["flow"])
    values[times >= START + (LATE_DAYS - 1) * DAY, SIGNALS.index("flow")] += 1.0
    assert not any(each.frozen for each in late(lake, random, {"pump-0": (times, values)}).values())


def test_days_after_the_moment_are_left_out_and_without_panes_there_is_nothing(lake, random):
    assert histories(lake, USECASE.features, TRAINED, NOW) == []
    keep_panes(lake, {"pump-0": telling(random, START, LATE_DAYS)})
    assert len(histories(lake, USECASE.features, None, START + DAY // 2)[0].days) == 1
