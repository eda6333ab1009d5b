import io
from pathlib import Path

import pytest

from serving.cloud.meter import Meter
from serving.cloud.models import ModelTable
from serving.cloud.refresher import Refresher
from serving.journal import Journal
from serving.release import release_path
from serving.trust.client import TrustedClient
from tests.fakes import bundles, models
from tests.fakes.releases import Releases
from tests.fakes.stores import MemoryStore


class Cloud:
    """A refresher in front of a signed store; looks only when told to."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.releases = Releases(self.store, folder / "signing")
        self.lines = io.StringIO()
        self.table, self.meter = ModelTable(), Meter()
        client = TrustedClient(self.store, folder / "updates", self.releases.root.read_bytes())
        self.refresher = Refresher(
            client, self.table, self.meter, Journal(self.lines), poll_s=1.0, clock=self.releases._now
        )

    def look(self) -> dict[str, str]:
        self.refresher.step()
        return {name: model.release.version for name, model in self.table.loaded().items()}

    def events(self) -> list[str]:
        return [line.split("event=")[1].split()[0] for line in self.lines.getvalue().splitlines()]


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


def test_before_the_first_look_the_server_is_not_ready(cloud):
    assert "not been read" in cloud.refresher.unready()


def test_with_nothing_released_the_server_is_ready(cloud):
    assert cloud.look() == {}
    assert cloud.refresher.unready() == ""


def test_releases_are_followed_forth_and_back(cloud):
    one, two = bundles.packed(), bundles.packed(bias=1.0)
    seen = []
    for version, data in (("1", one), ("2", two), ("1", one)):
        cloud.releases.release(version, data)
        seen.append(cloud.look()["fan_failure"])
    assert seen == ["1", "2", "1"]
    assert cloud.events().count("switched") == 3


def test_looking_again_changes_nothing(cloud):
    cloud.releases.release("1", bundles.packed())
    cloud.look()
    model = cloud.table.loaded()["fan_failure"]
    cloud.look()
    assert cloud.table.loaded()["fan_failure"] is model


def test_a_withdrawal_ends_the_answers_and_leaves_the_server_ready(cloud):
    cloud.releases.release("1", bundles.packed())
    cloud.look()
    cloud.releases.withdraw()
    assert cloud.look() == {}
    assert cloud.refresher.unready() == ""


def test_what_is_released_for_gateways_only_is_not_loaded(cloud):
    cloud.releases.release("1", bundles.packed(), placements=("gateway",))
    assert cloud.look() == {}
    assert cloud.refresher.unready() == ""


def test_a_bad_release_leaves_the_old_model_answering_and_is_refused_once(cloud):
    cloud.releases.release("1", bundles.packed())
    cloud.look()
    cloud.releases.release("2", models.has_other_golden_scores())
    for _ in range(3):
        assert cloud.look() == {"fan_failure": "1"}
    assert cloud.events().count("refused") == 1
    assert cloud.refresher.unready() == ""
    cloud.releases.release("3", bundles.packed(bias=1.0))
    assert cloud.look() == {"fan_failure": "3"}


def test_a_bad_first_release_keeps_the_server_from_being_ready_and_says_why(cloud):
    cloud.releases.release("1", models.has_other_golden_scores())
    cloud.look()
    assert "fan_failure" in cloud.refresher.unready()
    assert "golden" in cloud.refresher.unready()


def test_an_unreachable_store_changes_nothing_and_is_said_once(cloud):
    cloud.releases.release("1", bundles.packed())
    cloud.look()
    cloud.store.reachable = False
    for _ in range(3):
        assert cloud.look() == {"fan_failure": "1"}
    assert cloud.lines.getvalue().count("state=failing") == 1
    cloud.store.reachable = True
    cloud.look()
    assert cloud.refresher.unready() == ""


def test_a_use_case_whose_release_cannot_be_read_does_not_hold_up_the_others(cloud):
    cloud.releases.publish_file(release_path("a_newer_kind"), b'{"format": 99}')
    cloud.releases.release("1", bundles.packed())
    assert cloud.look() == {"fan_failure": "1"}
    assert "a_newer_kind" in cloud.refresher.unready()


def test_the_thread_looks_by_itself_until_it_is_stopped(tmp_path):
    cloud = Cloud(tmp_path)
    cloud.releases.release("1", bundles.packed())
    cloud.refresher.start()
    while not cloud.table.loaded():
        pass
    cloud.refresher.stop()
    assert cloud.events() == ["updates", "switched"]
