"""Runs of one device: what lies between two of them is no gap, and what reaches over a beginning is no row."""

from datetime import timedelta

import numpy as np
import pytest

from pipelines.dataset import build
from pipelines.labels import Anomaly, Events
from pipelines.split import Split
from pipelines.windows import Windows

SECOND, MONTH = 1_000_000, 30 * 86_400_000_000
RUN = 100 * SECOND
STARTS = (0, MONTH, MONTH + RUN)  # the last run follows at once
LABEL = Anomaly(normal=timedelta(seconds=30), begin="run")


def happened(*more):
    told = [*(("a", start, "run") for start in STARTS), ("a", MONTH + RUN + 60 * SECOND, "anomaly_begin"), *more]
    device, time, kind = zip(*told, strict=True)
    return Events.of({"device": device, "time": time, "kind": kind, "known_at": time})


def cut(label=LABEL, events=None, **changes):
    ends = np.concatenate([np.arange(5, 101, 5) * SECOND + start for start in STARTS])
    windows = Windows.unlabelled(np.full(len(ends), "a"), ends, np.ones((len(ends), 1)))
    options = {"known_until": MONTH + 3 * RUN, "every_us": 5 * SECOND, "reach_us": 10 * SECOND, **changes}
    return build(["x"], windows, label, happened() if events is None else events, Split(0, 0), **options)


def test_time_between_two_runs_is_no_gap_and_time_within_one_is():
    assert cut().quality.gaps == 0.0
    assert cut(Anomaly(normal=timedelta(seconds=30))).quality.gaps > 0.99  # of one run, a month would be missing
    assert cut(every_us=SECOND).quality.gaps == pytest.approx(0.8, abs=0.02)


def test_a_row_that_reaches_over_the_beginning_of_its_run_is_neither_learned_from_nor_judged():
    data = cut()
    kept = set(data.train.end.tolist()) | set(data.test.end.tolist())
    for start in STARTS:
        assert start + 5 * SECOND not in kept
        assert {start + after * SECOND for after in range(10, 101, 5)} <= kept
    assert len(data.train) == 5 * len(STARTS)  # 10 to 30 s after each beginning


def test_what_people_declare_normal_is_learned_from_throughout_once_they_did():
    label = Anomaly(normal=timedelta(seconds=30), begin="run", usual="normal")
    declared = happened(("a", 0, "normal_begin"), ("a", RUN, "normal_end"))
    data = cut(label, declared)
    assert (data.train.end <= RUN).sum() == 19
    assert (data.test.end > RUN).all()
    assert (cut(LABEL, declared).train.end <= RUN).sum() == 5
