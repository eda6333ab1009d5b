import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from features.errors import FleetError
from features.mapping import Long, Mapping
from features.path import Entries, Field, Items, Pick, parse, parse_sum
from features.schema import Fleet, Reason, Signal, check_devices, check_readings

DAY = timedelta(days=1)
VANS = Fleet("vans", "", (Signal("speed", "km/h", 0, 130), Signal("load", "kg", 0, 900)), DAY, DAY, DAY, DAY)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", (Field("a"),)),
        ("a.b-c", (Field("a"), Field("b-c"))),
        ('"a.b".c', (Field("a.b"), Field("c"))),
        ('x."iothub + id"', (Field("x"), Field("iothub + id"))),
        ("metrics[]", (Field("metrics"), Items())),
        ("[]", (Items(),)),
        ("{dev}[]", (Entries("dev"), Items())),
        ("Payload{tag}", (Field("Payload"), Entries("tag"))),
        ("a[k=device.id].v", (Field("a"), Pick("k", "device.id"), Field("v"))),
        ("Volume Flow", (Field("Volume Flow"),)),
    ],
)
def test_a_path_is_its_steps(text, steps):
    assert parse(text) == steps


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a[", "a]", "{", "a{1}", 'a"b"', '"', "a[=x]", "x." * 40 + "x"]
)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(FleetError, match="is no path"):
        parse(text)


def test_a_plus_adds_unless_it_is_quoted():
    assert parse_sum("sec+ns") == ((Field("sec"),), (Field("ns"),))
    assert parse_sum('"a+b"') == ((Field("a+b"),),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time_unit": "min"}, "no unit of time"),
        ({"received_unit": "min"}, "no unit of time"),
        ({"device": ""}, "must name"),
        ({"time": ()}, "must name"),
        ({"zone": "Europe/Berlin"}, "no zone"),
        ({"format": "xml"}, "no format"),
        ({"columns": ("a",)}, "belong to CSV"),
        ({"format": "csv", "delimiter": "::"}, "no delimiter"),
        ({"format": "csv", "columns": ("a", "a")}, "one name"),
        ({"key": "("}, "no regular expression"),
        ({"key": "x"}, "no named group"),
        ({"key": "(?P<a>x)", "device": "key.b"}, "no group of the key"),
        ({"meta": ("a",), "device": "meta.b"}, "no declared metadata"),
        ({"device": "a[]"}, "many values"),
        ({"signals": "a{x}"}, "many values"),
        ({"device": "a+b"}, "only the event time"),
        ({"time": "a+b"}, "seconds and nanoseconds"),
        ({"device": tuple("abcdefghi")}, "too many"),
        ({"sequence_default": 0}, "needs a sequence"),
        ({"rows": "a."}, "no path"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(change, words):
    with pytest.raises(FleetError, match=words):
        Mapping(**change)


FULL = Mapping(
    ("a", "key.d"), "s+n", "ns", "r", "x.y", "iso", "seq", 0, {"speed": "v"},
    Long("e[]", ("n", "m"), "v", "t"), "+01:00",
    True, "rows[]", "body", "(?P<d>x)", ("m",), ("tmp/",), "csv", ("a", "b"), ";",
)  # fmt: skip


def test_every_part_survives_json_and_is_in_the_digest():
    assert Mapping.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL
    plain = Mapping()
    for name in FULL.to_json():
        if name in {"time", "columns", "delimiter", "sequence_default", "device", "meta"}:
            continue  # they need others beside them
        changed = replace(plain, **{name: getattr(FULL, name)})
        assert replace(VANS, mapping=changed).digest != VANS.digest, name


def test_keys_are_excluded_by_text_and_read_by_groups():
    mapping = Mapping(key=r"dt=(?P<dt>[^/]+)/(?P<dev>[^/]+)/", exclude=("processing-failed/", ".tmp"))
    assert mapping.selects("raw/a.json")
    assert not mapping.selects("raw/processing-failed/a.json")
    assert mapping.groups_of("raw/dt=2025/p-7/x") == {"dt": "2025", "dev": "p-7"}
    assert mapping.groups_of("raw/x") == {}


@pytest.mark.parametrize(
    ("mapping", "storage_only"),
    [
        (Mapping(), ""),
        (Mapping(("a", "b.c"), names={"speed": '"v.x"'}, zone="UTC", quoted=True, sequence="n"), ""),
        (Mapping("key.d", key="(?P<d>x)", rows="r[]", body="b"), "key, rows, body"),
        (Mapping(format="csv", long=Long()), "long, format csv"),
        (Mapping("a[k=v]"), r"[k=v]"),
        (Mapping(time="s+n", time_unit="ns"), "a sum of fields"),
    ],
)
def test_a_mapping_tells_what_only_stored_objects_have(mapping, storage_only):
    assert mapping.storage_only == storage_only


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": ("device",)}, "key = "),
        ({"believe": "best"}, "believe = "),
        ({"rewritten": "merge"}, "rewritten = "),
        ({"key": ("device", "time", "sequence")}, "the mapping none"),
        ({"enrol": False}, "none may be enrolled"),
        ({"devices": ("a", "a")}, "different texts"),
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused(change, words):
    with pytest.raises(FleetError, match=words):
        replace(VANS, **change)


def test_a_contract_survives_json():
    mapping = Mapping(sequence="n")
    fleet = replace(
        VANS, key=("device", "time", "sequence"), believe="last", rewritten="add", enrol=False, devices=("a",),
        stored=replace(mapping, body="b"), mapping=mapping,
        signals=(replace(VANS.signals[0], required=True, quantised=0.5, sampling=DAY), VANS.signals[1]),
    )  # fmt: skip
    assert Fleet.from_json(json.loads(json.dumps(fleet.to_json()))) == fleet
    assert fleet.lies.body == "b"


def test_a_required_signal_is_asked_for_after_everything_else():
    fleet = replace(VANS, signals=(replace(VANS.signals[0], required=True), VANS.signals[1]))
    values = np.array([[1.0, np.nan], [np.nan, 1.0], [np.nan, np.nan], [np.nan, -1.0]])
    codes = check_readings(fleet, np.zeros(4, np.int64), np.zeros(4, np.int64), values)
    named = [list(Reason)[code - 1] if code else None for code in codes.tolist()]
    assert named == [None, Reason.MISSING_SIGNAL, Reason.NO_SIGNALS, Reason.OUT_OF_RANGE]


def test_unknown_devices_are_enrolled_or_not():
    assert check_devices(VANS, ["a", "b"]).all()
    assert check_devices(replace(VANS, enrol=False, devices=("a",)), ["a", "b"]).tolist() == [True, False]


@pytest.mark.parametrize("change", [{"quantised": 0.0}, {"quantised": float("inf")}, {"sampling": timedelta(0)}])
def test_a_signal_needs_a_usable_step_and_interval(change):
    with pytest.raises(FleetError):
        replace(VANS.signals[0], **change)
