"""The scanner agrees with the json module on whatever it reads, and refuses what it must."""

import json
import math
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import jsonscan
from pipelines.jsonscan import REAL, TEXT, WHOLE, Scanner

pytestmark = pytest.mark.skipif(not jsonscan.available(), reason="there is no C compiler on this machine")

PATHS = {"id": TEXT, "at": WHOLE, "values.flow": REAL, "values.deep.er": REAL, "note": TEXT}
SCANNER = Scanner({tuple(path.split(".")): kind for path, kind in PATHS.items()})
PATIENT = settings(
    suppress_health_check=[HealthCheck.too_slow], deadline=None
)  # the first text of a run takes seconds to think up


def read(*objects: str | bytes) -> tuple[list[list[Any]], list[int]]:
    """Rows, None for what is missing, and the counts."""
    data = [each.encode() if isinstance(each, str) else each for each in objects]
    found = SCANNER.read(data)
    columns = [column.to_pylist() for column in found.columns]
    rows = [[None if isinstance(v, float) and math.isnan(v) else v for v in row] for row in zip(*columns, strict=True)]
    return rows, found.counts.tolist()


def expected(record: dict[str, Any]) -> list[Any]:
    row = []
    for path, kind in PATHS.items():
        value: Any = record
        for step in path.split("."):
            value = None if value is None else value.get(step)
        row.append(float(value) if kind == REAL and value is not None else value)
    return row


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**25), 10**25),
    st.decimals(-1000, 1000, places=3).map(float),
)
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters='"\\', min_codepoint=32), max_size=12)
JUNK = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.none() | PLAIN,
        "at": st.none() | st.integers(-(10**18) + 1, 10**18 - 1),
        "values": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "flow": st.none() | NUMBERS,
                "deep": st.none() | st.fixed_dictionaries({}, optional={"er": NUMBERS, "x": JUNK}),
                "other": JUNK,
            },
        ),
        "note": st.none() | PLAIN,
        "extra": JUNK,
    },
)


@PATIENT
@given(st.lists(RECORDS, max_size=6), st.sampled_from(["", "\n", " \r\n\t", ",\n"]), st.sampled_from([None, 1]))
def test_it_reads_what_the_json_module_reads(records, between, indent):
    body = between.join(json.dumps(record, ensure_ascii=False, indent=indent) for record in records)
    rows, counts = read(body)
    assert counts == [len(records)]
    assert rows == [expected(record) for record in records]


@PATIENT
@given(st.lists(RECORDS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_what_it_takes_of_damaged_text_is_what_the_json_module_takes(records, chance: random.Random):
    body = bytearray("\n".join(map(json.dumps, records)).encode())
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(body) + 1)
        body[place : place + chance.randint(0, 4)] = bytes(chance.choices(b'{}[]",:\\0123456789-+.eEntf \n\0', k=2))
    rows, counts = read(bytes(body))
    assert counts[0] >= 0 or not rows
    text, position = body.decode(), 0
    for row in rows:
        position += len(text[position:]) - len(text[position:].lstrip(" \n\r\t,[]"))
        record, position = json.JSONDecoder().raw_decode(text, position)
        assert row == expected(record)
    assert counts[0] < 0 or not text[position:].strip(" \n\r\t,[]")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{"id": "a\\u0041"}', "an escape in a text that is asked for"),
        ('{"i\\u0064": "a"}', "an escape in a name"),
        ('{"id": 7}', "a number for a text"),
        ('{"at": 1.0}', "a real number for a whole one"),
        ('{"at": 1234567890123456789}', "nineteen digits"),
        ('{"at": 01}', "a leading zero"),
        ('{"values": 5}', "a number for an object"),
        ('{"values": {"flow": true}}', "a truth value for a number"),
        ('{"values": {"flow": NaN}}', "no JSON"),
        ('{"values": {"flow": 1.}}', "no digits behind the point"),
        ('{"values": {"flow": +1}}', "a plus in front"),
        ('{"id": "a", "id": "b"}', "a field twice"),
        ('{"values": {}, "values": {}}', "an inner object twice"),
        ('{"id": "a"', "a record cut off"),
        ('{"id": "a"} x', "text behind"),
        ("null", "no object"),
        ('{"x": "\x01"}', "a control character"),
        ('{"x": "\\q"}', "an unknown escape"),
        ('{"x": "\\u12g4"}', "a broken escape"),
        ('{"x": ' + "[" * 65 + "]" * 65 + "}", "too deep"),
        ("\ufeff{}", "a byte order mark"),
        ("{}\0", "a NUL"),
    ],
)
def test_it_refuses_a_whole_object_for(body, why):
    rows, counts = read('{"id": "before"}', '{"id": "rolled back"}' + body, '{"id": "after"}')
    assert counts == [1, -1, 1], why
    assert [row[0] for row in rows] == ["before", "after"]


def test_numbers_are_the_nearest_there_are():
    chance = random.Random(5)
    texts = [repr(chance.uniform(-1, 1) * 10.0 ** chance.randint(-320, 308)) for _ in range(3000)]
    texts += ["9007199254740993", "9007199254740992.5", "1e400", "-1e400", "1e-400", "-0.0", "0e5", "1" * 400]
    texts += ["4.35", "0.1", "123456789012345678901234567890e-20", "2.2250738585072011e-308", "1e22", "1e23", "5e-324"]
    rows, _ = read("".join(f'{{"values": {{"flow": {text}}}}}' for text in texts))
    for text, row in zip(texts, rows, strict=True):
        assert (row[2], math.copysign(1, row[2])) == (float(text), math.copysign(1, float(text))), text


def test_many_short_records_get_more_room():
    rows, counts = read("{}" * 5000, '{"id":"x"}' * 3000)
    assert counts == [5000, 3000]
    assert rows[4999] == [None] * 5
    assert rows[7999][0] == "x"


def test_a_path_that_leads_through_another_is_refused():
    with pytest.raises(ValueError, match="leads through"):
        Scanner({("a",): REAL, ("a", "b"): REAL})
    with pytest.raises(ValueError, match="leads through"):
        Scanner({("a", "b"): REAL, ("a",): REAL})
    with pytest.raises(ValueError, match="more than 64"):
        Scanner({(f"s{number}",): REAL for number in range(64)})


@pytest.mark.parametrize("digits", [18, 19, 20, 40])
def test_numbers_of_many_digits_are_exact(digits):
    for text in ("1" * digits, "0." + "7" * digits, "-" + "9" * (digits - 2) + ".25", "0." + "0" * digits + "5"):
        assert read(f'{{"values":{{"flow":{text}}}}}') == ([[None, None, float(text), None, None]], [1])


def test_a_name_that_would_need_an_escape_is_none_that_stands_there():
    odd = Scanner({('a"b',): REAL, ("c",): REAL})
    assert odd.read([b'{"a"b":1}', b'{"c":2}']).counts.tolist() == [-1, 1]


def test_a_strict_scanner_refuses_what_was_not_asked_for_at_any_depth():
    strict = Scanner({("id",): TEXT, ("values", "flow"): REAL}, strict=True)
    known = b'{"id": "a", "values": {"flow": 1}}'
    others = [b'{"id": "a", "fw": 1}', b'{"id": "a", "values": {"flow": 1, "rpm": 2}}']
    assert strict.read([known, *others]).counts.tolist() == [1, -1, -1]
