import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.bundle import digest_of, pack
from serving.gateway.installation import MAX_STARTS, PROBATION_S, RETRY_S, Installation
from serving.gateway.telemetry import Telemetry
from serving.gateway.trial import Limits
from serving.journal import Journal
from serving.record import Spool
from serving.release import Release, bundle_path
from tests.fakes import bundles, fans, models
from tests.fakes.stores import MemoryStore

NOW = fans.START_US + 30 * fans.HOUR_US
ONE, TWO, THREE = (bundles.packed(bias=bias) for bias in (0.0, 0.1, 0.2))
LIMITS = Limits(memory_mib=256, seconds=20)


class Site:
    """An installation on a disk, started as often as one likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.lines = io.StringIO()
        self.fetched: list[str] = []
        self.spool = Spool(folder / "spool", MemoryStore())
        (folder / "memory").mkdir()
        self.installation: Any = self.restart()

    def restart(self) -> Installation:
        journal = Journal(self.lines, per_minute=10_000)
        telemetry = Telemetry("fan_failure", "gw-1", self.folder / "memory", self.spool, journal)
        self.installation = Installation(
            "fan_failure", self.folder / "slots", telemetry, journal, limits=LIMITS, clock=lambda: self.now
        )
        self.installation.start()
        return self.installation  # type: ignore[no-any-return]  # the line above made it

    def follow(self, number: int, data: bytes, version: str = "", placements: tuple[str, ...] = ("gateway",)) -> None:
        digest = digest_of(data) if data else ""
        version = (version or str(number)) if data else ""
        release = Release("fan_failure", number, version, digest, bundle_path(digest), NOW, placements)

        def fetch(asked: Release) -> bytes:
            self.fetched.append(asked.version)
            return data

        self.installation.follow(release, fetch, threading.Event())

    def feed(self, first: int, last: int, speed: float = 50.0) -> int:
        made: int = self.installation.telemetry.take(fans.body(first, last, speed=speed), NOW).predictions
        return made

    @property
    def version(self) -> str:
        model = self.installation.telemetry.model
        return model.installed.version if model else ""

    @property
    def slot(self) -> str:
        model = self.installation.telemetry.model
        return model.installed.slot if model else ""

    def events(self) -> list[str]:
        return [line.split("event=")[1].split()[0] for line in self.lines.getvalue().splitlines()]


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.spool.close()


def test_a_gateway_waits_for_its_first_release_and_then_serves_it_on_probation(site):
    assert site.installation.state == "waiting"
    site.follow(1, ONE)
    assert (site.installation.state, site.version, site.slot) == ("probation", "1", "a")


def test_the_same_release_again_changes_nothing(site):
    site.follow(1, ONE)
    before = site.lines.getvalue()
    site.follow(1, ONE)
    assert site.lines.getvalue() == before
    assert site.fetched == ["1"]


def test_a_release_follows_in_the_other_slot(site):
    site.follow(1, ONE)
    site.follow(2, TWO)
    assert (site.version, site.slot) == ("2", "b")


def test_probation_ends_with_the_first_predictions(site):
    site.follow(1, ONE)
    site.installation.watch()
    assert site.installation.state == "probation"
    assert site.feed(0, 71) == 1
    site.installation.watch()
    assert site.installation.state == "serving"


def test_probation_ends_by_itself_where_no_telemetry_comes(site):
    site.follow(1, ONE)
    site.now = PROBATION_S
    site.installation.watch()
    assert site.installation.state == "serving"


def test_what_was_installed_answers_after_a_restart_without_asking_anybody(site):
    site.follow(1, ONE)
    site.feed(0, 71)
    site.installation.watch()
    site.restart()
    assert (site.installation.state, site.version, site.fetched) == ("serving", "1", ["1"])


@pytest.mark.parametrize("bad", [models.has_other_golden_scores(), b"no bundle"], ids=["golden", "no bundle"])
def test_a_bundle_that_fails_its_trial_changes_nothing_but_the_reason(site, bad):
    site.follow(1, ONE)
    site.follow(2, bad)
    assert site.version == "1"
    assert "version 2 was refused" in site.installation.reason
    assert site.events()[-1] == "refused"


def test_a_failed_trial_is_repeated_only_after_a_while(site):
    site.follow(1, models.has_other_golden_scores())
    site.follow(1, models.has_other_golden_scores())
    assert site.fetched == ["1"]
    assert site.installation.state == "failing"
    site.now = RETRY_S
    site.follow(1, models.has_other_golden_scores())
    assert site.fetched == ["1", "1"]


def test_another_release_is_taken_at_once_after_a_refused_one(site):
    site.follow(1, models.has_other_golden_scores())
    site.follow(2, ONE)
    assert (site.version, site.installation.reason) == ("2", "")


FOR_OTHERS = {
    "another use case": bundles.packed(usecase="pump_failure"),
    "another placement": pack(
        replace(bundles.manifest_of(), placements=("cloud",)),
        bundles.logistic_model(bundles.weights_of(), 0.0),
        bundles.golden_of(bundles.weights_of(), 0.0),
    ),
}


@pytest.mark.parametrize("case", FOR_OTHERS)
def test_a_bundle_that_is_not_for_this_gateway_is_refused(site, case):
    site.follow(1, FOR_OTHERS[case])
    assert "not for this gateway" in site.installation.reason
    assert site.version == ""


def test_a_model_that_fails_on_live_rows_gives_way_to_the_last_good_one(site):
    site.follow(1, ONE)
    site.now = PROBATION_S
    site.installation.watch()
    site.follow(2, models.leaves_the_range())
    assert site.version == "2"
    assert site.feed(0, 71, speed=2900.0) == 1
    assert (site.version, site.installation.state) == ("1", "serving")
    assert "version 2 failed" in site.installation.reason


def test_what_failed_while_it_served_is_not_taken_again_until_a_later_release_names_it(site):
    site.follow(1, ONE)
    site.follow(2, models.leaves_the_range())
    site.feed(0, 71, speed=2900.0)
    site.restart()
    site.follow(2, models.leaves_the_range())
    assert site.version == "1"
    site.follow(3, models.leaves_the_range())
    assert site.version == "3"


def test_the_first_release_that_fails_leaves_nothing_to_go_back_to(site):
    site.follow(1, models.leaves_the_range())
    assert site.feed(0, 71, speed=2900.0) == 0
    assert (site.installation.state, site.version) == ("failing", "")


def test_a_proven_model_that_fails_once_goes_on_because_there_is_nothing_better(site):
    site.follow(1, models.leaves_the_range())
    site.feed(0, 71, speed=5.0)
    site.installation.watch()
    assert site.feed(71, 131, speed=2900.0) == 0
    assert (site.installation.state, site.version) == ("serving", "1")


def test_a_bundle_that_takes_the_program_down_is_left_after_some_starts(site):
    site.follow(1, ONE)
    site.now = PROBATION_S
    site.installation.watch()
    site.follow(2, TWO)
    versions = []
    for _ in range(MAX_STARTS + 1):
        site.restart()
        versions.append(site.version)
    assert versions == ["2"] * MAX_STARTS + ["1"]


def test_a_damaged_bundle_gives_way_and_is_fetched_again(site):
    site.follow(1, ONE)
    site.now = PROBATION_S
    site.installation.watch()
    site.follow(2, TWO)
    (site.folder / "slots" / "b" / "bundle.tmb").write_bytes(b"damaged")
    site.restart()
    assert site.version == "1"
    site.follow(2, TWO)
    assert site.version == "2"


def test_a_damaged_pointer_is_put_aside_and_the_release_taken_anew(site):
    site.follow(1, ONE)
    (site.folder / "slots" / "pointer.json").write_bytes(b"{")
    site.restart()
    assert site.installation.state == "waiting"
    site.follow(1, ONE)
    assert site.version == "1"
    assert (site.folder / "slots" / "pointer.json.damaged").exists()


def test_a_third_release_on_the_heels_of_the_second_keeps_the_proven_one_to_go_back_to(site):
    site.follow(1, ONE)
    site.now = PROBATION_S
    site.installation.watch()
    site.follow(2, TWO)
    site.follow(3, models.leaves_the_range())
    assert site.feed(0, 71, speed=2900.0) == 1
    assert site.version == "1"


@pytest.mark.parametrize(
    ("data", "placements"), [(b"", ()), (TWO, ("cloud",))], ids=["withdrawn", "released for others"]
)
def test_a_withdrawal_ends_the_predictions_and_is_remembered(site, data, placements):
    site.follow(1, ONE)
    site.follow(2, data, placements=placements)
    assert (site.installation.state, site.version) == ("withdrawn", "")
    site.restart()
    assert site.version == ""
    site.follow(3, ONE)
    assert site.version == "3"


def test_going_back_to_the_bundle_before_is_a_release_like_any_other(site):
    site.follow(1, ONE)
    site.follow(2, TWO)
    site.follow(3, ONE, version="1")
    assert (site.version, site.slot) == ("1", "b")


def test_the_same_bundle_under_another_version_is_only_relabelled(site):
    site.follow(1, ONE)
    site.follow(2, ONE, version="9")
    assert (site.version, site.fetched) == ("9", ["1"])
    site.restart()
    assert site.version == "9"


def test_telemetry_goes_on_while_a_release_is_being_installed(site):
    """Every window is predicted exactly once, by one version or the other, while versions follow each other."""
    site.follow(1, ONE)
    made, stop = [0], threading.Event()

    def feed() -> None:
        minute = 0
        while not stop.is_set():
            made[0] += site.feed(minute, minute + 30)
            minute += 30
        made.append(minute)

    feeding = threading.Thread(target=feed)
    feeding.start()
    for number, data in enumerate([TWO, THREE, ONE], start=2):
        site.follow(number, data)
    stop.set()
    feeding.join()
    assert site.version == "4"
    assert made[0] == (made[1] - 1 - 10) // 60
    assert site.installation.telemetry.totals.unpredicted == 0
