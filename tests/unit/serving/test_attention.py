"""What needs attention, in words that fit one gateway and several."""

from dataclasses import replace

import pytest

from serving.attention import attention
from serving.evidence import Monitoring
from serving.muster import Paces, count, look
from serving.reports import Report

NOW = 1_790_000_000_000_000
HOUR_US = 3_600_000_000


@pytest.mark.parametrize(
    ("said", "one", "two"),
    [
        ({"clock": "unsynced"}, "has a clock that is not set", "have a clock that is not set"),
        ({"updates": "unreachable"}, "does not get the releases: unreachable", "do not get the releases: unreachable"),
        ({"pending": 1000}, "keeps 1,000 predictions or more", "keep 1,000 predictions or more"),
        ({"disk_free_share": 0.04}, "has less than 5% of the disk free", "have less than 5% of the disk free"),
        ({"at_us": NOW - 3 * HOUR_US}, "did not report for 3 h", "did not report for 10 minutes, the longest g-1, 3 h"),
    ],
)
def test_one_gateway_is_named_and_several_are_counted(said, one, two):
    heard = [Report(name, "pumps", "pump_failure", NOW, "serving") for name in ("g-1", "g-2")]
    for many, expected in ((1, f"gateway g-1 {one}"), (2, f"2 gateways {two}")):
        seen = look([replace(each, **said) for each in heard[:many]], None, Paces(), NOW)
        (line,) = attention({}, None, seen, count(seen, NOW), retraining=None, now_us=NOW)
        assert line.sentence.startswith(expected)


@pytest.mark.parametrize("free", [None, 0.05, 1.0])
def test_a_disk_with_room_or_of_which_nobody_told_needs_no_attention(free):
    seen = look([Report("g-1", "pumps", "pump_failure", NOW, "serving", disk_free_share=free)], None, Paces(), NOW)
    assert attention({}, None, seen, count(seen, NOW), retraining=None, now_us=NOW) == []


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (("flow stands still on 3 of 9 devices",), "monitoring finds: flow stands still on 3 of 9 devices"),
        (("flow stands still", "5 of 9 predictions are late"), "monitoring finds: flow stands still, and 1 more"),
    ],
)
def test_what_monitoring_finds_unsound_needs_attention(findings, said):
    found = Monitoring("k", NOW, "1", 9, 9, 0.5, "", 3, (), (), None, findings=findings)
    (line,) = attention({}, None, [], None, monitoring=found, retraining=None, now_us=NOW)
    assert (line.kind, line.sentence) == ("unsound", said)
    assert attention({}, None, [], None, monitoring=replace(found, findings=()), retraining=None, now_us=NOW) == []


def test_a_refused_version_is_told_without_saying_refused_twice():
    status = {"action": "refused", "wanted": "3", "reason": "the gate refused it: too few"}
    (line,) = attention(status, None, [], None, retraining=None, now_us=NOW)
    assert line.sentence == "version 3 is not released: the gate refused it: too few"
