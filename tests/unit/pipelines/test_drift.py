import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.drift import CALM, MAJOR, WORTH_MENTIONING, deciles, shift, shifts


def test_a_sample_of_the_reference_is_calm():
    random = np.random.default_rng(1)
    edges = deciles(random.normal(size=20_000))
    assert shift(edges, random.normal(size=2_000)).index < CALM / 2


@pytest.mark.parametrize("moved", [lambda x: x + 1.0, lambda x: x * 3.0, lambda x: x * 0.2, lambda x: x - 40.0])
def test_a_large_move_is_major(moved):
    random = np.random.default_rng(2)
    edges = deciles(random.normal(size=20_000))
    assert shift(edges, moved(random.normal(size=2_000))).index > MAJOR


def test_the_effect_does_not_grow_with_the_sample():
    random = np.random.default_rng(3)
    edges = deciles(random.normal(size=20_000))
    small, large = (shift(edges, random.normal(0.3, size=size)).index for size in (2_000, 200_000))
    assert small == pytest.approx(large, abs=0.03)


def test_a_counter_that_is_mostly_zero_stays_calm_although_deciles_cannot_tell_its_share():
    random = np.random.default_rng(4)
    edges = deciles((random.random(20_000) < 0.005).astype(float))
    assert shift(edges, (random.random(3_000) < 0.005).astype(float)).index < 0.01
    assert shift(edges, (random.random(3_000) < 0.6).astype(float)).index > MAJOR


def test_values_outside_the_training_range_are_seen_on_both_sides():
    edges = np.full(11, 5.0)
    assert shift(edges, np.full(100, 5.0)).index == 0.0
    assert shift(edges, np.full(100, 4.0)).index > MAJOR
    assert shift(edges, np.full(100, 6.0)).index > MAJOR


def test_nothing_to_compare_is_nan():
    edges = np.linspace(0, 1, 11)
    assert math.isnan(shift(edges, np.array([])).index)
    assert math.isnan(shift(edges, np.array([np.nan])).index)
    assert math.isnan(shift(np.full(11, np.nan), np.array([1.0])).index)


def test_features_without_a_reference_are_left_out():
    values = np.column_stack([np.linspace(0, 1, 100), np.linspace(0, 9, 100)])
    index = shifts(("flow", "heat"), {"heat": np.linspace(0, 9, 11).tolist()}, values)
    assert list(index) == ["heat"]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_an_index_is_never_negative_and_does_not_depend_on_the_order(reference, values):
    edges = deciles(np.array(reference, float))
    index = shift(edges, np.array(values, float)).index
    assert index >= 0.0
    assert index == shift(edges, np.array(sorted(values), float)).index


@pytest.mark.parametrize(("moved", "distance"), [(0.0, 0.0), (0.5, 0.5), (-2.0, 2.0)])
def test_the_distance_is_a_move_in_scales_of_the_reference(moved, distance):
    random = np.random.default_rng(5)
    edges = deciles(random.normal(50.0, 4.0, size=20_000))
    found = shift(edges, random.normal(50.0 + 4.0 * moved, 4.0, size=20_000))
    assert found.distance == pytest.approx(distance, abs=0.05)
    assert found.values == 20_000


def test_a_setpoint_that_is_off_by_nothing_has_a_major_index_and_no_distance():
    random = np.random.default_rng(6)
    steps = random.choice([0.0, 100.0], 10_000, p=[0.55, 0.45])
    edges = deciles(steps + random.normal(0, 1e-3, 10_000))
    found = shift(edges, steps + 0.01)
    assert found.index > MAJOR
    assert found.distance < WORTH_MENTIONING / 100


def test_tails_of_which_deciles_know_nothing_add_no_distance():
    random = np.random.default_rng(7)
    heavy = random.standard_t(1, 50_000)
    found = shift(deciles(heavy[:40_000]), heavy[40_000:])
    assert found.distance < WORTH_MENTIONING
    assert found.index < CALM


def test_of_a_single_value_there_is_no_scale():
    found = shift(np.full(11, 5.0), np.full(100, 6.0))
    assert math.isnan(found.distance)
    assert found.to_json() == {"index": found.to_json()["index"], "distance": None, "values": 100}
