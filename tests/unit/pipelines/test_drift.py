import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.drift import CALM, MAJOR, stability_index, stability_indices


def deciles(values):
    return np.quantile(values, np.linspace(0, 1, 11))


def test_a_sample_of_the_reference_is_calm():
    random = np.random.default_rng(1)
    edges = deciles(random.normal(size=20_000))
    assert stability_index(edges, random.normal(size=2_000)) < CALM / 2


@pytest.mark.parametrize("moved", [lambda x: x + 1.0, lambda x: x * 3.0, lambda x: x * 0.2, lambda x: x - 40.0])
def test_a_large_move_is_major(moved):
    random = np.random.default_rng(2)
    edges = deciles(random.normal(size=20_000))
    assert stability_index(edges, moved(random.normal(size=2_000))) > MAJOR


def test_the_effect_does_not_grow_with_the_sample():
    random = np.random.default_rng(3)
    edges = deciles(random.normal(size=20_000))
    small, large = (stability_index(edges, random.normal(0.3, size=size)) for size in (2_000, 200_000))
    assert small == pytest.approx(large, abs=0.03)


def test_a_counter_that_is_mostly_zero_stays_calm_although_deciles_cannot_tell_its_share():
    random = np.random.default_rng(4)
    edges = deciles((random.random(20_000) < 0.005).astype(float))
    assert stability_index(edges, (random.random(3_000) < 0.005).astype(float)) < 0.01
    assert stability_index(edges, (random.random(3_000) < 0.6).astype(float)) > MAJOR


def test_values_outside_the_training_range_are_seen_on_both_sides():
    edges = np.full(11, 5.0)
    assert stability_index(edges, np.full(100, 5.0)) == 0.0
    assert stability_index(edges, np.full(100, 4.0)) > MAJOR
    assert stability_index(edges, np.full(100, 6.0)) > MAJOR


def test_nothing_to_compare_is_nan():
    edges = np.linspace(0, 1, 11)
    assert math.isnan(stability_index(edges, np.array([])))
    assert math.isnan(stability_index(edges, np.array([np.nan])))
    assert math.isnan(stability_index(np.full(11, np.nan), np.array([1.0])))


def test_features_without_a_reference_are_left_out():
    values = np.column_stack([np.linspace(0, 1, 100), np.linspace(0, 9, 100)])
    index = stability_indices(("flow", "heat"), {"heat": np.linspace(0, 9, 11).tolist()}, values)
    assert list(index) == ["heat"]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_an_index_is_never_negative_and_does_not_depend_on_the_order(reference, values):
    edges = deciles(np.array(reference, float))
    index = stability_index(edges, np.array(values, float))
    assert index >= 0.0
    assert index == stability_index(edges, np.array(sorted(values), float))
