"""Files in the manner of the four C-MAPSS sets become bundles: one condition or six, 26 columns or 16."""

import time
from dataclasses import replace

import numpy as np
import pytest

from features import catalog
from features.regime import Regimes
from pipelines import history, regimes, usecases
from pipelines.candidate import build
from pipelines.importers import cmapss
from pipelines.importers.arrivals import Target, write
from pipelines.ingest import ingest
from pipelines.lake import Lake
from serving.store import open_store

ENGINES = usecases.load("engine_life")
FLEET = catalog.load("cmapss").fleet
SENSORS = FLEET.signal_names[3:]
SIXTEEN = ("T24", "T30", "T50", "P30", "Nf", "Nc", "Ps30", "phi", "BPR", "W31", "W32")
CONDITIONS = np.array([[0, 0, 100], [10, 0.25, 100], [20, 0.7, 100], [25, 0.62, 60], [35, 0.84, 100], [42, 0.84, 100]])
TEST_LIVES = (65, 19)  # flights on record; the shortest record of FD004 has 19
LEFT = (10, 60)


def lines(lives, total, conditions, seed):
    """Engines whose sensors move by three times their noise over a life, within what is usual in each condition."""
    random = np.random.default_rng(seed)
    low, high = np.array([[signal.low, signal.high] for signal in FLEET.signals[3:]]).T
    usual = low + (high - low) * np.random.default_rng(5).uniform(0.3, 0.7, (6, len(SENSORS)))
    for unit, (flown, life) in enumerate(zip(lives, total, strict=True), start=1):
        here = random.integers(0, conditions, flown)
        wear = (np.arange(flown) / life)[:, None] ** 2 * 3
        settings = CONDITIONS[here] + random.normal(0, [0.002, 0.0003, 0], (flown, 3))
        sensors = usual[here] + (wear + random.normal(size=(flown, len(SENSORS)))) * (high - low) / 1000
        for cycle, row in enumerate(np.hstack([settings, sensors]), start=1):
            yield [unit, cycle, *row.tolist()]


def files(folder, conditions, columns):
    """Write a set: five engines to learn from, two to be asked of; all columns, or some under a header."""
    published = ("unit", "cycle", *FLEET.signal_names)
    kept = [published.index(name) for name in columns or published]
    header = [] if columns is None else [",".join(columns)]
    parts = {"train": ((70, 80, 90, 75, 85),) * 2, "test": (TEST_LIVES, np.add(TEST_LIVES, LEFT))}
    for seed, (part, (flown, total)) in enumerate(parts.items()):
        rows = lines(flown, total, conditions, seed)
        text = [("," if columns else " ").join(f"{row[place]:.9g}" for place in kept) for row in rows]
        (folder / f"{part}_FD002.{'csv' if columns else 'txt'}").write_text("\n".join([*header, *text]) + "\n")
    (folder / "RUL_FD002.txt").write_text("".join(f"{left}\n" for left in LEFT))


@pytest.mark.parametrize(
    ("conditions", "columns", "found"),
    [
        pytest.param(1, None, 1, id="one condition, 26 columns"),
        pytest.param(6, None, 6, id="six conditions, 26 columns"),
        pytest.param(6, ("unit", "cycle", "setting1", "setting2", "setting3", *SIXTEEN), 6, id="six, 16 columns"),
        pytest.param(1, ("unit", "cycle", *SIXTEEN, "NRf", "NRc", "htBleed"), 1, id="16 columns, none a setting"),
    ],
)
def test_a_set_of_engines_is_learned_from_whatever_it_flies_under_and_sends(tmp_path, conditions, columns, found):
    files(tmp_path, conditions, columns)
    store = open_store(str(tmp_path / "store"), create=True)
    write(store, Target.of(FLEET), cmapss.items(tmp_path))
    lake, now_us = Lake(store.uri), time.time_ns() // 1000
    ingest(store, lake, FLEET, now_us)
    usecase = regimes.learned(store, lake, ENGINES, since=None, until=None, seed=0, now_us=now_us)
    assert isinstance(usecase.features.regimes, Regimes)
    assert len(usecase.features.regimes.centres) == found
    data = history.load(store, lake, usecase, since=None, until=None, seed=0, now_us=now_us)
    # One answer for each test engine, after the last of its flights, although other engines fly on.
    assert data.test.device.tolist() == ["fd002-test-001", "fd002-test-002"]
    assert data.test.label.tolist() == [left + 0.5 for left in LEFT]
    flights = data.test.values[:, data.names.index("time_since_start")]
    assert flights.tolist() == list(TEST_LIVES)
    assert data.train.label.min() == 0.5
    assert len(np.unique(data.train.device)) == 5
    parameters = {"max_iter": 30, "min_samples_leaf": 5}
    few = replace(usecase, estimator="hist_gradient_boosting", parameters=parameters)
    candidate = build(few, data, few.estimator, {}, 0)
    score = candidate.predictor.predict(data.test.values).score
    assert np.isfinite(score).all()
    assert score[0] < score[1]
    rehearsed = np.sqrt(np.mean((candidate.fitted.rehearsed - data.train.label) ** 2))
    assert rehearsed < 0.6 * data.train.label.std()
