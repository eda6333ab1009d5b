"""Training sets are read again from the versions of their tables, equal to the last byte."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from features.feature import Feature
from pipelines import history as past_of
from pipelines import usecases
from pipelines.candidate import build
from pipelines.errors import TableMissingError, VersionMissingError
from pipelines.labels import FailureWithin, Forecast, RemainingLife
from pipelines.lake import Lake
from pipelines.lake.compaction import compact
from pipelines.rebuild import rebuild
from pipelines.request import Parameters
from pipelines.rows import canonical, digest_of_rows
from pipelines.searching import load
from pipelines.split import Split
from serving.store import open_store
from tests.fakes.histories import HOUR, append, fill_lake, history

DAY = 24 * HOUR
NOW = 1_795_305_600_000_000
FAILS = replace(
    usecases.load("machine_failure"), label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=12))
)
LIVES = replace(FAILS, label=RemainingLife(cap=timedelta(hours=125)))
SIGNAL = FAILS.features.names[0]


def middle(past):
    return int(past.windows.end.min()) + 30 * DAY


CASES = {
    "failures": (FAILS, lambda past: {}),
    "another seed, until the middle": (FAILS, lambda past: {"seed": 3, "until": middle(past)}),
    "the later half": (FAILS, lambda past: {"since": int(past.windows.end.min()) + 10 * DAY}),
    "split by device alone": (replace(FAILS, split=Split(test_time=0)), lambda past: {"seed": 1}),
    "remaining life": (LIVES, lambda past: {}),
    "a forecast": (replace(FAILS, label=Forecast(SIGNAL, timedelta(hours=6))), lambda past: {}),
}


class Works:
    def __init__(self, folder):
        self.store, self.lake = open_store(str(folder)), Lake(str(folder))
        self.past = history(devices=8, days=40)
        fill_lake(self.lake, FAILS, self.past)

    def load(self, usecase, **asked):
        given = {"since": None, "until": None, "seed": 0} | asked
        return past_of.load(self.store, self.lake, usecase, now_us=NOW, **given)

    def rebuild(self, usecase, bundle):
        return rebuild(self.store, self.lake, usecase, bundle.manifest.features, bundle.manifest.lineage)

    def go_on(self):
        """Life goes on: later rows, rows of earlier days that come late, an event that becomes known, a compaction."""
        windows = self.past.windows
        for number, shift in enumerate((41 * DAY, 0)):
            ends = windows.end[:40] + shift
            device = np.full(40, f"late-{number}")
            dates = [datetime.fromtimestamp(end // 1_000_000, UTC).date().isoformat() for end in ends.tolist()]
            values = dict.fromkeys(FAILS.features.names, np.full(40, 0.5))
            append(self.lake.features(FAILS.features), {"date": dates, "device": device, "end": ends, **values})
        when = int(windows.end[100])
        event = {"device": ["pump-00"], "time": [when], "kind": ["failure"], "known_at": [when], "detail": [""]}
        append(self.lake.events(FAILS.features.fleet), event)


@pytest.fixture(scope="module")
def works(tmp_path_factory):
    return Works(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def trained(works):
    """What was trained, and then life went on."""
    found = {}
    for name, (usecase, asked) in CASES.items():
        data = works.load(usecase, **asked(works.past))
        found[name] = (data, build(usecase, data, "linear", {}, 0).bundle)
    before = digest_of_rows(works.load(FAILS))
    works.go_on()
    assert digest_of_rows(works.load(FAILS)) != before
    assert compact(works.lake.features(FAILS.features), NOW, crowded=1).dates
    return found


@pytest.mark.parametrize("name", list(CASES))
def test_a_training_set_is_the_same_to_the_last_byte(works, trained, name):
    data, bundle = trained[name]
    again = works.rebuild(CASES[name][0], bundle)
    assert again.equal
    assert b"".join(canonical(again.dataset)) == b"".join(canonical(data))
    assert again.expected == hashlib.sha256(b"".join(canonical(data))).hexdigest()
    assert again.changes == ()


def test_a_label_that_was_changed_since_is_the_reason(works, trained):
    _, bundle = trained["failures"]
    wider = replace(FAILS, label=FailureWithin(timedelta(hours=48), recovery=timedelta(hours=12)))
    again = works.rebuild(wider, bundle)
    assert not again.equal
    (change,) = again.changes
    assert change.startswith("label: was FailureWithin(")
    assert "days=2" in change


def test_features_code_and_environment_that_changed_are_told_though_the_rows_are_the_same(works, trained):
    _, bundle = trained["failures"]
    features = replace(
        FAILS.features, features=(*FAILS.features.features, Feature("volt", "slope", timedelta(hours=6)))
    )
    lineage = {**bundle.manifest.lineage, "code": "0.0.1", "environment": "python 2.7"}
    again = rebuild(works.store, works.lake, replace(FAILS, feature_set=features), bundle.manifest.features, lineage)
    assert again.equal
    assert [change.partition(":")[0] for change in again.changes] == [
        "code",
        "environment",
        "features of fleet azure_pdm",
    ]


def test_a_version_that_is_gone_is_named(works, trained):
    _, bundle = trained["failures"]
    manifest = replace(bundle.manifest, lineage={**bundle.manifest.lineage, "features.version": "99"})
    with pytest.raises(TableMissingError, match="no version 99"):
        works.rebuild(FAILS, replace(bundle, manifest=manifest))


def test_a_bundle_from_before_checksums_says_so(works, trained):
    _, bundle = trained["failures"]
    old = {name: value for name, value in bundle.manifest.lineage.items() if name != "rows.sha256"}
    with pytest.raises(VersionMissingError, match=r"rows\.sha256"):
        works.rebuild(FAILS, replace(bundle, manifest=replace(bundle.manifest, lineage=old)))


def test_those_who_search_together_see_the_same_rows_whatever_comes_in(tmp_path):
    works = Works(tmp_path)
    together = Parameters(study="manual__2026-11-22T00:00:00+00:00", seed=1)
    _, first = load(works.store, works.lake, FAILS, together, NOW)
    works.go_on()
    _, second = load(works.store, works.lake, FAILS, together, NOW)
    _, alone = load(works.store, works.lake, FAILS, replace(together, study=""), NOW)
    assert first.lineage == second.lineage
    assert digest_of_rows(alone) != digest_of_rows(first)
