"""Every way an alias can be answered, as a table of sentences."""

import re
from dataclasses import replace

import pytest

from features.schema import Mapping
from serving.approval import Desired, GateRecord
from serving.bundle import digest_of
from serving.decision import DAY_US, decide
from serving.release import Release, bundle_path
from tests.fakes.bundles import FEATURES, FLEET, packed

NOW = 1_790_000_000_000_000
BUNDLE, OTHER = packed(), packed(bias=0.5)
DIGEST = digest_of(BUNDLE)
WANTED = Desired("fan_failure", "4", BUNDLE, DIGEST)
NOBODY = Desired("fan_failure", None, None)
PASSED = GateRecord("fan_failure", DIGEST, True, (), NOW - DAY_US)
SERVES = Release("fan_failure", 7, "4", DIGEST, bundle_path(DIGEST), NOW, ("gateway", "cloud"))
BEFORE = Release("fan_failure", 6, "3", digest_of(OTHER), bundle_path(digest_of(OTHER)), NOW, ("cloud",))
GONE = Release("fan_failure", 8, "", "", "", NOW)
TORN = BUNDLE[:-1]
STORED = packed(features=replace(FEATURES, fleet=replace(FLEET, mapping=Mapping(body="Body"))))

CASES = {
    "a passed champion is released": (WANTED, None, PASSED, "released", "^$"),
    "it replaces another version": (WANTED, BEFORE, PASSED, "released", "^$"),
    "it returns after a withdrawal": (WANTED, GONE, PASSED, "released", "^$"),
    "the same bytes under another version are released again": (
        replace(WANTED, version="5"),
        SERVES,
        PASSED,
        "released",
        "^$",
    ),
    "what serves already is unchanged": (WANTED, SERVES, PASSED, "unchanged", "^$"),
    "what serves stays although its gate record is old": (
        WANTED,
        SERVES,
        replace(PASSED, decided_at_us=0),
        "unchanged",
        "^$",
    ),
    "what serves stays although its gate record is gone": (WANTED, SERVES, None, "unchanged", "^$"),
    "without an alias nothing is released": (NOBODY, None, None, "unchanged", "^$"),
    "a removed alias withdraws": (NOBODY, SERVES, None, "withdrawn", "the alias was removed from version 4"),
    "a withdrawn one stays withdrawn": (NOBODY, GONE, None, "unchanged", "^$"),
    "no bundle means registered by hand": (
        Desired("fan_failure", "4", None),
        BEFORE,
        None,
        "refused",
        "registered by hand",
    ),
    "no gate record": (WANTED, None, None, "refused", "no gate has judged this bundle"),
    "a failed gate gives its reasons": (
        WANTED,
        None,
        replace(PASSED, passed=False, reasons=("recall 0.4 is below 0.6", "flips 3 labels")),
        "refused",
        "the gate refused it: recall 0.4 is below 0.6; flips 3 labels",
    ),
    "changed bytes": (replace(WANTED, bundle=OTHER), None, PASSED, "refused", "was changed after it was registered"),
    "changed bytes of what serves": (replace(WANTED, bundle=OTHER), SERVES, PASSED, "refused", "was changed after"),
    "changed bytes that nobody noted have no gate record": (
        Desired("fan_failure", "4", OTHER),
        None,
        PASSED,
        "refused",
        "judged another bundle",
    ),
    "a record of another use case": (
        WANTED,
        None,
        replace(PASSED, usecase="pump_failure"),
        "refused",
        "of pump_failure",
    ),
    "a gate decision of 90 days ago is fresh": (
        WANTED,
        None,
        replace(PASSED, decided_at_us=NOW - 90 * DAY_US),
        "released",
        "^$",
    ),
    "a microsecond more is stale": (
        WANTED,
        None,
        replace(PASSED, decided_at_us=NOW - 90 * DAY_US - 1),
        "refused",
        "more than 90 days ago",
    ),
    "a clock that is a little ahead is forgiven": (
        WANTED,
        None,
        replace(PASSED, decided_at_us=NOW + 60_000_000),
        "released",
        "^$",
    ),
    "a decision from the future would never grow stale": (
        WANTED,
        None,
        replace(PASSED, decided_at_us=NOW + DAY_US),
        "refused",
        "in the future",
    ),
    "a decision from beyond the calendar": (
        WANTED,
        None,
        replace(PASSED, decided_at_us=10**30),
        "refused",
        "in the future",
    ),
    "a bundle that cannot be opened": (
        Desired("fan_failure", "4", TORN),
        None,
        replace(PASSED, digest=digest_of(TORN)),
        "refused",
        "cannot be opened",
    ),
    "a bundle built for another use case": (
        replace(WANTED, usecase="pump_failure"),
        None,
        replace(PASSED, usecase="pump_failure"),
        "refused",
        "was built for fan_failure",
    ),
    "a fleet that only storage can read, on a gateway": (
        replace(WANTED, bundle=STORED, digest=digest_of(STORED)),
        None,
        replace(PASSED, digest=digest_of(STORED)),
        "refused",
        r"a gateway cannot read by the mapping of fans \(body\): declare what devices send",
    ),
    "a model whose name is no use case": (
        replace(WANTED, usecase="../Fan"),
        None,
        PASSED,
        "refused",
        "is no name of a use case",
    ),
}


@pytest.mark.parametrize(("desired", "actual", "gate", "action", "reason"), CASES.values(), ids=CASES.keys())
def test_an_alias_is_answered(desired, actual, gate, action, reason):
    decision = decide(desired, actual, gate, NOW)
    assert decision.action == action
    assert re.search(reason, decision.reason)
    if action == "released":
        assert (decision.digest, decision.placements) == (DIGEST, ("gateway", "cloud"))
    if action == "refused":
        assert decision.placements == ()


def test_the_age_is_a_parameter():
    assert decide(WANTED, None, PASSED, NOW, max_gate_age_us=DAY_US - 1).action == "refused"
    assert decide(WANTED, None, PASSED, NOW, max_gate_age_us=DAY_US).action == "released"


def test_the_reason_of_a_refusal_is_the_same_on_each_day():
    stale = replace(PASSED, decided_at_us=0)
    assert decide(WANTED, None, stale, NOW) == decide(WANTED, None, stale, NOW + DAY_US)
