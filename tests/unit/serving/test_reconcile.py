"""The release run, from an alias to what a client reads: journeys, power cuts, races."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from serving.approval import GateRecord, gate_key, write_gate
from serving.bundle import digest_of
from serving.decision import DAY_US
from serving.errors import LedgerError, StoreUnreachableError
from serving.policy import AT_ONCE, Rollout
from serving.ports import Outcome
from serving.promotion import Promotion, PromotionLedger
from serving.reconcile import reconcile
from serving.release import Release, ReleaseReader
from serving.trust.client import TrustedClient
from serving.trust.errors import ConcurrentPublishError
from serving.trust.publisher import Publisher
from tests.fakes.bundles import packed
from tests.fakes.interrupted import Budget, BusyStore, InterruptedStore, PowerCut
from tests.fakes.registry import MemoryRegistry
from tests.fakes.stores import MemoryStore

FAN = "fan_failure"
NOW = 1_790_000_000_000_000
FIRST, SECOND = packed(), packed(bias=0.5)


@dataclass
class World:
    """A registry, a store, the keys, and clients that start from nothing each time they look."""

    keys: Path
    folder: Path
    store: Any = field(default_factory=MemoryStore)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    now_us: int = NOW
    policy: Rollout = AT_ONCE

    def __post_init__(self) -> None:
        Publisher(self.store, self.keys).initialise(NOW)
        self._clients = count()

    def train(self, bundle: bytes, *reasons: str, usecase: str = FAN, at_us: int = NOW) -> str:
        """Register a bundle and judge it; reasons make the gate refuse it."""
        write_gate(self.store, GateRecord(usecase, digest_of(bundle), not reasons, reasons, at_us))
        return self.registry.register(usecase, bundle)

    def run(self, budget: Budget | None = None, *, verify: bool = False) -> list[Outcome]:
        store = InterruptedStore(self.store, budget or Budget())
        self.registry.budget = budget or Budget()
        publisher = Publisher(store, self.keys)
        return reconcile(self.registry, store, publisher, self.now_us, policy=lambda _: self.policy, verify=verify)

    def act(self, *, verify: bool = False) -> str:
        """Run; the action for the one use case."""
        (outcome,) = self.run(verify=verify)
        return outcome.action

    def reader(self) -> ReleaseReader:
        root = Publisher(self.store, self.keys).root_bytes()
        client = TrustedClient(self.store, self.folder / f"client-{next(self._clients)}", root)
        client.refresh(self.now_us)
        return ReleaseReader(client)

    def serves(self, usecase: str = FAN) -> Release | None:
        """What a client gets, with the bundle fetched and checked."""
        reader = self.reader()
        release = reader.latest(usecase)
        if release and not release.withdrawn:
            reader.bundle(release)
        return release

    def released(self) -> Release:
        """What a client gets that must get something."""
        release = self.serves()
        assert release is not None
        return release

    def ledger(self, usecase: str = FAN) -> list[Promotion]:
        return PromotionLedger(self.store, usecase).entries()

    def told(self) -> list[tuple[str, str, str]]:
        return [(entry.outcome, entry.from_version, entry.to_version) for entry in self.ledger()]


@pytest.fixture
def world(keys, tmp_path):
    return World(keys, tmp_path)


# --- journeys -------------------------------------------------------------------------------------------------------


def test_a_passed_champion_reaches_clients(world):
    version = world.train(FIRST)
    world.registry.set_champion(FAN, version)
    assert world.run() == [Outcome(FAN, "released", "1", digest_of(FIRST), "", "no gateway reports", None, "1-1")]
    release = world.serves()
    assert (release.number, release.version, release.bundle) == (1, "1", digest_of(FIRST))
    assert (release.released_at_us, release.placements) == (NOW, ("gateway", "cloud"))
    assert world.registry.tags(FAN, "1") == {
        "release.status": "released",
        "release.gateways": "no gateway reports",
        "release.cloud": "release 1",
    }
    (entry,) = world.ledger()
    assert (entry.outcome, entry.number, entry.from_version, entry.to_version) == ("released", 1, "", "1")
    assert (entry.bundle_digest, entry.observed_at_us) == (digest_of(FIRST), NOW)
    assert entry.gate_digest == digest_of(world.store.get(gate_key(digest_of(FIRST))))
    assert release.gate == entry.gate_digest


def test_running_again_changes_nothing(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    before, writes = world.store.objects, world.registry.writes
    assert world.act() == "unchanged"
    assert world.store.objects == before
    assert world.registry.writes == writes


def test_after_days_only_metadata_is_signed_anew(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    before = world.store.objects
    world.now_us += 100 * DAY_US
    assert world.act() == "unchanged"
    assert {key.rpartition("/")[0] for key in world.store.objects.keys() - before.keys()} == {"updates/metadata"}
    assert world.serves().number == 1


def test_a_new_champion_replaces_and_the_alias_moved_back_rolls_back(world):
    for bundle in (FIRST, SECOND):
        world.registry.set_champion(FAN, world.train(bundle))
        assert world.act() == "released"
    assert world.registry.tags(FAN, "1") == {"release.status": "replaced"}
    assert world.serves().version == "2"
    world.registry.set_champion(FAN, "1")
    assert world.act() == "rolled_back"
    release = world.serves()
    assert (release.number, release.version, release.bundle) == (3, "1", digest_of(FIRST))
    assert world.registry.tags(FAN, "1")["release.cloud"] == "release 3"
    assert world.registry.tags(FAN, "2") == {"release.status": "replaced"}
    assert world.told() == [("released", "", "1"), ("released", "1", "2"), ("rolled_back", "2", "1")]


def test_only_what_a_later_version_took_the_place_of_is_gone_back_to(world):
    for bundle in (FIRST, SECOND, packed(bias=1.0)):
        world.train(bundle)
    done = []
    for version in "2132123":
        world.registry.set_champion(FAN, version)
        done.append((version, world.act()))
    assert done == [
        ("2", "released"),
        ("1", "released"),  # the number is smaller, but it never served
        ("3", "released"),
        ("2", "rolled_back"),
        ("1", "released"),  # what was gone back from is tried again
        ("2", "rolled_back"),
        ("3", "released"),
    ]


def test_a_removed_alias_withdraws_and_the_same_alias_releases_again(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    world.registry.remove_champion(FAN)
    assert world.run() == [Outcome(FAN, "withdrawn", "1", "", "the alias was removed from version 1")]
    release = world.serves()
    assert release.withdrawn
    assert release.number == 2
    assert world.registry.tags(FAN, "1") == {"release.status": "withdrawn"}
    assert Publisher(world.store, world.keys).read("bundles/") == {}
    assert world.act() == "unchanged"
    world.registry.set_champion(FAN, "1")
    assert world.act() == "released"
    assert world.serves().number == 3
    assert world.told() == [("released", "", "1"), ("withdrawn", "1", ""), ("released", "", "1")]


def test_a_model_that_left_the_registry_is_withdrawn(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    world.registry = MemoryRegistry()
    assert world.act() == "withdrawn"
    assert world.serves().withdrawn


def test_an_unreachable_registry_withdraws_nothing(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()

    def unreachable() -> list[object]:
        raise StoreUnreachableError("the registry does not answer")

    world.registry.wanted = unreachable
    with pytest.raises(StoreUnreachableError):
        world.run()
    assert world.serves().number == 1


def test_a_refused_champion_leaves_the_previous_release_and_is_told_once(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    world.registry.set_champion(FAN, world.train(SECOND, "recall 0.4 is below 0.6"))
    reason = "the gate refused it: recall 0.4 is below 0.6"
    assert world.run() == [Outcome(FAN, "refused", "2", digest_of(SECOND), reason, "no gateway reports", None, "1-1")]
    assert world.serves().version == "1"
    assert world.registry.tags(FAN, "2") == {"release.status": "refused", "release.refused": reason}
    assert world.registry.tags(FAN, "1")["release.status"] == "released"
    before, writes = world.store.objects, world.registry.writes
    assert world.act() == "refused"
    assert (world.store.objects, world.registry.writes) == (before, writes)
    assert world.told() == [("released", "", "1"), ("refused", "1", "2")]


def test_a_refusal_is_lifted_when_the_gate_passes(world):
    version = world.registry.register(FAN, FIRST)
    world.registry.set_champion(FAN, version)
    assert world.act() == "refused"
    assert world.reader().latest(FAN) is None
    write_gate(world.store, GateRecord(FAN, digest_of(FIRST), True, (), NOW))
    assert world.act() == "released"
    assert "release.refused" not in world.registry.tags(FAN, version)
    assert world.told() == [("refused", "", "1"), ("released", "", "1")]


def test_each_other_reason_is_told(world):
    world.registry.set_champion(FAN, world.registry.register(FAN, FIRST))
    world.run()
    write_gate(world.store, GateRecord(FAN, digest_of(FIRST), False, ("too slow",), NOW))
    world.run()
    world.registry.set_champion(FAN, world.registry.register(FAN, None))
    world.run()
    reasons = [entry.reason for entry in world.ledger()]
    assert [reason.split(" ")[0:2] for reason in reasons] == [["no", "gate"], ["the", "gate"], ["registered", "by"]]


def test_bytes_exchanged_under_the_serving_version_are_refused_until_they_are_back(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    world.registry.exchange(FAN, "1", SECOND)
    assert world.act() == "unchanged"  # what is published is not touched by it; a thorough look finds out
    assert world.act(verify=True) == "refused"
    assert world.act() == "refused"
    assert world.serves().bundle == digest_of(FIRST)
    assert world.registry.tags(FAN, "1")["release.status"] == "refused"
    world.registry.exchange(FAN, "1", FIRST)
    assert world.act() == "unchanged"
    assert world.registry.tags(FAN, "1")["release.status"] == "released"
    assert "release.refused" not in world.registry.tags(FAN, "1")
    before = world.store.objects
    assert world.act() == "unchanged"
    assert world.store.objects == before
    assert [entry.outcome for entry in world.ledger()] == ["released", "refused", "unchanged"]


def test_a_gate_record_that_cannot_be_read_refuses(world):
    version = world.train(FIRST)
    world.store.put(gate_key(digest_of(FIRST)), b"{")
    world.registry.set_champion(FAN, version)
    assert world.act() == "refused"
    assert "gate record cannot be read" in world.registry.tags(FAN, version)["release.refused"]


def test_a_long_reason_fits_into_a_tag_and_is_whole_in_the_ledger(world):
    world.registry.set_champion(FAN, world.train(FIRST, "x" * 5000))
    world.run()
    assert len(world.registry.tags(FAN, "1")["release.refused"]) == 1000
    assert len(world.ledger()[0].reason) > 5000


def test_a_use_case_that_fails_does_not_hold_up_the_others(world):
    other = "pump_failure"
    bundle = packed(usecase=other)
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    world.registry.set_champion(FAN, world.train(SECOND))
    world.registry.set_champion(other, world.train(bundle, usecase=other))
    world.store.put(f"ledger/promotions/{FAN}/00000001.json", b"{")
    with pytest.raises(LedgerError):
        world.run()
    assert world.serves().version == "1"
    assert world.serves(other).version == "1"


def test_a_changed_ledger_stops_the_next_release_before_it_is_published(world):
    for bundle in (FIRST, SECOND):
        world.registry.set_champion(FAN, world.train(bundle))
        world.run()
    key = f"ledger/promotions/{FAN}/00000001.json"
    world.store.put(key, replace(world.ledger()[0], reason="changed").to_bytes())
    world.registry.set_champion(FAN, "1")
    with pytest.raises(LedgerError, match="was not signed"):
        world.run()
    assert world.serves().number == 2


def test_numbers_go_on_when_the_published_files_were_lost(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    for key in world.store.objects:
        if key.startswith("updates/"):
            world.store.delete(key)
    Publisher(world.store, world.keys).initialise(NOW)
    assert world.act() == "released"
    assert world.serves().number == 2
    assert [entry.number for entry in world.ledger()] == [1, 2]


def test_published_files_that_were_set_back_are_set_right_again(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    before = {key: data for key, data in world.store.objects.items() if key.startswith("updates/")}
    world.registry.set_champion(FAN, world.train(SECOND))
    world.run()
    for key in world.store.objects:
        if key.startswith("updates/"):
            world.store.delete(key)
    for key, data in before.items():
        world.store.put(key, data)
    assert world.act() == "released"
    assert (world.serves().number, world.serves().version) == (3, "2")
    assert [entry.number for entry in world.ledger()] == [1, 2, 3]


def test_a_model_with_an_impossible_name_is_refused_and_tagged(world):
    name = "../Fan Failure"
    world.registry.set_champion(name, world.registry.register(name, FIRST))
    assert world.run()[0].action == "refused"
    assert "no name of a use case" in world.registry.tags(name, "1")["release.refused"]


def test_what_a_clock_that_ran_ahead_has_signed_is_signed_anew(world):
    world.registry.set_champion(FAN, world.train(FIRST))
    world.run()
    world.now_us += 3650 * DAY_US
    world.run()
    world.now_us = NOW
    world.run()
    expiries = Publisher(world.store, world.keys).expiries()
    assert all(expires < NOW + 400 * DAY_US for expires in expiries.values())
    assert world.serves().number == 1


# --- power cuts -----------------------------------------------------------------------------------------------------


def first_release(world: World) -> None:
    world.registry.set_champion(FAN, "1")


def new_version(world: World) -> None:
    world.registry.set_champion(FAN, "2")


def roll_back(world: World) -> None:
    world.registry.set_champion(FAN, "1")


def withdraw(world: World) -> None:
    world.registry.remove_champion(FAN)


def refuse(world: World) -> None:
    world.registry.set_champion(FAN, "3")


# name: (aliases set before, in order; the step; what serves in the end)
STEPS: dict[str, tuple[tuple[str, ...], Callable[[World], None], str | None]] = {
    "the first release": ((), first_release, "1"),
    "a new version": (("1",), new_version, "2"),
    "a rollback": (("1", "2"), roll_back, "1"),
    "a withdrawal": (("1",), withdraw, ""),
    "a refusal": (("1",), refuse, "1"),
}


def prepared(keys: Path, folder: Path, aliases: tuple[str, ...], step: Callable[[World], None]) -> World:
    world = World(keys, folder)
    for bundle, reasons in ((FIRST, ()), (SECOND, ()), (packed(bias=1.0), ("no",))):
        world.train(bundle, *reasons)
    for alias in aliases:
        world.registry.set_champion(FAN, alias)
        world.run()
    step(world)
    return world


def visible(world: World) -> object:
    """Everything but the numbers of metadata files."""
    ledgers = {key: data for key, data in world.store.objects.items() if key.startswith("ledger/")}
    return world.serves(), ledgers, [world.registry.tags(FAN, version) for version in "123"]


@pytest.mark.parametrize(("aliases", "step", "serves"), STEPS.values(), ids=STEPS.keys())
def test_a_power_cut_after_any_write_is_finished_by_the_next_run(keys, tmp_path, aliases, step, serves):
    undisturbed = prepared(keys, tmp_path / "undisturbed", aliases, step)
    (outcome,) = undisturbed.run()
    assert undisturbed.released().version == serves
    for writes in count():
        world = prepared(keys, tmp_path / str(writes), aliases, step)
        before = world.serves()
        try:
            world.run(Budget(writes))
        except PowerCut:
            assert world.serves() in (before, undisturbed.serves())
        else:
            assert writes >= 2
            return
        (finished,) = world.run()
        assert finished.action in {outcome.action, "unchanged"}  # all but the count of gateways may be done
        assert visible(world) == visible(undisturbed)
        before_rerun = world.store.objects
        world.run()
        assert world.store.objects == before_rerun


def test_an_alias_that_moved_on_during_a_power_cut_leaves_no_hole_in_the_ledger(keys, tmp_path):
    seen = set()
    for writes in count():
        world = prepared(keys, tmp_path / str(writes), ("1",), new_version)
        try:
            world.run(Budget(writes))
        except PowerCut:
            roll_back(world)
            world.run()
            assert world.released().version == "1"
            numbers = [entry.number for entry in world.ledger()]
            assert numbers == list(range(1, world.released().number + 1))
            seen.add(len(numbers))
        else:
            break
    assert seen == {1, 3}  # cut before the publication, and after it


# --- races ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".tmb", ".releases.json", ".timestamp.json", "/00000001.json"])
def test_two_release_runs_at_once_release_once(keys, tmp_path, ending):
    store = BusyStore(ending)
    world = World(keys, tmp_path, store=store)
    world.registry.set_champion(FAN, world.train(FIRST))
    store.meanwhile = world.run
    try:
        world.run()
    except ConcurrentPublishError:
        assert ending != "/00000001.json"
    world.run()
    assert world.released().number == 1
    assert world.told() == [("released", "", "1")]
    assert world.registry.tags(FAN, "1")["release.status"] == "released"
