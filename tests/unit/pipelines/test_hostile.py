"""What somebody made to break a reader is put aside with a reason, in little memory; the sweep reads the large ones."""

import json

from tests.sweep.hostile import FAST, KINDS, read_in_child, vanished

MIB = 1 << 20
HARMLESS = {
    "CSV with NULs",
    "line protocol of backslashes",
    "minus infinity",
    "marks everywhere",
    "a marker of ours",
    "a huge integer",
    "a huge exponent",
    "deep where nobody looks",
}


def test_no_hostile_object_ends_the_reader_and_each_is_told_with_a_reason():
    assert len(KINDS) >= 60
    results = read_in_child(FAST, 768 * MIB)
    assert [result["kind"] for result in results] == list(FAST)
    assert [json.dumps(result) for result in results if vanished(result)] == []
    believed = {result["kind"] for result in results if result["rows"] and not result["reasons"]}
    assert believed <= HARMLESS, believed - HARMLESS
