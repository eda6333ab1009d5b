"""Slices of public sets from raw objects to a bundle that answers, by the use cases that stand for them."""

import gzip
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

from features import catalog
from features.regime import Regimes
from pipelines import usecases
from pipelines.importers import azure_pdm, cmapss, femto
from pipelines.importers.arrivals import Reading, Report, Target, write
from pipelines.importers.rows import moment
from pipelines.ingest import ingest
from pipelines.lake import Lake
from pipelines.split import Split
from pipelines.usecases import UseCase
from serving.store import open_store
from tests.bench.protocol import Answers, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("TIDEMILL_DATA" not in os.environ, reason="TIDEMILL_DATA names no folder of public sets"),
]
ENGINES = 12
BY_DEVICE = Split(test_devices=0.25, test_time=0)


def answered(usecase: UseCase, items: Iterable[Reading | Report], place: Path) -> Answers:
    store, fleet = open_store(str(place), create=True), catalog.load(usecase.fleet).fleet
    write(store, Target.of(fleet), items)
    lake, now_us = Lake(store.uri), time.time_ns() // 1000
    ingest(store, lake, fleet, now_us)
    return train(store, lake, usecase, seed=0, now_us=now_us)


def source(name: str) -> Path:
    return Path(os.environ["TIDEMILL_DATA"], name)


def first_engines(place: Path) -> Path:
    """The first engines of FD001 as a folder of their own."""
    for part in ("train", "test"):
        with gzip.open(source("cmapss") / f"{part}_FD001.txt.gz", "rt") as file:
            rows = takewhile(lambda row: int(row.split()[0]) <= ENGINES, file)
            (place / f"{part}_FD001.txt").write_text("".join(rows))
    left = (source("cmapss") / "RUL_FD001.txt").read_text().splitlines()[:ENGINES]
    (place / "RUL_FD001.txt").write_text("\n".join(left) + "\n")
    return place


def until(limit: str) -> Callable[[Reading | Report], bool]:
    return lambda item: item.time_us < moment(limit)


def test_engines_are_asked_once_and_their_truth_is_the_published_one(tmp_path: Path) -> None:
    usecase = replace(usecases.load("engine_life"), estimator="linear", parameters={})
    found = answered(usecase, cmapss.items(first_engines(tmp_path)), tmp_path / "store")
    left = [float(line) for line in (tmp_path / "RUL_FD001.txt").read_text().split()]
    assert found.dataset.test.label.tolist() == [min(one + 0.5, 125.0) for one in left]
    assert isinstance(found.usecase.features.regimes, Regimes)
    assert len(found.usecase.features.regimes.centres) == 1
    error = found.candidate.fitted.rehearsed - found.dataset.train.label
    assert np.sqrt(np.mean(error**2)) < 0.6 * found.dataset.train.label.std()


def test_machines_that_were_never_seen_are_warned_of(tmp_path: Path) -> None:
    usecase = replace(usecases.load("machine_failure"), split=BY_DEVICE)
    items = filter(until("2015-02-10"), azure_pdm.items(source("azure_pdm")))
    found = answered(usecase, items, tmp_path / "store")
    positive = found.dataset.test.positive
    assert positive.sum() > 20
    f1 = 2 * (found.alert & positive).sum() / (found.alert.sum() + positive.sum())
    assert f1 > 0.6  # after forty days of fifteen machines; the benchmark takes all there is


def test_a_bearing_that_was_never_seen_gets_an_answer_at_every_window(tmp_path: Path) -> None:
    folder = tmp_path / "femto"
    folder.mkdir()
    for name in ("Bearing1_2", "Bearing2_2", "Bearing3_1"):
        (folder / f"{name}.parquet").symlink_to(source("femto") / f"{name}.parquet")
    usecase = replace(usecases.load("bearing_life"), split=Split(test_devices=("bearing-3-1",), test_time=0))
    found = answered(usecase, femto.items(folder), tmp_path / "store")
    assert set(found.dataset.test.device.tolist()) == {"bearing-3-1"}
    assert found.dataset.test.label.max() < 515 * 10 / 3600
    assert ((found.score > 0) & (found.score <= 8)).all()
