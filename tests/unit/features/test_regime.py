"""Readings compared with what is usual under the same operating condition."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import regime as module
from features.errors import FeatureSetError
from features.regime import UNKNOWN, RegimeRule, Regimes, regimes_from_json, regimes_json

NAMES = ("altitude", "pressure", "load", "temperature")
RULE = RegimeRule(("altitude", "load"), 3, ("temperature", "pressure"))
REGIMES = Regimes(
    settings=("altitude", "load"),
    signals=("temperature", "pressure"),
    offset=(5000.0, 0.5),
    scale=(4000.0, 0.1 + 0.2),
    centres=((-1.0, 0.0), (1.0, 0.0), (1.0, 2.0)),
    mean=((20.0, 1.0), (-30.0, 0.5), (1 / 3, 0.25)),
    std=((2.0, 0.5), (4.0, 0.1), (1.0, 1.0)),
)


def _by_hand(values: np.ndarray) -> np.ndarray:
    """The definition, record by record."""
    result = values.copy()
    for row in result:
        place = [(row[0] - 5000.0) / 4000.0, (row[2] - 0.5) / REGIMES.scale[1]]
        distances = [sum((p - c) ** 2 for p, c in zip(place, centre, strict=True)) for centre in REGIMES.centres]
        if np.isnan(distances).any():
            row[[1, 3]] = np.nan
            continue
        nearest = distances.index(min(distances))
        row[3] = (row[3] - REGIMES.mean[nearest][0]) / REGIMES.std[nearest][0]
        row[1] = (row[1] - REGIMES.mean[nearest][1]) / REGIMES.std[nearest][1]
    return result


@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 70))
def test_every_record_is_compared_with_its_nearest_centre(seed, count, chunk):
    random = np.random.default_rng(seed)
    values = random.uniform([0, 0, 0, -50], [10_000, 2, 2, 50], (count, 4))
    values[random.random(values.shape) < 0.1] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        np.testing.assert_allclose(REGIMES.normalise(NAMES, values), _by_hand(values), rtol=1e-12)


def test_the_settings_and_other_signals_stay_as_they_were_and_so_does_the_input():
    values = np.array([[1000.0, 1.5, 0.5, 24.0]])
    before = values.copy()
    assert REGIMES.normalise(NAMES, values).tolist() == [[1000.0, 1.0, 0.5, 2.0]]
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_a_record_without_a_setting_has_no_regime_and_no_normalised_signal(missing):
    assert REGIMES.assign(np.array([[1000.0, missing], [missing, 0.5]])).tolist() == [UNKNOWN, UNKNOWN]
    found = REGIMES.normalise(NAMES, np.array([[1000.0, 1.5, missing, 24.0]]))
    assert np.isnan(found).tolist()[0][1::2] == [True, True]
    assert found[0, 0] == 1000.0


def test_a_setting_may_itself_be_normalised():
    own = Regimes(("load",), ("load",), (0.0,), (1.0,), ((0.0,), (10.0,)), ((0.5,), (9.0,)), ((1.0,), (2.0,)))
    assert own.normalise(("load",), np.array([[1.0], [10.0]])).tolist() == [[0.5], [0.5]]


def test_between_two_centres_the_first_one_counts():
    twins = replace(REGIMES, centres=((-1.0, 0.0), (1.0, 0.0), (-1.0, 0.0)))
    assert twins.assign(np.array([[1000.0, 0.5], [5000.0, 0.5]])).tolist() == [0, 0]


def test_no_records_are_no_records():
    assert REGIMES.normalise(NAMES, np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("regimes", [None, RULE, REGIMES], ids=["none", "rule", "learned"])
def test_regimes_survive_json_bit_by_bit(regimes):
    assert regimes_from_json(json.loads(json.dumps(regimes_json(regimes), allow_nan=False))) == regimes


def test_learned_regimes_can_be_hashed_and_sent_to_another_process():
    assert len({REGIMES, replace(REGIMES), replace(REGIMES, offset=(5000.0, 0.25))}) == 2
    sent = pickle.loads(pickle.dumps(REGIMES))
    assert sent == REGIMES
    assert sent.assign(np.array([[9000.0, 0.5]])).tolist() == [1]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"offset": (1.0,)}, id="too few offsets"),
        pytest.param({"scale": (1.0, 0.0)}, id="a scale of zero"),
        pytest.param({"scale": (1.0, float("inf"))}, id="an infinite scale"),
        pytest.param({"centres": ()}, id="no centres"),
        pytest.param({"centres": ((1.0,), (1.0, 2.0), (0.0, 0.0))}, id="centres of other dimensions"),
        pytest.param({"mean": ((20.0, 1.0),)}, id="too few means"),
        pytest.param({"mean": ((20.0, 1.0), (float("nan"), 0.5), (0.0, 0.0))}, id="a mean that is no number"),
        pytest.param({"std": ((20.0, 1.0), (-1.0, 0.5), (1.0, 1.0))}, id="a negative deviation"),
        pytest.param({"settings": ()}, id="no settings, but offsets"),
        pytest.param({"signals": ("pressure", "pressure")}, id="a signal twice"),
    ],
)
def test_parameters_that_do_not_fit_together_are_refused(change):
    with pytest.raises(FeatureSetError):
        replace(REGIMES, **change)


@pytest.mark.parametrize(
    "change", [{"count": 0}, {"count": 65}, {"settings": ()}, {"signals": ()}, {"settings": ("load", "load")}], ids=str
)
def test_a_rule_that_cannot_be_learned_is_refused(change):
    with pytest.raises(FeatureSetError):
        replace(RULE, **change)
