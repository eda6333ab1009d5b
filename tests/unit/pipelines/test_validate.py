import json
from typing import Any

import numpy as np

from features.schema import Reason
from pipelines.formats import decode
from pipelines.records import Decoded
from pipelines.validate import believe
from tests.fakes.fleets import DAY_US, FANS, HOUR_US, NOON_US, reading


def judge(*messages: Any, clock_us: int = NOON_US) -> Decoded:
    data = b"\n".join(json.dumps(each).encode() for each in messages)
    return believe(FANS, decode(data, FANS.mapping, FANS.signal_names), clock_us)


def test_a_record_is_judged_by_the_stamp_of_its_hub():
    old = NOON_US - 40 * DAY_US
    judged = judge(reading("a", old, received_us=old), reading("b", old, received_us=NOON_US))
    assert judged.device.to_pylist() == ["a"]
    assert judged.received.tolist() == [old]
    assert [reject.reason for reject in judged.rejects] == [Reason.TOO_OLD]


def test_a_record_without_a_stamp_is_judged_by_the_clock():
    judged = judge(reading("a", NOON_US - HOUR_US), reading("b", NOON_US + HOUR_US))
    assert judged.received.tolist() == [NOON_US]
    assert [reject.reason for reject in judged.rejects] == [Reason.IN_THE_FUTURE]


def test_every_reason_keeps_the_bytes_of_its_record():
    bad = [reading("a", NOON_US, speed=9e9), reading("b", NOON_US, values={}), reading("c", NOON_US, speed=-1.0)]
    judged = judge(reading("good", NOON_US), *bad)
    assert judged.device.to_pylist() == ["good"]
    assert [json.loads(reject.data) for reject in judged.rejects] == bad
    assert [reject.reason for reject in judged.rejects] == [Reason.OUT_OF_RANGE, Reason.NO_SIGNALS, Reason.OUT_OF_RANGE]
    assert [reject.ordinal for reject in judged.rejects] == [1, 2, 3]


def test_one_missing_signal_is_no_fault():
    judged = judge(reading("a", NOON_US, values={"speed": 5}))
    assert np.isnan(judged.values[0, 1])
    assert not judged.rejects


def test_absurd_stamps_do_not_wrap_around():
    judged = judge(reading("a", NOON_US, received=2**62), reading("b", NOON_US, received=-(2**62)))
    assert judged.received.tolist() == [NOON_US, NOON_US]
    assert not judged.rejects
