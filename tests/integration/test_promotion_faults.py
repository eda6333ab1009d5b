"""A tenth of ``tests.sweep.promotions``: a real MLflow, a real store, real keys, and what goes wrong around them."""

import pytest

from tests.sweep import promotions

pytestmark = pytest.mark.slow


SLOW = "registry from a backup"  # MLflow has to start twice for it


def test_whatever_goes_wrong_nothing_is_released_that_was_not_gated():
    came, became = promotions.run(20, seed=7, without=[SLOW])
    assert {*came, SLOW} == set(promotions.FAULTS)
    assert became["released"] > 10
