"""What the Fleet page shows, from a store in which gateways report for real."""

import json
import threading
from dataclasses import replace

import pytest

from serving.errors import MissingObjectError, ReleaseError, StoreUnreachableError
from serving.fleet import FRESH_US, FleetView
from serving.published import read_releases
from serving.release import Release
from serving.retraining import Trained, record_training
from tests.fakes.gatherings import USECASE, Gathering, document, name, write_reports

NOW = 1_790_000_000_000_000
PATIENCE_S = 30


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Gathering(tmp_path_factory.mktemp("plant"), NOW)


@pytest.fixture
def plant(made):
    """A rollout at stage 2 of 3, version 2 after version 1; no gateway has reported."""
    for entry in [*made.store.list("reports/"), *made.store.list("ledger/retraining/")]:
        made.store.delete(entry.key)
    return made


class Clock:
    def __init__(self):
        self.now_us = NOW

    def __call__(self):
        return self.now_us


def view(plant, clock=None):
    return FleetView(plant.store, clock or Clock())


def overview(plant, clock=None):
    fleet = view(plant, clock).fleet(PATIENCE_S)
    assert not fleet.problem
    assert fleet.counted
    return fleet.overviews[USECASE]


def report(plant, gateway, due, **more):
    said = document(gateway, due, more.pop("at_us", NOW), **more)
    plant.store.put(f"reports/pumps/{gateway}.json", json.dumps(said).encode())


def reached(release: Release, *, yes: bool) -> str:
    return next(name(number) for number in range(99) if release.reaches(name(number)) is yes)


def test_wanted_released_and_reported_stand_side_by_side(plant):
    early, late = reached(plant.release, yes=True), reached(plant.release, yes=False)
    report(plant, early, plant.release)
    report(plant, late, plant.release.before)
    found = overview(plant)
    assert found.told.text("wanted") == "2"
    assert (found.release.number, found.release.version, found.release.stage) == (2, "2", 2)
    assert found.muster.counts["current"] == found.muster.counts["later"] == 1
    assert {each.version: each.gateways for each in found.muster.versions} == {"1": 1, "2": 1}
    assert found.attention == ()
    assert found.spreading


def test_a_gateway_that_fell_back_to_the_version_before_never_counts_as_updated(plant):
    """The case of hawkbit#3185: the rollout is told to have succeeded while the device runs the image before."""
    before = plant.release.before
    fell_back = {"version": before.version, "number": before.number, "bundle": before.bundle}
    report(plant, reached(plant.release, yes=True), plant.release, reason="TM-224 golden rows differ", **fell_back)
    found = overview(plant)
    assert found.muster.counts["failed"] == 1
    assert found.muster.counts["current"] == 0
    (version,) = found.muster.versions
    assert (version.version, version.gateways) == ("1", 1)
    (line,) = found.attention
    assert (line.kind, line.state, line.code) == ("failed", "failed", "TM-224")
    assert "running version 1" in line.sentence


def test_what_a_version_misses_is_told_over_all_gateways_that_run_it(plant):
    early, late = (reached(plant.release, yes=yes) for yes in (True, False))
    due, before = plant.release, plant.release.before
    report(plant, early, due, features={"bundle": due.bundle, "values": 300, "missing": 30})
    report(plant, f"{early}-b", due, bundle=due.bundle, features={"bundle": due.bundle, "values": 100, "missing": 0})
    report(plant, late, before, features={"bundle": before.bundle, "values": 0, "missing": 0})
    shares = {each.version: each.missing_share for each in overview(plant).muster.versions}
    assert shares == {"1": None, "2": 0.075}


def test_one_that_says_nothing_of_a_failure_is_still_not_updated(plant):
    before = plant.release.before
    fell_back = {"version": before.version, "number": before.number, "bundle": before.bundle}
    report(plant, reached(plant.release, yes=True), plant.release, **fell_back)
    counts = overview(plant).muster.counts
    assert (counts["updating"], counts["current"]) == (1, 0)


def test_troubles_are_told_apart(plant):
    write_reports(plant.folder, 1000, plant.release, NOW)
    (plant.folder / "reports" / "pumps" / "torn.json").write_bytes(b"{")
    fleet = view(plant).fleet(PATIENCE_S)
    found = fleet.overviews[USECASE]
    assert {line.kind for line in found.attention} == {"failed", "silent", "clock", "updates"}
    assert [each.report.gateway for each in fleet.unreadable] == ["torn"]
    assert found.muster.gateways == 1000


def test_what_a_release_run_waits_for_comes_first(plant):
    status = {"usecase": USECASE, "wanted": "2", "action": "waiting", "release": 2, "gateways": ""}
    question = {"usecase": USECASE, "number": 2, "stage": 3, "bundle": plant.release.bundle}
    key = f"status/releases/{USECASE}.json"
    kept = plant.store.get(key)
    for reason, asked, kind in (
        ("stage 3 of 3 of release 2 waits for an approval", question, "approval"),
        ("paused: alarms look wrong", None, "paused"),
    ):
        fields = {"format": 1, **status, "reason": reason, "question": asked}
        plant.store.put(key, json.dumps(fields).encode())
        assert overview(plant).attention[0].kind == kind
    refused = {"format": 1, **status, "action": "refused", "reason": "no gate has judged it", "question": None}
    plant.store.put(key, json.dumps(refused).encode())
    assert overview(plant).attention[0].kind == "refused"
    plant.store.put(key, kept)


def test_history_is_newest_first_and_names_what_one_may_go_back_to(plant):
    found = overview(plant)
    assert [(entry.outcome, entry.to_version) for entry in found.history] == [
        ("released", "2"),
        ("refused", "3"),
        ("released", "1"),
    ]
    assert found.served == ("1",)  # neither the one that serves, nor one that was refused


def test_a_ledger_that_was_changed_is_named_and_hides_nothing_else(plant):
    key = f"ledger/promotions/{USECASE}/00000001.json"
    kept = plant.store.get(key)
    plant.store.put(key, kept.replace(b'"ada"', b'"eve"'))
    try:
        found = overview(plant)
    finally:
        plant.store.put(key, kept)
    assert key in found.ledger_problem
    assert found.release.version == "2"


def test_it_shows_the_releases_while_the_gateways_are_being_counted(plant):
    report(plant, name(1), plant.release)
    counted = threading.Event()

    class Slow:
        def __getattr__(self, attribute):
            return getattr(plant.store, attribute)

        def list(self, prefix, after=""):
            if prefix == "reports/pumps/":
                counted.wait(PATIENCE_S)
            return plant.store.list(prefix, after)

    slow = FleetView(Slow(), Clock())
    found = slow.fleet(0.0).overviews[USECASE]
    assert found.release == plant.release
    assert found.muster is None
    assert found.counted_us == 0
    counted.set()
    assert len(slow.fleet(PATIENCE_S).overviews[USECASE].seen) == 1


def test_a_store_that_fails_leaves_what_was_known_and_says_so(plant):
    report(plant, name(1), plant.release)
    clock = Clock()

    class Failing:
        failing = False

        def __getattr__(self, attribute):
            if self.failing:
                raise StoreUnreachableError("S3 cannot be reached")
            return getattr(plant.store, attribute)

    store = Failing()
    seen = FleetView(store, clock)
    assert seen.fleet(PATIENCE_S).problem == ""
    store.failing = True
    clock.now_us += FRESH_US + 1
    fleet = seen.fleet(PATIENCE_S)
    assert "S3 cannot be reached" in fleet.problem
    assert len(fleet.overviews[USECASE].seen) == 1


def test_rates_come_from_two_reports_of_a_gateway(plant):
    clock = Clock()
    seen = view(plant, clock)
    for predictions in (100, 130):
        report(plant, name(1), plant.release, at_us=clock.now_us, predictions=predictions, alerts=0)
        (version,) = seen.fleet(PATIENCE_S).overviews[USECASE].muster.versions
        clock.now_us += 60_000_000
    assert (version.paced, version.predictions, version.alerts) == (1, 30.0, 0.0)
    report(plant, name(1), plant.release, at_us=clock.now_us, predictions=2, alerts=0)  # it was started again
    (version,) = seen.fleet(PATIENCE_S).overviews[USECASE].muster.versions
    assert (version.paced, version.predictions) == (0, None)


def test_a_use_case_that_only_gateways_know_is_shown(plant):
    report(plant, name(1), None, usecase="kiln_failure")
    assert set(view(plant).fleet(PATIENCE_S).overviews) == {USECASE, "kiln_failure"}


def test_the_last_report_of_a_gateway_is_shown_as_it_wrote_it(plant):
    seen = view(plant)
    report(plant, name(1), plant.release, colour="red")
    key, said = seen.report("pumps", name(1), USECASE)
    assert (key, said["colour"]) == (f"reports/pumps/{name(1)}.json", "red")
    other = document(name(2), plant.release, NOW, usecase="kiln_failure")
    plant.store.put(f"reports/pumps/{name(2)}.kiln_failure.json", json.dumps(other).encode())
    assert seen.report("pumps", name(2), "kiln_failure")[1]["usecase"] == "kiln_failure"
    with pytest.raises(MissingObjectError):
        seen.report("pumps", "nobody", USECASE)


def test_a_published_release_that_was_changed_is_not_shown(plant):
    (entry,) = plant.store.list("updates/targets/releases/")
    kept = plant.store.get(entry.key)
    forged = replace(plant.release, share=1.0, stage=3).to_bytes()
    plant.store.put(entry.key, forged)
    try:
        with pytest.raises(ReleaseError, match="was changed"):
            read_releases(plant.store)
    finally:
        plant.store.put(entry.key, kept)


@pytest.mark.parametrize(
    ("judged", "sentence", "step"),
    [
        (None, "monitoring says train anew: inputs moved", "follow the DAG train"),
        (
            True,
            "a new model was trained as monitoring asked for, and has passed the gate",
            "it serves once it has the alias",
        ),
        (False, "a new model was trained, and the gate refused it: too few", "the version in use stays"),
    ],
)
def test_a_model_that_was_asked_for_is_to_come_or_waits_or_was_refused(plant, judged, sentence, step):
    decided = {
        "decided_at_us": NOW,
        "retrain": True,
        "sentence": "train anew: inputs moved",
        "reasons": ["inputs moved"],
    }
    plant.store.put(f"ledger/retraining/{USECASE}/2026-11-27.json", json.dumps(decided).encode())
    made = Trained(USECASE, "4", f"sha256:{'7' * 64}", passed=bool(judged), reasons=("too few",), decided_at_us=NOW + 1)
    if judged is not None:
        record_training(plant.store, made)
    found = overview(plant)
    (line,) = [each for each in found.attention if each.kind == "retrain"]
    assert line.sentence == sentence
    assert step in line.step
    assert found.retraining is not None
    assert found.retraining.open is (judged is None)
    for entry in list(plant.store.list("ledger/trainings/")):
        plant.store.delete(entry.key)
