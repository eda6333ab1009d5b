"""What happens to messages on their way: as often as asked, the same each time, and rejected for the reason said."""

import json
import math
from collections import Counter
from typing import Any

import pytest

from features import catalog
from pipelines.errors import ImportOptionError
from pipelines.formats import decode
from pipelines.importers.faults import LATEST_MS, SPOILT, Faults, Pace, deliveries, spoil
from pipelines.validate import believe

PACE = Pace(sampling_ms=60_000, late_after_ms=600_000)
NOON_MS = 1_763_985_600_000
ALL = Faults(late_share=0.1, duplicate_share=0.2, disorder_share=0.1, corrupt_share=0.05, seed=7)


def message(number: int) -> dict[str, Any]:
    return {"device": "pump-1", "ts": NOON_MS + number * 60_000, "values": {"flow": number / 7}}


def arriving(faults: Faults, count: int = 4000):
    for number in range(count):
        sent = message(number)
        yield sent["ts"], deliveries(sent, sent["ts"] + 250, PACE, faults)


def test_without_faults_a_message_arrives_once_as_it_was():
    ((sent, (one,)),) = arriving(Faults(), 1)
    assert json.loads(one.line) == message(0) | {"received": sent + 250}
    assert (one.received_ms, one.fault) == (sent + 250, None)


def test_each_fault_happens_as_often_as_asked():
    found = Counter(one.fault for _, several in arriving(ALL) for one in several)
    of_sound = 4000 * 0.95
    for fault, expected in {
        "spoilt": 200, "late": of_sound * 0.1, "overtaken": of_sound * 0.9 * 0.1, "duplicate": of_sound * 0.2,
    }.items():  # fmt: skip
        assert abs(found[fault] - expected) < 5 * math.sqrt(expected), fault


def test_each_fault_is_what_it_is_called():
    for sent, several in arriving(ALL):
        for one in several:
            assert json.loads(one.line)["received"] == one.received_ms if one.fault != "spoilt" else len(several) == 1
            if one.fault == "late":
                assert PACE.late_after_ms < one.received_ms - sent <= PACE.late_after_ms + 1 + LATEST_MS
            elif one.fault == "overtaken":
                assert PACE.sampling_ms < one.received_ms - sent <= 3 * PACE.sampling_ms + 251
            elif one.fault == "duplicate":
                assert 0 < one.received_ms - several[0].received_ms <= 61_000


def test_the_fate_of_a_message_follows_from_the_seed_and_itself_alone():
    whole, few = dict(arriving(ALL, 500)), dict(arriving(ALL, 300))
    assert few.items() <= whole.items()
    assert dict(arriving(Faults(late_share=0.1, seed=8), 500)) != dict(arriving(Faults(late_share=0.1, seed=7), 500))


@pytest.mark.parametrize("share", [-0.1, 0.51, math.nan])
@pytest.mark.parametrize("name", ["late_share", "duplicate_share", "disorder_share", "corrupt_share"])
def test_a_share_beyond_its_range_is_refused(name, share):
    with pytest.raises(ImportOptionError, match=f"{name} = .* is no share"):
        Faults(**{name: share})


@pytest.mark.parametrize("how", range(len(SPOILT)), ids=[name for name, _ in SPOILT])
@pytest.mark.parametrize("fleet", catalog.names())
def test_every_fleet_rejects_every_spoilt_message_for_its_reason(fleet, how):
    declared = catalog.load(fleet).fleet
    values: dict[str, object] = {signal.name: (signal.low + signal.high) / 2 for signal in declared.signals}
    if declared.bursts:
        values = {burst.samples: [0.5, -0.5] * (burst.segment // 2) for burst in declared.bursts}
    sent = {"device": "d", "ts": NOON_MS, "values": values}
    line = deliveries(sent, NOON_MS + 250, PACE, Faults())[0].line
    body = (line + spoil(line, how)).encode()
    judged = believe(declared, decode(body, declared.mapping, declared.signal_names, bursts=declared.bursts), 0)
    assert [reject.reason for reject in judged.rejects] == [SPOILT[how][1]]
    assert len(judged.times) == 1
