import numpy as np
import pytest

from features.fields import fields_behind
from features.pane import EMPTY, PANE_FIELDS, State, merge, summarize
from features.sketch import QUANTILES
from features.statistic import STATISTICS, read

HOUR_US, LIMIT = 3_600_000_000, 3.0


def panes(seed: int) -> list[State]:
    """Panes of three signals: with readings, with equal times and values, with gaps; the last signal has none."""
    random = np.random.default_rng(seed)
    found = []
    for count in (7, 0, 1, 12, 5):
        at = np.sort(random.integers(0, HOUR_US, count)).astype(np.float64)
        values = random.integers(0, 8, (count, 3)).astype(np.float64) / 3 + 1e5
        values[random.random(values.shape) < 0.3] = np.nan
        values[:, 2] = np.nan
        found.append(summarize(at, values, LIMIT))
    return found


def told(state: State, fields: tuple[str, ...]) -> State:
    """The pane as a reader has it who reads these fields alone."""
    kept = [PANE_FIELDS.index(name) for name in fields]
    given = np.broadcast_to(EMPTY, state.shape).copy()
    given[..., kept] = state[..., kept]
    return given


def merged(parts: list[State], order: list[int]) -> State:
    whole = np.broadcast_to(EMPTY, parts[0].shape).copy()
    for place in order:
        whole = merge(whole, parts[place], float(place * HOUR_US))
    return whole


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("seed", range(20))
def test_a_statistic_of_merged_panes_rests_on_its_fields_alone(name, seed):
    parts = panes(seed)
    fields = fields_behind([name])
    for order in (list(range(len(parts))), np.random.default_rng(seed).permutation(len(parts)).tolist()):
        whole = merged(parts, order)
        part = merged([told(each, fields) for each in parts], order)
        np.testing.assert_array_equal(read(part, [name], 5.0 * HOUR_US), read(whole, [name], 5.0 * HOUR_US))
        in_numpy = STATISTICS[name].function
        np.testing.assert_array_equal(in_numpy(part, 5.0 * HOUR_US), in_numpy(whole, 5.0 * HOUR_US))


def test_every_statistic_and_quantile_has_its_fields():
    for name in (*STATISTICS, *QUANTILES):
        assert fields_behind([name])[0] == "count"
