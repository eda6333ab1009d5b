"""Stages, approvals, pauses and aborts: from an alias to a part of the gateways, and on."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from serving.bundle import digest_of
from serving.consent import Consent, Question, write
from serving.errors import PolicyError
from serving.policy import Rollout
from serving.reports import Report, ReportReader, parse
from serving.rollout import STANDINGS, Spread, advise, spread, standing
from serving.trust.publisher import Publisher
from tests.fakes.bundles import packed
from tests.fakes.gatherings import document
from tests.fakes.interrupted import Budget, PowerCut
from tests.unit.serving.test_reconcile import FAN, FIRST, NOW, SECOND, World

HOUR_US = 3_600_000_000
STAGED = Rollout(stages=(0.2, 0.6, 1.0), soak=timedelta(hours=1), failing=0.1)
NAMES = [f"kiln-{number}" for number in range(40)]


@pytest.fixture
def world(keys, tmp_path):
    """Version 1 serves everywhere, version 2 has just got the alias."""
    made = World(keys, tmp_path, policy=STAGED)
    made.policy = Rollout()
    made.registry.set_champion(FAN, made.train(FIRST))
    made.run()
    made.policy = STAGED
    made.registry.set_champion(FAN, made.train(SECOND))
    return made


def report(world: World, failing: tuple[str, ...] = (), silent: tuple[str, ...] = ()) -> None:
    """Each gateway does what its release says, and reports."""
    release = world.released()
    for name in NAMES:
        if name in silent:
            continue
        due = release.applied_to(name)
        runs = release.before if name in failing else due
        document = {
            "id": name,
            "usecase": FAN,
            "at": datetime.fromtimestamp(world.now_us / 1e6, UTC).isoformat(),
            "state": "serving" if runs else "waiting",
            "version": runs.version if runs else "",
            "number": runs.number if runs else 0,
            "bundle": runs.bundle if runs else "",
            "desired": {"version": due.version, "number": due.number, "bundle": due.bundle} if due else None,
            "reason": "golden row 3 differs" if name in failing else "",
            "predictions": 12,
            "standing_alerts": 0,
            "updates": {"state": "current", "reason": ""},
        }
        world.store.put(f"reports/fans/{name}.json", json.dumps(document).encode())


def in_stage(world: World) -> list[str]:
    release = world.released()
    return [name for name in NAMES if release.reaches(name)]


def later(world: World, hours: float = 1.0) -> None:
    world.now_us += round(hours * HOUR_US)


# --- stages ---------------------------------------------------------------------------------------------------------


def test_a_release_spreads_stage_by_stage_as_its_gateways_report(world):
    assert world.act() == "released"
    release = world.released()
    assert (release.number, release.stage, release.stages, release.share) == (2, 1, 3, 0.2)
    assert release.before is not None
    assert release.before.version == "1"
    first = in_stage(world)
    assert 0 < len(first) < len(NAMES) // 2
    report(world)
    (outcome,) = world.run()
    assert (outcome.action, outcome.reason) == ("waiting", "stage 1 goes on for another 1 h 0 min")
    assert outcome.spreading == "2-1"
    assert world.registry.tags(FAN, "2")["release.gateways"] == f"{len(first)} of {len(first)} healthy, stage 1 of 3"
    later(world)
    report(world)
    assert world.act() == "advanced"
    assert set(first) < set(in_stage(world))
    later(world)
    report(world)
    assert world.act() == "advanced"
    release = world.released()
    assert (release.number, release.stage, release.share, release.before) == (2, 3, 1.0, None)
    report(world)
    (outcome,) = world.run()
    assert (outcome.action, outcome.spreading) == ("unchanged", "")
    assert world.registry.tags(FAN, "2")["release.gateways"] == "40 of 40 healthy, stage 3 of 3"
    assert [(entry.outcome, entry.number, entry.stage) for entry in world.ledger()] == [
        ("released", 1, 1),
        ("released", 2, 1),
        ("advanced", 2, 2),
        ("advanced", 2, 3),
    ]


def test_the_bundle_before_stays_published_until_nobody_runs_it(world):
    world.run()
    published = Publisher(world.store, world.keys).read("bundles/")
    assert {digest_of(data) for data in published.values()} == {digest_of(FIRST), digest_of(SECOND)}
    for _ in range(2):
        later(world)
        report(world)
        world.run()
    published = Publisher(world.store, world.keys).read("bundles/")
    assert {digest_of(data) for data in published.values()} == {digest_of(SECOND)}


def test_a_stage_waits_for_gateways_that_have_not_changed_yet(world):
    world.run()
    release = world.released()
    report(world)
    lagging = in_stage(world)[:2]
    later(world, 2)
    report(world)
    for name in lagging:
        old = {**_document(world, name), "number": 1, "version": "1", "bundle": digest_of(FIRST)}
        world.store.put(f"reports/fans/{name}.json", json.dumps(old).encode())
    (outcome,) = world.run()
    assert outcome.action == "waiting"
    assert "are needed" in outcome.reason
    assert world.released().stage == release.stage


def _document(world: World, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(world.store.get(f"reports/fans/{name}.json"))
    return found


def test_silent_gateways_hold_up_nobody_and_count_for_nothing(world):
    world.run()
    report(world)
    later(world, 2)
    report(world, silent=tuple(in_stage(world)[1:]))
    assert world.act() == "advanced"


def test_without_a_single_report_of_the_stage_it_does_not_go_on(world):
    world.run()
    report(world)
    later(world, 2)
    report(world, silent=tuple(in_stage(world)))
    (outcome,) = world.run()
    assert (outcome.action, outcome.reason) == ("waiting", "no gateway of stage 1 reports")


def test_an_abort_is_told_although_the_published_files_were_set_back(world):
    world.run()
    before = {key: data for key, data in world.store.objects.items() if key.startswith("updates/")}
    for version in ("1", "2"):
        world.registry.set_champion(FAN, version)
        world.run()
    for key in [key for key in world.store.objects if key.startswith("updates/")]:
        world.store.delete(key)
    for key, data in before.items():
        world.store.put(key, data)
    report(world)
    world.registry.control(FAN, "abort", "smoke")
    (outcome,) = world.run()
    assert outcome.action == "aborted"
    assert world.ledger()[-1].outcome == "aborted"
    assert world.released().number == world.ledger()[-1].number == 5


def test_a_use_case_that_has_fewer_stages_by_now_ends_with_the_next(world):
    world.policy = replace(STAGED, stages=(0.2, 0.6, 0.8, 1.0))
    world.run()
    later(world)
    report(world)
    world.run()
    assert world.released().stage == 2
    world.policy = Rollout(stages=(0.1, 1.0), soak=timedelta(0))
    report(world)
    assert world.act() == "advanced"
    release = world.released()
    assert (release.share, release.complete) == (1.0, True)


def test_a_share_never_shrinks_within_a_release(world):
    world.run()
    world.policy = replace(STAGED, stages=(0.01, 0.05, 1.0))
    later(world)
    report(world)
    assert world.act() == "advanced"
    assert world.released().share == 0.2


def test_too_many_that_fall_back_abort_and_all_run_the_version_before(world):
    world.run()
    failing = tuple(in_stage(world)[:1])
    report(world, failing=failing)
    (outcome,) = world.run()
    assert outcome.action == "aborted"
    assert "1 of" in outcome.reason
    release = world.released()
    assert (release.number, release.version, release.bundle, release.complete) == (3, "1", digest_of(FIRST), True)
    tags = world.registry.tags(FAN, "2")
    assert tags["release.status"] == "aborted"
    assert "failed" in tags["release.refused"]
    assert world.registry.tags(FAN, "1")["release.status"] == "released"
    last = world.ledger()[-1]
    assert (last.outcome, last.from_version, last.to_version) == ("aborted", "2", "1")


def test_an_aborted_version_stays_refused_until_the_alias_was_moved_away(world):
    world.run()
    report(world, failing=tuple(in_stage(world)[:1]))
    world.run()
    (outcome,) = world.run()
    assert outcome.action == "refused"
    assert "move the alias away and back" in outcome.reason
    before = world.store.objects
    world.run()
    assert world.store.objects == before
    world.registry.set_champion(FAN, "1")
    assert world.act() == "unchanged"
    world.registry.set_champion(FAN, "2")
    assert world.act() == "released"
    assert world.released().number == 4
    assert [entry.outcome for entry in world.ledger()][-3:] == ["aborted", "unchanged", "released"]


def test_a_stage_that_a_wrong_clock_began_in_the_future_begins_anew(world):
    later(world, 24 * 3650)
    world.registry.set_champion(FAN, world.train(SECOND, at_us=world.now_us))
    assert world.act() == "released"
    later(world, -24 * 3650)
    report(world)
    (outcome,) = world.run()
    assert outcome.reason == "stage 1 begins anew: a clock ran ahead"
    later(world)
    report(world)
    assert world.act() == "advanced"


# --- what people want -----------------------------------------------------------------------------------------------


def test_a_pause_holds_until_it_is_taken_back_and_both_are_told(world):
    world.run()
    later(world, 2)
    report(world)
    world.registry.control(FAN, "pause", "crane test on Friday", "ada")
    assert world.act() == "waiting"
    assert world.act() == "waiting"
    assert world.released().stage == 1
    world.registry.clear_control(FAN)
    assert world.act() == "advanced"
    told = [(entry.outcome, entry.promoted_by, entry.reason) for entry in world.ledger()[2:4]]
    assert told == [("paused", "ada", "ada: paused: crane test on Friday"), ("resumed", "", "")]


def test_a_reason_without_a_word_is_told_once_with_what_is_done_next(world):
    world.run()
    later(world, 2)
    report(world)
    world.registry.control(FAN, "pause", "crane test", "ada")
    world.run()
    world.registry.control(FAN, "", "crane test is over", "ben")
    assert world.act() == "advanced"
    world.registry.control(FAN, "", "smells of smoke", "ada")
    world.registry.set_champion(FAN, "1")
    assert world.act() == "rolled_back"
    (wanted,) = world.registry.wanted()
    assert wanted.control.reason == ""
    told = [(entry.outcome, entry.reason) for entry in world.ledger()[2:]]
    assert told == [
        ("paused", "ada: paused: crane test"),
        ("resumed", "ben: crane test is over"),
        ("advanced", ""),
        ("rolled_back", "ada: smells of smoke"),
    ]


def test_the_reason_of_a_pause_is_none_for_going_on(world):
    world.run()
    later(world, 2)
    report(world)
    world.registry.control(FAN, "pause", "crane test", "ada")
    world.run()
    world.registry.control(FAN, "", "crane test", "ada")  # only the word was removed
    world.run()
    assert [entry.reason for entry in world.ledger() if entry.outcome == "resumed"] == [""]


def test_a_word_nobody_knows_pauses_and_says_so(world):
    world.run()
    later(world, 2)
    report(world)
    world.registry.control(FAN, "hold it")
    (outcome,) = world.run()
    assert outcome.reason == "paused (hold it): no reason was given"


def test_an_abort_by_hand_goes_back_and_is_not_repeated(world):
    world.run()
    report(world)
    world.registry.control(FAN, "abort", "smoke", "ada")
    (outcome,) = world.run()
    assert (outcome.action, outcome.reason) == ("aborted", "ada: smoke")
    assert world.released().version == "1"
    (wanted,) = world.registry.wanted()
    assert wanted.control.word == ""


def test_a_version_whose_rollout_was_aborted_is_released_when_it_is_tried_again(world):
    world.run()
    report(world)
    world.registry.control(FAN, "abort", "smoke", "ada")
    world.run()
    done = []
    for version in "121":
        world.registry.set_champion(FAN, version)
        done.append(world.act())
    assert done == ["unchanged", "released", "rolled_back"]


def test_an_abort_that_was_left_over_does_not_hit_the_next_release(world):
    for _ in range(3):
        world.run()
        later(world)
        report(world)
    assert world.released().complete
    world.registry.control(FAN, "abort", "too late")
    world.registry.set_champion(FAN, "1")
    assert world.act() == "rolled_back"
    report(world)
    assert world.act() == "waiting"


def test_another_alias_during_a_rollout_starts_from_what_served_everywhere(world):
    world.run()
    world.registry.set_champion(FAN, "1")
    assert world.act() == "rolled_back"
    release = world.released()
    assert release.before is not None
    assert (release.version, release.before.version, release.stage) == ("1", "1", 1)


# --- approvals ------------------------------------------------------------------------------------------------------


def answer(world: World, stage: int, by: str, *, approved: bool = True, number: int = 2) -> None:
    question = Question(FAN, number, stage, digest_of(SECOND))
    consent = Consent(question, approved, by, "looked at it", world.now_us)
    write(world.store, consent, Publisher(world.store, world.keys).seal)


def test_each_stage_waits_for_its_approval(world):
    world.policy = replace(STAGED, approval="each")
    (outcome,) = world.run()
    assert (outcome.action, outcome.reason) == ("waiting", "stage 1 of 3 of release 2 waits for an approval")
    assert outcome.question == Question(FAN, 2, 1, digest_of(SECOND))
    assert world.released().number == 1
    assert world.registry.tags(FAN, "2")["release.status"] == "waiting"
    answer(world, 1, "ben")
    assert world.act() == "released"
    later(world)
    report(world)
    assert world.act() == "waiting"
    answer(world, 2, "ben", approved=False)
    (outcome,) = world.run()
    assert (outcome.action, outcome.reason) == ("waiting", "ben: declined stage 2 of 3 of release 2: looked at it")
    assert (outcome.question is not None, outcome.asks) == (True, False)
    answer(world, 2, "eve")
    assert world.act() == "advanced"
    assert [(entry.approved_by, entry.reason) for entry in world.ledger()] == [
        ("", ""),
        ("ben", "looked at it"),
        ("eve", "looked at it"),
    ]


def test_another_version_waits_in_place_of_the_one_that_waited(world):
    world.policy = replace(STAGED, approval="first")
    world.run()
    world.registry.set_champion(FAN, world.train(packed(bias=1.0)))
    (outcome,) = world.run()
    assert (outcome.action, outcome.version) == ("waiting", "3")
    assert world.registry.tags(FAN, "3")["release.status"] == "waiting"
    assert "release.status" not in world.registry.tags(FAN, "2")


def test_a_declined_first_stage_is_refused_where_the_engineer_looks(world):
    world.policy = replace(STAGED, approval="first")
    world.run()
    answer(world, 1, "ben", approved=False)
    assert world.act() == "refused"
    assert world.released().version == "1"
    assert "ben: declined" in world.registry.tags(FAN, "2")["release.refused"]
    answer(world, 1, "ben")
    assert world.act() == "released"


def test_of_two_people_nobody_approves_alone(world):
    world.policy = replace(STAGED, two_people=True)
    (outcome,) = world.run()
    assert "approved_by" in outcome.reason
    world.registry.write_tags(FAN, "2", {"approved_by": "Ada"})
    answer(world, 1, "ada")
    (outcome,) = world.run()
    assert outcome.action == "waiting"
    assert "another person" in outcome.reason
    answer(world, 1, "ben")
    assert world.act() == "released"
    last = world.ledger()[-1]
    assert (last.promoted_by, last.approved_by) == ("Ada", "ben")


def test_an_approval_that_somebody_forged_does_not_count(world):
    world.policy = replace(STAGED, approval="first")
    world.run()
    answer(world, 1, "ben")
    key = Question(FAN, 2, 1, digest_of(SECOND)).key
    world.store.put(key, world.store.get(key).replace(b'"ben"', b'"eve"'))
    (outcome,) = world.run()
    assert outcome.action == "waiting"
    assert "was not written by this program" in outcome.reason


def test_an_approval_of_another_bundle_does_not_count(world):
    world.policy = replace(STAGED, approval="first")
    world.run()
    answer(world, 1, "ben")
    other = world.train(FIRST)
    world.registry.set_champion(FAN, other)
    assert world.act() == "waiting"


# --- reports --------------------------------------------------------------------------------------------------------


def test_reports_that_have_not_changed_are_read_once(world):
    world.run()
    report(world)
    reader = ReportReader(world.store)
    first = reader.read()
    assert len(first) == len(NAMES)
    again = reader.read()
    assert all(one is other for one, other in zip(first, again, strict=True))


def test_what_is_no_report_is_told_as_such(world):
    world.run()
    world.store.put("reports/fans/odd.json", b"{")
    (found,) = ReportReader(world.store).read()
    assert (found.gateway, found.state) == ("odd", "unreadable")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "current"),
        ({"number": 1, "bundle": digest_of(FIRST)}, "updating"),
        ({"number": 1, "bundle": digest_of(FIRST), "reason": "no space"}, "failed"),
        ({"process": "stopped"}, "stopped"),
        ({"at_us": NOW - HOUR_US}, "silent"),
    ],
)
def test_where_a_gateway_stands(world, change, expected):
    world.policy = Rollout()
    world.run()
    said = Report("kiln-1", "fans", FAN, NOW, "serving", version="2", number=2, bundle=digest_of(SECOND), wanted=2)
    assert standing(replace(said, **change), world.released(), NOW) == expected


def test_a_report_of_an_older_program_can_be_read():
    said = parse("fans", {"id": "k", "usecase": FAN, "at": "2026-01-01T00:00:00Z", "state": "serving", "version": "1",
                          "predictions": 3})  # fmt: skip
    assert (said.gateway, said.number, said.wanted, said.updates) == ("k", 0, 0, "unknown")
    assert (said.values, said.missing, said.disk_free_share, said.temperature_c) == (0, 0, None, None)


def test_a_report_of_a_newer_program_can_be_read():
    known = document("k", None, NOW)
    newer = {**known, "format": 2, "wind": {"speed": 3}, "features": {**known["features"], "stale": 1}}
    assert parse("fans", newer) == parse("fans", known)


def test_what_the_version_before_was_shown_is_not_told_of_the_next():
    said = document("k", None, NOW, version="2", bundle="sha256:bb")
    counts = {"values": 100, "missing": 3}
    told = parse("fans", {**said, "features": {"bundle": "sha256:bb", **counts}})
    assert (told.values, told.missing) == (100, 3)
    told = parse("fans", {**said, "features": {"bundle": "sha256:aa", **counts}})
    assert (told.values, told.missing) == (0, 0)


def test_a_rollout_without_gateways_goes_on_by_time(world):
    world.run()
    advice = advise(world.released(), STAGED, spread([], world.released(), NOW), NOW + 2 * HOUR_US)
    assert advice.step == "advance"


@pytest.mark.parametrize(
    ("current", "updating", "failed", "said"),
    [
        (0, 1, 0, "0 of 1 gateway are healthy, 90% are needed"),
        (1, 1, 0, "1 of 2 gateways is healthy, 90% are needed"),
        (2, 38, 0, "2 of 40 gateways are healthy, 90% are needed"),
        (0, 0, 1, "1 of 1 gateway of stage 1 failed, at most 10% may"),
    ],
)
def test_gateways_are_counted_in_words_that_fit_the_number(world, current, updating, failed, said):
    world.run()
    found = Spread({**dict.fromkeys(STANDINGS, 0), "current": current, "updating": updating, "failed": failed})
    assert advise(world.released(), STAGED, found, NOW + 2 * HOUR_US).reason == said


@pytest.mark.parametrize(
    "wrong",
    [{"stages": ()}, {"stages": (0.5,)}, {"stages": (0.5, 0.2, 1.0)}, {"healthy": 0.0}, {"failing": 1.0},
     {"soak": timedelta(hours=-1)}, {"approval": "maybe"}, {"answer_within": timedelta(0)}],
)  # fmt: skip
def test_a_rollout_that_cannot_be_followed_is_refused_where_it_is_declared(wrong):
    with pytest.raises(PolicyError, match=next(iter(wrong))):
        Rollout(**wrong)


# --- power cuts -----------------------------------------------------------------------------------------------------


def advance(world: World) -> None:
    later(world)
    report(world)


def fail(world: World) -> None:
    report(world, failing=tuple(in_stage(world)[:1]))


def abort(world: World) -> None:
    report(world)
    world.registry.control(FAN, "abort", "smoke", "ada")


def pause(world: World) -> None:
    report(world)
    world.registry.control(FAN, "pause", "crane test", "ada")


def last_stage(world: World) -> None:
    later(world)
    report(world)
    world.run()
    later(world)
    report(world)


@pytest.mark.parametrize("step", [advance, last_stage, fail, abort, pause])
def test_a_power_cut_after_any_write_of_a_rollout_is_finished_by_the_next_run(keys, tmp_path, step):
    def prepared(folder) -> World:
        made = World(keys, folder)
        made.registry.set_champion(FAN, made.train(FIRST))
        made.run()
        made.policy = STAGED
        made.registry.set_champion(FAN, made.train(SECOND))
        made.run()
        step(made)
        return made

    def visible(world: World) -> object:
        ledger = [(e.outcome, e.number, e.stage, e.from_version, e.to_version, e.reason) for e in world.ledger()]
        return world.serves(), ledger, [world.registry.tags(FAN, version) for version in "12"], world.registry.wanted()

    undisturbed = prepared(tmp_path / "undisturbed")
    undisturbed.run()
    undisturbed.run()
    for writes in count():
        world = prepared(tmp_path / str(writes))
        try:
            world.run(Budget(writes))
        except PowerCut:
            world.run()
            world.run()
            assert visible(world) == visible(undisturbed)
        else:
            assert writes >= 2
            return
