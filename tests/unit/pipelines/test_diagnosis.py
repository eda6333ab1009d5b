import gzip

import pytest

from features.schema import Reason
from pipelines.diagnosis import contract, cure, heard, readable
from tests.fakes.fleets import FANS


def test_values_of_signals_are_found_where_they_stand_and_judged():
    data = (
        b'{"device": "a", "values": {"speed": 4000, "note": 1, "current": 7.5, "flag": true}, "list": [{"speed": -1}]}'
    )
    assert [str(each) for each in heard(FANS, data)] == [
        "speed = 4000 rpm, OUTSIDE 0 to 3000",
        "current = 7.5 A, within 0 to 50",
        "speed = -1 rpm, OUTSIDE 0 to 3000",
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * 5000,
        b'{"speed": NaN}',
        b'{"speed": 1' + b"0" * 400 + b"}",
        b'"' + b" " * 2**20 + b'"',
        b"3",
    ],
)
def test_nothing_is_found_in_what_says_nothing(data):
    assert heard(FANS, data) == []


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_cure(reason):
    assert "replay" in cure(reason.value) or "purge" in cure(reason.value)


def test_every_known_reason_has_a_cure_of_its_own():
    cures = [cure(reason.value) for reason in Reason]
    assert cures.count(cure("something else")) == 0
    assert contract(FANS, "too_old") == "a time may lie 30 days, 0:00:00 behind its receipt"
    assert contract(FANS, "burst_gaps") == ""


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b'{"a":"\xc3\xbc"}', ["{", '  "a": "ü"', "}"]),
        (b"device,ts\na,5", ["device,ts", "a,5"]),
        (b'{"a": ', ['{"a": ']),
        (bytes(range(20)), [bytes(range(16)).hex(" "), bytes(range(16, 20)).hex(" ")]),
        (gzip.compress(b"x,y", mtime=0), ["(gzip) unpacked:", "x,y"]),
        (gzip.compress(b"x" * 9, mtime=0)[:12], ["(gzip) unpacked:", "x"]),
        (b"\x1f\x8b\xff\x00", ["(gzip, damaged)", "1f 8b ff 00"]),
        (b"x" * 5000, ["x" * 4096, "… and 904 bytes more"]),
    ],
)
def test_bytes_are_shown_as_people_read_them(data, shown):
    assert readable(data) == shown


def test_a_bomb_is_not_unpacked():
    assert len("".join(readable(gzip.compress(bytes(2**26))))) < 5000
