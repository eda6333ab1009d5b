import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from features.errors import FleetError, ReadingsShapeError
from features.schema import Fleet, Mapping, Reason, Signal, check_readings

HOUR = timedelta(hours=1)
HOUR_US = 3_600_000_000
FLEET = Fleet(
    name="vans",
    description="Delivery vans",
    signals=(Signal("speed", "km/h", 0, 130, "Wheel speed"), Signal("fuel", "l", 0, 90)),
    sampling=timedelta(minutes=1),
    late_after=HOUR,
    max_future=HOUR,
    max_age=24 * HOUR,
    mapping=Mapping(signals="values"),
)
NOW = 1_767_225_600_000_000
NAN = np.nan


@pytest.mark.parametrize(
    ("time", "values", "reason"),
    [
        (NOW, [80.0, 40.0], None),
        (NOW, [80.0, NAN], None),
        (NOW, [0.0, 90.0], None),
        (NOW, [NAN, NAN], Reason.NO_SIGNALS),
        (NOW, [130.1, 40.0], Reason.OUT_OF_RANGE),
        (NOW, [80.0, -0.1], Reason.OUT_OF_RANGE),
        (NOW, [np.inf, NAN], Reason.OUT_OF_RANGE),
        (NOW, [-np.inf, 40.0], Reason.OUT_OF_RANGE),
        (NOW + HOUR_US, [80.0, 40.0], None),
        (NOW + HOUR_US + 1, [80.0, 40.0], Reason.IN_THE_FUTURE),
        (NOW - 24 * HOUR_US, [80.0, 40.0], None),
        (NOW - 24 * HOUR_US - 1, [80.0, 40.0], Reason.TOO_OLD),
        (NOW + 2 * HOUR_US, [NAN, NAN], Reason.NO_SIGNALS),
        (NOW + 2 * HOUR_US, [999.0, 40.0], Reason.OUT_OF_RANGE),
    ],
)
def test_a_reading_is_judged_by_the_first_rule_it_breaks(time: int, values: list[float], reason: Reason | None) -> None:
    (code,) = check_readings(FLEET, np.array([time]), np.array([NOW]), np.array([values])).tolist()
    assert (list(Reason)[code - 1] if code else None) == reason


@pytest.mark.parametrize("received", [np.iinfo(np.int64).min, np.iinfo(np.int64).max])
def test_a_wild_stamp_of_receipt_does_not_wrap_around(received: int) -> None:
    (code,) = check_readings(FLEET, np.array([NOW]), np.array([received]), np.array([[80.0, 40.0]])).tolist()
    assert code == (Reason.IN_THE_FUTURE if received < 0 else Reason.TOO_OLD).number


def test_the_number_of_a_reason_leads_back_to_it_and_each_has_a_sentence() -> None:
    assert [list(Reason)[reason.number - 1] for reason in Reason] == list(Reason)
    assert all(reason.sentence.endswith(".") for reason in Reason)


def test_no_readings_are_fine_and_misfit_arrays_are_not() -> None:
    none = np.zeros(0, np.int64)
    assert check_readings(FLEET, none, none, np.zeros((0, 2))).shape == (0,)
    with pytest.raises(ReadingsShapeError, match="do not fit together"):
        check_readings(FLEET, np.array([NOW]), none, np.zeros((1, 2)))


def test_a_fleet_survives_json_with_its_digest() -> None:
    again = Fleet.from_json(json.loads(json.dumps(FLEET.to_json())))
    assert again == FLEET
    assert again.digest == FLEET.digest
    assert FLEET.digest.startswith("sha256:")
    assert not {"keep_us", "unknown_fields"} & FLEET.to_json().keys()  # so older digests stay what they are
    kept = replace(FLEET, keep=timedelta(days=400), unknown_fields="reject")
    assert Fleet.from_json(json.loads(json.dumps(kept.to_json()))) == kept


@pytest.mark.parametrize(
    "change",
    [
        {"name": "lorries"},
        {"signals": FLEET.signals[:1]},
        {"signals": FLEET.signals[::-1]},
        {"signals": (replace(FLEET.signals[0], high=131), FLEET.signals[1])},
        {"signals": (replace(FLEET.signals[0], unit="mph"), FLEET.signals[1])},
        {"sampling": HOUR},
        {"late_after": 2 * HOUR},
        {"max_future": 2 * HOUR},
        {"max_age": 25 * HOUR},
        {"mapping": Mapping()},
        {"mapping": Mapping(signals="values", received=None)},
        {"keep": timedelta(days=400)},
        {"unknown_fields": "count"},
    ],
)
def test_every_parameter_is_in_the_digest(change: dict[str, Any]) -> None:
    assert replace(FLEET, **change).digest != FLEET.digest


def test_prose_is_not_in_the_digest() -> None:
    reworded = replace(FLEET, description="Vans", signals=(replace(FLEET.signals[0], description=""), FLEET.signals[1]))
    assert reworded.digest == FLEET.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "my vans"}, "cannot name a fleet"),
        ({"signals": ()}, "needs signals"),
        ({"signals": (FLEET.signals[0], FLEET.signals[0])}, "each of its own name"),
        ({"sampling": timedelta(0)}, "sampling"),
        ({"max_age": timedelta.max}, "max_age"),
        ({"late_after": -HOUR}, "late_after"),
        ({"max_future": -HOUR}, "max_future"),
        ({"keep": HOUR}, "keep"),
        ({"unknown_fields": "drop"}, "unknown_fields"),
    ],
)
def test_a_fleet_that_contradicts_itself_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FleetError, match=message):
        replace(FLEET, **change)


def test_signals_and_mappings_that_cannot_be_are_refused() -> None:
    with pytest.raises(FleetError, match="cannot name a signal"):
        Signal("top speed", "km/h", 0, 1)
    for low, high in ((1.0, 1.0), (2.0, 1.0), (0.0, np.inf), (NAN, 1.0)):
        with pytest.raises(FleetError, match="holds no values"):
            Signal("speed", "km/h", low, high)
    with pytest.raises(FleetError, match="unit of time"):
        Mapping(time_unit="min")
    with pytest.raises(FleetError, match="device and time"):
        Mapping(device="")


@pytest.mark.parametrize("damage", [{"signals": 3}, {"sampling_us": "soon"}, {"mapping": {"timezone": "utc"}}])
def test_a_document_that_is_no_fleet_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(FleetError, match="no description of a fleet"):
        Fleet.from_json(FLEET.to_json() | damage)
    with pytest.raises(FleetError, match="no description of a fleet"):
        Fleet.from_json({})
