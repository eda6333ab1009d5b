import json
from dataclasses import replace

import pytest

from pipelines.automatic import promote
from pipelines.errors import UseCaseError
from pipelines.rules import Promotion
from pipelines.shadow import Shadow, Side
from serving.approval import GateRecord, write_gate
from serving.store import open_store
from tests.fakes.challenged import ChallengedRegistry
from tests.fakes.predictions import DAY, NOW, USECASE

ALLOWED = replace(USECASE, promotion=Promotion(automatic=True))
NEW, OLD = (f"sha256:{digit * 64}" for digit in "ab")
SIDE = Side("1", OLD, 10, 2, "3/12 failures caught", {}, {})
GOOD = Shadow(
    usecase="pump_failure",
    champion=SIDE,
    challenger=replace(SIDE, version="2", bundle=NEW),
    since_us=0,
    windows=5_000,
    left_out=0,
    devices=40,
    agreement=0.97,
    agreement_interval=(0.95, 0.98),
    examples=(),
    joined=4_000,
    judged=12,
    counted="failures",
    measure="average_precision",
    gain=0.1,
    gain_interval=(0.02, 0.2),
)
FINAL = "it was promoted automatically before: the rest is for people to say"


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path), create=True)
    judge(store)
    return store


@pytest.fixture
def registry():
    registry = ChallengedRegistry(b"1", b"2", b"3")
    registry.aliases = {"champion": "1", "challenger": "2"}
    return registry


def judge(store, digest=NEW, *, passed=True):
    write_gate(store, GateRecord("pump_failure", digest, passed=passed, reasons=(), decided_at_us=1))


def test_nobody_is_promoted_unless_the_use_case_says_so(store, registry):
    found = promote(store, registry, USECASE, GOOD, NOW)
    assert (found.done, found.objections) == (False, ("the use case leaves it to people",))
    assert registry.aliases["champion"] == "1"
    assert list(store.list("ledger/automatic/")) == []


def test_within_its_bounds_a_challenger_becomes_champion_and_the_ledger_says_why(store, registry):
    assert promote(store, registry, ALLOWED, GOOD, NOW).done
    assert registry.aliases["champion"] == "2"
    assert registry.tagged["2"] == {
        "approved_by": "tidemill: automatic, at least 2000 windows, 10 judged, gain 0.05 and surely above 0, "
        "agreement 0.9, once in 14 days"
    }
    kept = json.loads(store.get("ledger/automatic/pump_failure/2.json"))
    assert (kept["from"], kept["bundle"], kept["decided_at_us"]) == ("1", NEW, NOW)
    assert kept["bounds"]["min_judged"] == 10


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({"windows": 1_999}, "1999 windows in the shadow, 2000 needed"),
        ({"judged": 9}, "9 failures to judge by, 10 needed"),
        ({"agreement": 0.89}, "agreement 0.89, 0.9 needed"),
        ({"gain": 0.04}, "gain in average_precision 0.04, 0.05 needed"),
        ({"gain": float("nan")}, "gain in average_precision not known, 0.05 needed"),
        ({"gain_interval": (0.0, 0.3)}, "the gain may be as low as 0, surely above 0 needed"),
        ({"gain_interval": (float("nan"), 0.3)}, "the gain may be as low as not known, surely above 0 needed"),
        ({"champion": replace(SIDE, version="3")}, "it was compared with version 3, champion is 1"),
    ],
)
def test_each_bound_holds_it_back_alone(store, registry, change, objection):
    found = promote(store, registry, ALLOWED, replace(GOOD, **change), NOW)
    assert (found.done, found.objections) == (False, (objection,))
    assert registry.aliases["champion"] == "1"
    assert "2" not in registry.tagged


def test_the_gate_has_to_have_passed_it(tmp_path, registry):
    nothing = open_store(str(tmp_path / "other"), create=True)
    refused = ("the gate has not passed it",)
    assert promote(nothing, registry, ALLOWED, GOOD, NOW).objections == refused
    judge(nothing, passed=False)
    assert promote(nothing, registry, ALLOWED, GOOD, NOW).objections == refused


def test_what_a_release_refused_or_what_is_older_is_not_promoted(store, registry):
    registry.tagged["2"] = {"release.refused": "tampered"}
    assert promote(store, registry, ALLOWED, GOOD, NOW).objections == ("a release refused it: tampered",)
    registry.tagged = {}
    registry.aliases["champion"] = "3"
    newer = replace(GOOD, champion=replace(SIDE, version="3"))
    assert promote(store, registry, ALLOWED, newer, NOW).objections == ("version 2 is older than the champion 3",)


def test_a_person_who_takes_the_alias_back_has_the_last_word(store, registry):
    assert promote(store, registry, ALLOWED, GOOD, NOW).done
    registry.aliases["champion"] = "1"
    for days in (0, 1, 100):
        assert promote(store, registry, ALLOWED, GOOD, NOW + days * DAY).objections == (FINAL,)
    assert registry.aliases["champion"] == "1"


def test_there_is_one_in_a_cool_down(store, registry):
    assert promote(store, registry, ALLOWED, GOOD, NOW).done
    judge(store, OLD)
    following = replace(GOOD, champion=GOOD.challenger, challenger=replace(SIDE, version="3", bundle=OLD))
    held = promote(store, registry, ALLOWED, following, NOW + 13 * DAY)
    assert held.objections == ("promoted automatically 13 days ago, 14 days have to pass",)
    assert promote(store, registry, ALLOWED, following, NOW + 14 * DAY).done


@pytest.mark.parametrize("step", ["write_tags", "set_alias"])
def test_a_run_that_was_killed_in_between_is_finished_by_the_next(store, registry, step):
    registry.fails_at = step
    with pytest.raises(KeyboardInterrupt):
        promote(store, registry, ALLOWED, GOOD, NOW)
    registry.fails_at = ""
    assert registry.aliases["champion"] == "1"
    assert promote(store, registry, ALLOWED, replace(GOOD, windows=0), NOW + DAY).done, "it was decided"
    assert registry.aliases["champion"] == "2"
    assert "approved_by" in registry.tagged["2"]


def test_a_killed_run_is_not_finished_over_another_champion(store, registry):
    registry.fails_at = "set_alias"
    with pytest.raises(KeyboardInterrupt):
        promote(store, registry, ALLOWED, GOOD, NOW)
    registry.fails_at = ""
    registry.aliases["champion"] = "3"
    assert promote(store, registry, ALLOWED, GOOD, NOW + DAY).objections == (FINAL,)
    assert registry.aliases["champion"] == "3"


@pytest.mark.parametrize("wrong", [{"min_agreement": 90}, {"min_judged": 0}, {"surely_above": -0.1}])
def test_bounds_that_bind_nothing_are_refused(wrong):
    with pytest.raises(UseCaseError, match="promotion"):
        replace(USECASE, promotion=Promotion(automatic=True, **wrong))
