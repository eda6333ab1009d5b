"""The ledger held against what is published: each way of changing it is found, and named."""

from dataclasses import replace

import pytest

from serving.audit import verify
from serving.promotion import Promotion, PromotionLedger
from serving.trust.publisher import Publisher
from tests.fakes.seal import SecretSeal
from tests.unit.serving.test_reconcile import FAN, FIRST, SECOND, World

FOLDER = f"ledger/promotions/{FAN}/"


@pytest.fixture
def world(keys, tmp_path):
    """Version 1, then 2, then 1 again."""
    made = World(keys, tmp_path)
    for bundle in (FIRST, SECOND):
        made.registry.set_champion(FAN, made.train(bundle))
        made.run()
    made.registry.set_champion(FAN, "1")
    made.run()
    return made


def problem(world: World) -> str:
    (found,) = verify(world.store, Publisher(world.store, world.keys))
    return found.problem


def entry(world: World, number: int) -> Promotion:
    return Promotion.from_bytes(world.store.get(f"{FOLDER}{number:08d}.json"))


def test_a_ledger_that_nobody_touched_is_whole(world):
    (found,) = verify(world.store, Publisher(world.store, world.keys))
    assert (found.usecase, found.problem) == (FAN, "")
    assert [each.outcome for each in found.entries] == ["released", "released", "rolled_back"]


def test_a_changed_entry_is_named(world):
    world.store.put(f"{FOLDER}00000002.json", replace(entry(world, 2), reason="all was well").to_bytes())
    assert "not signed" in problem(world)
    assert "00000002.json" in problem(world)


def test_an_entry_of_somebody_without_the_key_is_named(world):
    forged = PromotionLedger(world.store, FAN, SecretSeal())
    assert forged.append(forged.last(), replace(entry(world, 3), outcome="refused"))
    assert "00000004.json" in problem(world)


def test_a_missing_entry_is_named(world):
    world.store.delete(f"{FOLDER}00000002.json")
    assert "has a gap" in problem(world)


def test_an_end_that_was_cut_off_contradicts_what_is_published(world):
    for number in (2, 3):
        world.store.delete(f"{FOLDER}{number:08d}.json")
    assert "lacks an entry that a published release names" in problem(world)


def test_a_ledger_that_is_gone_contradicts_what_is_published(world):
    for number in (1, 2, 3):
        world.store.delete(f"{FOLDER}{number:08d}.json")
    assert "none of its 0 entries" in problem(world)


def test_another_version_than_is_published_is_told(world):
    seal = Publisher(world.store, world.keys).seal
    ledger = PromotionLedger(world.store, FAN, seal)
    last = ledger.last()
    assert last is not None
    world.store.delete(f"{FOLDER}00000003.json")
    assert ledger.append(ledger.last(), replace(last, to_version="7"))
    assert "tells of another version" in problem(world)
